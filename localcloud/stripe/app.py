"""The HTTP side: authentication, parameters, idempotency, expansion, error answers. Routes are in ``resources``."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import logging
import re
import zlib
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from localcloud.stripe import params, routing
from localcloud.stripe.account import API_VERSION, Account
from localcloud.stripe.errors import ApiError, invalid, unrecognized_url
from localcloud.stripe.form import Tree, parse
from localcloud.stripe.ids import request_id
from localcloud.stripe.render import expand, render
from localcloud.stripe.store import Object

log = logging.getLogger(__name__)

MAX_BODY = 1_000_000
#: Stripe keeps an answer for its idempotency key for at least 24 hours.
IDEMPOTENCY_S = 24 * 3600
_KEY = re.compile(r"(sk|rk)_test_[A-Za-z0-9_]{3,}")
_METHODS = ["GET", "POST", "DELETE", "PUT", "PATCH"]


def create_app(account: Account, extra_routes: list[Route] | None = None) -> Starlette:
    async def endpoint(request: Request) -> Response:
        body = await request.body()
        return answer(account, request, body)

    return Starlette(routes=[*(extra_routes or []), Route("/{path:path}", endpoint, methods=_METHODS)])


def answer(account: Account, request: Request, body: bytes) -> Response:
    """The answer to one request: the document, or the error, with Stripe's headers."""
    identifier = request_id()
    headers = {"Request-Id": identifier, "Stripe-Version": request.headers.get("stripe-version", API_VERSION)}
    key = request.headers.get("idempotency-key")
    if key is not None:
        headers["Idempotency-Key"] = key
    try:
        authenticate(request)
        if len(body) > MAX_BODY:
            raise invalid("Request body too large")
        _check_version(headers["Stripe-Version"])
        found = routing.find(request.method, request.url.path)
        if found is None:
            raise unrecognized_url(request.method, request.url.path)
        tree = _parameters(request, body)
        if key is not None and request.method == "POST":
            status, document, replayed = _once(account, key, request, body, found, tree, identifier)
            if replayed:
                headers["Idempotent-Replayed"] = "true"
        else:
            status, document = _perform(account, found, tree, identifier, None)
    except ApiError as error:
        status, document = error.status, error.body()
    except Exception:
        log.exception("%s %s failed", request.method, request.url.path)
        failure = ApiError(500, f"The local Stripe failed; its log has the reason of {identifier}", type="api_error")
        status, document = failure.status, failure.body()
    return JSONResponse(document, status_code=status, headers=headers)


def authenticate(request: Request) -> None:
    """401 unless the request brings a test mode key."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    key = ""
    if scheme.lower() == "bearer":
        key = credentials.strip()
    elif scheme.lower() == "basic":
        try:
            key = base64.b64decode(credentials, validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            key = ""
    if not key:
        raise ApiError(
            401,
            "You did not provide an API key. You need to provide your API key in the Authorization header, using "
            "Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
        )
    if not _KEY.fullmatch(key):
        shown = key[-4:] if len(key) >= 24 else ""
        raise ApiError(401, f"Invalid API Key provided: {'*' * 20}{shown}")


def _check_version(version: str) -> None:
    if version != API_VERSION:
        raise invalid(
            f"This server speaks API version {API_VERSION} only, and the request asks for {version[:40]}",
            code="api_version_unsupported",
        )


def _parameters(request: Request, body: bytes) -> Tree:
    query = parse(request.url.query)
    if not body:
        return query
    content_type = request.headers.get("content-type", "application/x-www-form-urlencoded").split(";")[0].strip()
    if content_type != "application/x-www-form-urlencoded":
        raise ApiError(
            400, f"Invalid Content-Type: {content_type[:80]}; this API takes application/x-www-form-urlencoded"
        )
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError:
        raise invalid("Invalid request body: not form-encoded") from None
    return {**query, **parse(text)}


def _perform(
    account: Account,
    found: tuple[routing.Route, dict[str, str]],
    tree: Tree,
    identifier: str,
    key: str | None,
) -> tuple[int, dict[str, Any]]:
    route, ids = found
    values = params.coerce(tree, routing.schema_class(route.schema))
    paths = values.pop("expand", [])
    routing.refuse_unsupported(route, values)
    with account.transaction(identifier, key):
        document = route.handler(account, values, **ids)
        final = document["object"] == "list" or document.get("deleted")
        shown = document if final else render(account, document)
        return 200, expand(account, shown, paths)


def _once(
    account: Account,
    key: str,
    request: Request,
    body: bytes,
    found: tuple[routing.Route, dict[str, str]],
    tree: Tree,
    identifier: str,
) -> tuple[int, dict[str, Any], bool]:
    """The first answer for an idempotency key, again. Validation failures (400) are not kept, as in Stripe."""
    if len(key) > 255:
        raise invalid("Idempotency keys can be up to 255 characters long", code="idempotency_key_too_long")
    fingerprint = hashlib.sha256(
        f"{request.method} {request.url.path}?{request.url.query}\n".encode() + body
    ).hexdigest()
    with account.lock:
        record = account.store.get("_idempotency", key)
        if record is not None:
            if record["fingerprint"] != fingerprint:
                raise ApiError(
                    400,
                    "Keys for idempotent requests can only be used with the same parameters they were first used "
                    f"with. Try using a key other than '{key}' if you meant to execute a different request.",
                    type="idempotency_error",
                )
            return record["status"], json.loads(zlib.decompress(base64.b85decode(record["answer"]))), True
        try:
            status, document = _perform(account, found, tree, identifier, key)
        except ApiError as error:
            if error.status in (400, 404):  # nothing began: the key may be used again
                raise
            status, document = error.status, error.body()
        with account.transaction():
            _forget_old_answers(account)
            account.store.add(_answer_record(key, fingerprint, status, document, account.wall()))
        return status, document, False


def _answer_record(key: str, fingerprint: str, status: int, document: dict[str, Any], now: float) -> Object:
    # The library sends a key with every POST, and hardly any is ever used again: they are kept small.
    answer = base64.b85encode(zlib.compress(json.dumps(document).encode(), 1)).decode()
    return {
        "object": "_idempotency",
        "id": key,
        "answer": answer,
        "fingerprint": fingerprint,
        "kept_at": now,
        "status": status,
    }


def _forget_old_answers(account: Account) -> None:
    while (oldest := account.store.oldest("_idempotency")) is not None:
        if oldest["kept_at"] > account.wall() - IDEMPOTENCY_S:
            return
        account.store.remove(oldest)
