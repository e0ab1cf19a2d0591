"""What has arrived, as JSON, for people and tests; and faults. Everything asks for the mail server's password."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from localcloud.mail.mailbox import Fault, FaultInvalid, Mailbox

Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(mailbox: Mailbox, password: str) -> Starlette:
    """``GET /messages[?recipient=]``, ``GET /messages/{number}``, ``DELETE /messages``, ``GET|POST|DELETE /faults``."""

    def asks(endpoint: Endpoint) -> Endpoint:
        async def checked(request: Request) -> Response:
            given = request.headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), password.encode()):
                return _error(401, "the mail server's password is wanted as a bearer token")
            return await endpoint(request)

        return checked

    async def health(request: Request) -> Response:
        return JSONResponse({"messages": len(mailbox.messages)})

    async def messages(request: Request) -> Response:
        if request.method == "DELETE":
            mailbox.messages.clear()
            return JSONResponse({"messages": []})
        wanted = request.query_params.get("recipient")
        found = [
            arrived.summary()
            for arrived in reversed(mailbox.messages.values())
            if wanted is None or wanted in arrived.recipients
        ]
        return JSONResponse({"messages": found})

    async def message(request: Request) -> Response:
        found = mailbox.messages.get(request.path_params["number"])
        if found is None:
            return _error(404, f"there is no message {request.path_params['number']}")
        return JSONResponse(found.document())

    async def faults(request: Request) -> Response:
        if request.method == "DELETE":
            mailbox.faults.clear()
        if request.method == "POST":
            try:
                document: Any = await request.json()
                if not isinstance(document, dict):
                    raise FaultInvalid("a fault is a JSON object")
                mailbox.faults.append(Fault.parse(document))
            except ValueError as error:
                return _error(400, str(error))
        return JSONResponse({"faults": [vars(fault) for fault in mailbox.faults]})

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/messages", asks(messages), methods=["GET", "DELETE"]),
            Route("/messages/{number:int}", asks(message)),
            Route("/faults", asks(faults), methods=["GET", "POST", "DELETE"]),
        ]
    )


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message}}, status_code=status)
