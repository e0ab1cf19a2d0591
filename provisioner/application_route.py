"""What every route for applications does first: the token, then the body's length, then the body itself.

Every refusal is the service's error envelope ``{"error": {"code", "message", "hint"}}``, whatever is mounted around.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from provisioner.broker import ApplicationTokens
from provisioner.errors import TenantryError


def refusal(status: int, code: str, message: str, hint: str = "", **headers: str) -> JSONResponse:
    """``headers``: with ``_`` for ``-``."""
    return JSONResponse(
        {"error": {"code": code, "message": message, "hint": hint}},
        status,
        {name.replace("_", "-"): value for name, value in headers.items()} | {"Cache-Control": "no-store"},
    )


def application_route(
    tokens: ApplicationTokens,
    *,
    max_body: int,
    too_large_hint: str,
    of_error: Callable[[TenantryError], Response],
    invalid_hint: str,
) -> type[APIRoute]:
    """A route class that reads at most ``max_body`` bytes, and only from a caller whose token was accepted."""

    class ApplicationRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def handler(request: Request) -> Response:
                scheme, _, presented = request.headers.get("authorization", "").partition(" ")
                if scheme.lower() != "bearer" or not tokens.accept(presented.strip()):
                    return refusal(
                        401,
                        "unauthorized",
                        "no accepted application token",
                        "send Authorization: Bearer <one of TENANTRY_APPLICATION_TOKENS>",
                        WWW_Authenticate="Bearer",
                    )
                refused = _length(request, max_body, too_large_hint)
                if refused is not None:
                    return refused
                try:
                    response = await handle(request)
                except TenantryError as error:
                    return of_error(error)
                except RequestValidationError as error:
                    return _invalid(error, invalid_hint)
                except HTTPException:
                    return refusal(400, "malformed_body", "the body could not be read", "send a JSON object in UTF-8")
                response.headers["Cache-Control"] = "no-store"
                return response

            return handler

    return ApplicationRoute


def _length(request: Request, max_body: int, hint: str) -> JSONResponse | None:
    announced = request.headers.get("content-length", "")
    if not (announced.isascii() and announced.isdigit()):
        return refusal(411, "length_required", "the request announces no Content-Length", "send one")
    if len(announced) > 9 or int(announced) > max_body:
        return refusal(413, "body_too_large", f"the body has more than {max_body} bytes", hint)
    return None


def _invalid(error: RequestValidationError, hint: str) -> JSONResponse:
    first = error.errors()[0]
    # the value itself is not repeated: it may be a misplaced secret
    where = ".".join(str(part) for part in first.get("loc", ())) or "body"
    return refusal(422, "invalid_request", f"{where}: {first.get('msg', 'invalid')}", hint)
