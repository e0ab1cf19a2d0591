"""``POST /webhooks/stripe``: verify, store and defer in one transaction, answer. Nothing else happens in the request.

A refused delivery leaves no row: 400 for a signature or a body that is wrong, 411 or 413 for its length; 503 asks
Stripe to send it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import structlog
from prometheus_client import Counter, Histogram
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from provisioner.billing import webhooks
from provisioner.errors import Reject
from provisioner.inbox import classify
from provisioner.inbox_writer import InboxWriter, NotStored

log = structlog.get_logger(__name__)

DELIVERIES = Counter("tenantry_webhook_deliveries", "Webhook deliveries by what became of them", ["outcome"])
SECONDS = Histogram(
    "tenantry_webhook_seconds",
    "Time to answer a webhook delivery",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0),
)
_STORED = b'{"received":true}'
_KNOWN = b'{"received":true,"duplicate":true}'


class TooLarge(Reject):
    code = "body_too_large"


class Intake:
    """``writer`` says when an event is committed."""

    def __init__(
        self,
        writer: InboxWriter,
        secrets: Sequence[str],
        *,
        tolerance_s: int,
        max_bytes: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        webhooks.check_secrets(secrets)
        self._writer = writer
        self._secrets = tuple(secrets)
        self._tolerance_s = tolerance_s
        self._max_bytes = max_bytes
        self._clock = clock

    async def receive(self, request: Request) -> Response:
        """One delivery; the endpoint of the route."""
        with SECONDS.time():
            return await self._receive(request)

    async def _receive(self, request: Request) -> Response:
        try:
            body = await self._body(request)
            event = webhooks.verify(
                body, request.headers.get("stripe-signature", ""), self._secrets, self._tolerance_s, self._clock()
            )
        except ClientDisconnect:
            return _refused(400, "disconnected", "the connection ended before the body did")
        except TooLarge as error:
            return _refused(413, error.code, error.message)
        except Reject as error:
            return _refused(400, error.code, error.message, error.hint)
        try:
            stored = await self._writer.store(classify(event, body))
        except NotStored as error:
            # Stripe delivers again for three days; an answer of success would lose the event.
            DELIVERIES.labels("unavailable").inc()
            log.error("webhook.not_stored", event_id=event.id, error=str(error))
            return _error(503, "unavailable", "the event could not be stored", "it is to be sent again", retry_after=5)
        DELIVERIES.labels("stored" if stored else "duplicate").inc()
        return Response(_STORED if stored else _KNOWN, media_type="application/json")

    async def _body(self, request: Request) -> bytes:
        announced = request.headers.get("content-length", "")
        if announced.isascii() and announced.isdigit() and int(announced[:19]) > self._max_bytes:
            raise TooLarge(f"the body has more than {self._max_bytes} bytes")
        chunks, size = [], 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > self._max_bytes:
                raise TooLarge(f"the body has more than {self._max_bytes} bytes")
            chunks.append(chunk)
        return b"".join(chunks)


def _refused(status: int, code: str, message: str, hint: str = "") -> Response:
    DELIVERIES.labels(code).inc()
    log.warning("webhook.refused", code=code)
    return _error(status, code, message, hint)


def _error(status: int, code: str, message: str, hint: str = "", *, retry_after: int | None = None) -> Response:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return JSONResponse({"error": {"code": code, "message": message, "hint": hint}}, status, headers)
