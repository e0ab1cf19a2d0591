"""From a request to its answer, whatever carries the two: parameters, idempotency, expansion, error answers.

``app`` carries them over HTTP, ``inprocess`` by a function call. Handlers are in ``resources``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from localcloud.stripe import params, routing
from localcloud.stripe.account import API_VERSION, Account
from localcloud.stripe.errors import ApiError, invalid, unrecognized_url
from localcloud.stripe.form import Tree
from localcloud.stripe.ids import request_id
from localcloud.stripe.render import expand, render
from localcloud.stripe.store import Object

log = logging.getLogger(__name__)

#: Stripe keeps an answer for its idempotency key for at least 24 hours.
IDEMPOTENCY_S = 24 * 3600
MAX_KEY = 255


@dataclass(frozen=True)
class Answer:
    """``headers`` are those that Stripe adds to every answer of its API."""

    status: int
    document: dict[str, Any]
    headers: dict[str, str]


def answer(
    account: Account,
    method: str,
    path: str,
    read: Callable[[], Tree],
    *,
    key: str | None = None,
    version: str = API_VERSION,
    refusal: ApiError | None = None,
) -> Answer:
    """The answer to one request whose parameters ``read`` gives (it may raise ``ApiError``, as everything here).

    ``refusal``: what it is answered with, whatever it asks (see ``api_faults``).
    """
    identifier = request_id()
    headers = {"Request-Id": identifier, "Stripe-Version": version}
    if key is not None:
        headers["Idempotency-Key"] = key
    try:
        if refusal is not None:
            raise refusal
        tree = read()
        _check_version(version)
        found = routing.find(method, path)
        if found is None:
            raise unrecognized_url(method, path)
        if key is not None and method == "POST":
            status, document, replayed = _once(account, key, f"{method} {path}", found, tree, identifier)
            if replayed:
                headers["Idempotent-Replayed"] = "true"
        else:
            status, document = _perform(account, found, tree, identifier, None)
    except ApiError as error:
        status, document = error.status, error.body()
    except Exception:
        log.exception("%s %s failed", method, path)
        failure = ApiError(500, f"The local Stripe failed; its log has the reason of {identifier}", type="api_error")
        status, document = failure.status, failure.body()
    return Answer(status, document, headers | date_header(account))


def date_header(account: Account) -> dict[str, str]:
    """The time by Stripe's own clock, as every answer tells it: the account's, which may have been moved."""
    return {"Date": formatdate(account.now(), usegmt=True)}


def _check_version(version: str) -> None:
    if version != API_VERSION:
        raise invalid(
            f"This server speaks API version {API_VERSION} only, and the request asks for {version[:40]}",
            code="api_version_unsupported",
        )


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
        final = document["object"] in ("list", "search_result") or document.get("deleted")
        shown = document if final else render(account, document)
        return 200, expand(account, shown, paths)


def _once(
    account: Account,
    key: str,
    operation: str,
    found: tuple[routing.Route, dict[str, str]],
    tree: Tree,
    identifier: str,
) -> tuple[int, dict[str, Any], bool]:
    """The first answer for an idempotency key, again. Validation failures (400) are not kept, as in Stripe."""
    if len(key) > MAX_KEY:
        raise invalid(f"Idempotency keys can be up to {MAX_KEY} characters long", code="idempotency_key_too_long")
    fingerprint = hashlib.sha256(json.dumps([operation, tree], sort_keys=True).encode()).hexdigest()
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
