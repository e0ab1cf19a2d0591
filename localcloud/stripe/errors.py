"""Stripe's error answers: status, type, code, message and parameter, in the JSON that its libraries decode."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """An answer other than 2xx. ``body`` is the JSON document Stripe would send."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        decline_code: str | None = None,
        keeps_changes: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.code = code
        self.param = param
        self.decline_code = decline_code
        #: whether what the request did before it failed stays: a declined charge is an attempt that happened
        self.keeps_changes = keeps_changes

    def body(self) -> dict[str, Any]:
        error: dict[str, Any] = {"message": self.message, "type": self.type}
        if self.code is not None:
            error["code"] = self.code
            error["doc_url"] = f"https://stripe.com/docs/error-codes/{self.code.replace('_', '-')}"
        if self.param is not None:
            error["param"] = self.param
        if self.decline_code is not None:
            error["decline_code"] = self.decline_code
        return {"error": error}


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> ApiError:
    """400 ``invalid_request_error``."""
    return ApiError(400, message, param=param, code=code)


def missing_param(param: str) -> ApiError:
    return invalid(f"Missing required param: {param}.", param=param, code="parameter_missing")


def no_such(noun: str, identifier: str, *, param: str = "id", status: int = 404) -> ApiError:
    """``resource_missing``: 404 for the object of the path, 400 for one that a parameter names."""
    return ApiError(status, f"No such {noun}: '{identifier}'", code="resource_missing", param=param)


def unrecognized_url(method: str, path: str) -> ApiError:
    return ApiError(
        404,
        f"Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs or we can help at "
        "https://support.stripe.com/.",
    )


def declined(
    code: str = "card_declined", decline_code: str = "generic_decline", *, keeps_changes: bool = False
) -> ApiError:
    """402 ``card_error``."""
    return ApiError(
        402,
        "Your card was declined.",
        type="card_error",
        code=code,
        decline_code=decline_code,
        keeps_changes=keeps_changes,
    )


def not_implemented(param: str) -> ApiError:
    """400 for a parameter that Stripe has and this server does not act on: refused, never silently ignored."""
    return invalid(f"This server does not implement the parameter {param}", param=param, code="parameter_unsupported")
