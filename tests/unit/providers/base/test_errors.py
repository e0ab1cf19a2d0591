"""Exceptions become a status a person can act on, and hold no secret."""

from __future__ import annotations

import grpc
import pytest
from botocore import exceptions as botocore
from hypothesis import given
from hypothesis import strategies as st

from providers.base import Cancelled, CheckFailed, ProviderError
from providers.base.errors import describe, scrub

CODE = grpc.StatusCode


def client_error(code: str, status: int, message: str = "no") -> botocore.ClientError:
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return botocore.ClientError(response, "CreateKey")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ProviderError("it failed"), CODE.FAILED_PRECONDITION, "it failed"),
        (ProviderError("busy", CODE.UNAVAILABLE), CODE.UNAVAILABLE, "busy"),
        (CheckFailed([("a", "is wrong"), ("", "all is wrong")]), CODE.INVALID_ARGUMENT, "a: is wrong; all is wrong"),
        (Cancelled(), CODE.CANCELLED, "cancelled before anything was changed"),
        (client_error("ThrottlingException", 400), CODE.UNAVAILABLE, "CreateKey: ThrottlingException: no"),
        (client_error("Whatever", 429), CODE.UNAVAILABLE, "Whatever"),
        (client_error("InternalFailure", 500), CODE.UNKNOWN, "InternalFailure"),
        (client_error("Odd", 0), CODE.UNKNOWN, "Odd"),
        (client_error("AccessDenied", 403), CODE.PERMISSION_DENIED, "AccessDenied"),
        (client_error("EntityAlreadyExists", 409), CODE.ALREADY_EXISTS, "EntityAlreadyExists"),
        (client_error("BucketAlreadyOwnedByYou", 409), CODE.ALREADY_EXISTS, "BucketAlreadyOwnedByYou"),
        (client_error("ValidationError", 400, ""), CODE.FAILED_PRECONDITION, "ValidationError"),
        (botocore.NoCredentialsError(), CODE.UNAUTHENTICATED, "Configure AWS credentials"),
        (botocore.EndpointConnectionError(endpoint_url="http://x"), CODE.UNAVAILABLE, "reachable"),
        (botocore.ConnectTimeoutError(endpoint_url="http://x"), CODE.UNAVAILABLE, "reachable"),
        (botocore.ReadTimeoutError(endpoint_url="http://x"), CODE.UNKNOWN, "outcome is unknown"),
        (botocore.ParamValidationError(report="bad"), CODE.INVALID_ARGUMENT, "bad"),
        (ConnectionResetError("reset"), CODE.UNKNOWN, "refresh, then retry"),
        (KeyError("x"), CODE.UNKNOWN, "KeyError: 'x'"),
    ],
)
def test_errors_tell_whether_something_may_have_changed(error: Exception, code: grpc.StatusCode, text: str) -> None:
    found, message = describe(error)
    assert found is code
    assert text in message


@pytest.mark.parametrize(
    ("message", "scrubbed"),
    [
        ("password=hunter2 failed", "password=[secret] failed"),
        ('{"password": "hunter2"}', '{"password": "[secret]"}'),
        ("aws_secret_access_key=abc/def+g", "aws_secret_access_key=[secret]"),
        ("SessionToken: abc, next", "SessionToken: [secret], next"),
        ("postgres://acme:hunter2@host/db", "postgres://acme:[secret]@host/db"),
        ("key AKIAABCDEFGHIJKLMNOP used", "key [secret] used"),
        ("nothing to hide: table password_reset", "nothing to hide: table password_reset"),
    ],
)
def test_what_looks_like_a_credential_does_not_show(message: str, scrubbed: str) -> None:
    assert scrub(message) == scrubbed


@given(st.lists(st.text("abc", min_size=3, max_size=12), min_size=1, max_size=4), st.text("abcX ", max_size=30))
def test_no_given_secret_shows_whole(secrets: list[str], around: str) -> None:
    message = scrub(around.join(["", *secrets, ""]), secrets)
    left = message.replace("[secret]", "\0")
    assert not any(secret in left for secret in secrets)


def test_a_secret_within_another_leaves_no_remainder() -> None:
    assert scrub("value: hunter2hunter2-long", ["hunter2", "hunter2hunter2-long"]) == "value: [secret]"
    assert scrub("a is a", ["a"]) == "a is a", "too short to be a secret"
