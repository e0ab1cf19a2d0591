"""Errors of a provider, and how any exception becomes a gRPC status a person can act on.

ProviderError                 anything a handler raises on purpose: status code and message
├── CheckFailed                 inputs that the cloud would refuse, property by property
├── InitializationFailed        the resource exists but is not usable yet; its state is kept
└── Cancelled                   the engine asked to stop

The engine treats UNKNOWN, INTERNAL and DATA_LOSS as "the outcome is not known" and keeps the operation pending; every
other code means that nothing was changed. So a lost connection maps to UNKNOWN and a refusal never does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import grpc
from botocore import exceptions as botocore

from providers.base.values import Properties

_CREDENTIALS = re.compile(
    r"(?i)\b((?:aws_?)?(?:secret_?access_?key|session_?token|password|passwd|authorization|x-amz-security-token|"
    r"x-amz-signature|x-amz-credential)\b[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;]+"
)
_URL_PASSWORD = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@]+:)[^\s@/]+@")
_ACCESS_KEY = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b")
_SECRET = "[secret]"


class ProviderError(Exception):
    """``message`` says what failed and what to do; ``code`` tells the engine whether something may have changed."""

    def __init__(self, message: str, code: grpc.StatusCode = grpc.StatusCode.FAILED_PRECONDITION) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class CheckFailed(ProviderError):
    """``failures``: pairs of a property path (``""`` for the whole resource) and the reason."""

    def __init__(self, failures: Iterable[tuple[str, str]]) -> None:
        self.failures: Sequence[tuple[str, str]] = list(failures)
        text = "; ".join(f"{name}: {reason}" if name else reason for name, reason in self.failures)
        super().__init__(text, grpc.StatusCode.INVALID_ARGUMENT)


class InitializationFailed(ProviderError):
    """Raised by create or update once the resource exists: the engine keeps its state and repairs it next time."""

    def __init__(self, id: str, outputs: Properties, reasons: Iterable[str]) -> None:
        self.id = id
        self.outputs = outputs
        self.reasons = list(reasons)
        super().__init__("; ".join(self.reasons))


class Cancelled(ProviderError):
    def __init__(self, message: str = "cancelled before anything was changed") -> None:
        super().__init__(message, grpc.StatusCode.CANCELLED)


_THROTTLING = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "SlowDown",
        "RequestThrottled",
        "ServiceUnavailable",
    }
)


def describe(error: BaseException, secrets: Iterable[str] = ()) -> tuple[grpc.StatusCode, str]:
    """The status code and the scrubbed message of ``error``. ``secrets`` are texts that must not show."""
    code, message = _classify(error)
    return code, scrub(message, secrets)


def _classify(error: BaseException) -> tuple[grpc.StatusCode, str]:
    if isinstance(error, ProviderError):
        return error.code, error.message
    if isinstance(error, botocore.ClientError):
        return _client_error(error)
    if isinstance(error, (botocore.NoCredentialsError, botocore.PartialCredentialsError)):
        return grpc.StatusCode.UNAUTHENTICATED, f"{error}. Configure AWS credentials for this provider"
    if isinstance(error, (botocore.ConnectTimeoutError, botocore.EndpointConnectionError)):
        return grpc.StatusCode.UNAVAILABLE, f"{error}. Check that the endpoint runs and is reachable"
    if isinstance(error, botocore.ParamValidationError):
        return grpc.StatusCode.INVALID_ARGUMENT, str(error)
    if isinstance(error, (botocore.HTTPClientError, ConnectionError, TimeoutError)):
        return grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}. The outcome is unknown: refresh, then retry"
    return grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}"


def _client_error(error: botocore.ClientError) -> tuple[grpc.StatusCode, str]:
    detail: dict[str, Any] = dict(error.response.get("Error", {}))
    metadata: dict[str, Any] = dict(error.response.get("ResponseMetadata", {}))
    name = str(detail.get("Code") or "Unknown")
    text = str(detail.get("Message") or "").strip() or str(error)
    status = int(metadata.get("HTTPStatusCode") or 0)
    if name in _THROTTLING or status == 429:
        code = grpc.StatusCode.UNAVAILABLE
    elif status >= 500 or status == 0:
        code = grpc.StatusCode.UNKNOWN
    elif status in (401, 403):
        code = grpc.StatusCode.PERMISSION_DENIED
    elif "AlreadyExists" in name or "AlreadyOwned" in name:
        code = grpc.StatusCode.ALREADY_EXISTS
    else:
        code = grpc.StatusCode.FAILED_PRECONDITION
    return code, f"{error.operation_name}: {name}: {text}"


def scrub(message: str, secrets: Iterable[str] = ()) -> str:
    """``message`` without the given texts and without anything that looks like a credential."""
    # Longest first: a secret that contains another must not leave its remainder behind. Texts of one or two
    # characters are no secrets worth hiding and would shred the message.
    for secret in sorted((s for s in secrets if len(s) > 2), key=len, reverse=True):
        message = message.replace(secret, _SECRET)
    message = _CREDENTIALS.sub(rf"\1{_SECRET}", message)
    message = _URL_PASSWORD.sub(rf"\1{_SECRET}@", message)
    return _ACCESS_KEY.sub(_SECRET, message)
