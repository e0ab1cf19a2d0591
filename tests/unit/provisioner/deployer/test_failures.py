"""What a failed command means: try again, ask the operator, wait for the lock; and no secret in the reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.deployer.command import Finished
from provisioner.deployer.events import EventLog
from provisioner.deployer.failures import classify, stack_is_missing
from provisioner.deployer.types import StackRequest
from provisioner.engine.scrubbing import Scrubber
from provisioner.errors import EngineFailed, ProtectedResource, StackLocked, TenantryError, UpdateRejected

BUCKET = "urn:pulumi:acme::tenantry::aws:s3/bucket:Bucket::files"
STACK = "urn:pulumi:acme::tenantry::pulumi:pulumi:Stack::tenantry-acme"
REQUEST = StackRequest("acme", lambda: None)


def failed(
    *errors: tuple[str, str],
    stderr: str = "",
    code: int = 255,
    interrupted: bool = False,
    violations: tuple[str, ...] = (),
    environment: dict[str, str] | None = None,
) -> TenantryError:
    scrub = Scrubber(environment or {})
    log = EventLog(redact=scrub)
    for urn, message in errors:
        log.handle(json.dumps({"diagnosticEvent": {"severity": "error", "urn": urn, "message": message}}))
    for message in violations:
        event = {"policyName": "p", "resourceUrn": BUCKET, "message": message, "enforcementLevel": "mandatory"}
        log.handle(json.dumps({"policyEvent": event}))
    return classify(REQUEST, Finished(code, "", stderr, interrupted), log, scrub)


LOCKED = """error: the stack is currently locked by 1 lock(s). Either wait for the other process(es) to end or delete
the lock file with `pulumi cancel`.
  postgres://db/.pulumi/locks/x/acme/1.json: created by me@worker-2 (pid 4711) at 2026-11-24T12:00:00Z
"""


def test_a_held_lock_names_its_holder() -> None:
    error = failed(stderr=LOCKED)
    assert isinstance(error, StackLocked)
    assert "by me@worker-2 (pid 4711, since 2026-11-24T12:00:00Z)" in error.message


@pytest.mark.parametrize(
    "message",
    [
        "creating KMS Key: ThrottlingException: Rate exceeded",
        "RequestLimitExceeded: slow down",
        "operation error S3: PutBucketPolicy, https response error StatusCode: 503, ServiceUnavailable",
        "InternalFailure: try again later",
        "dial tcp 10.0.0.1:443: connect: connection refused",
        "rpc error: code = Unavailable desc = transport is closing",
        "unexpected EOF",
        "DependencyViolation: resource sg-1 has a dependent object",
        "InvalidDBInstanceState: Instance db is not in available state",
        "the database system is starting up",
        "context deadline exceeded",
    ],
)
def test_what_passes_by_itself_is_tried_again(message: str) -> None:
    error = failed((BUCKET, message), (STACK, "update failed"))
    assert isinstance(error, EngineFailed)
    assert error.message.startswith(f"stack acme: aws:s3/bucket:Bucket files: {message[:20]}")


@pytest.mark.parametrize(
    "message",
    [
        "AccessDenied: User is not authorized to perform: s3:CreateBucket",
        "BucketAlreadyExists: the name is taken",
        "InvalidParameterValue: invalid DB class",
        "LimitExceeded: Cannot exceed quota for RolesPerAccount: 1000",
        "MalformedPolicyDocument: Syntax errors in policy",
    ],
)
def test_what_the_cloud_refuses_needs_an_operator(message: str) -> None:
    error = failed((BUCKET, message), (STACK, "update failed"))
    assert isinstance(error, UpdateRejected)
    assert message in error.message
    assert "tenantry explain acme" in error.hint


@pytest.mark.parametrize(
    "message",
    [
        f'unable to delete resource "{BUCKET}"\nas it is currently marked for protection.',
        f"resource {BUCKET} cannot be deleted\nbecause it is protected.",
        f"unable to replace resource {BUCKET}",
    ],
)
def test_a_protected_resource_says_how_to_authorise(message: str) -> None:
    error = failed((BUCKET, message))
    assert isinstance(error, ProtectedResource)
    assert "tenantry tenants destroy" in error.hint


def test_a_refused_policy_is_named_even_if_the_engine_failed_besides() -> None:
    error = failed((STACK, "connection reset"), violations=("is public", "has no tags"))
    assert isinstance(error, UpdateRejected)
    assert "aws:s3/bucket:Bucket files: p: is public; aws:s3/bucket:Bucket files: p: has no tags" in error.message


@pytest.mark.parametrize("how", [{"interrupted": True}, {"code": -9}])
def test_an_interrupted_update_is_resumed_whatever_it_said(how: dict[str, Any]) -> None:
    error = failed((BUCKET, "AccessDenied: whatever"), **how)
    assert isinstance(error, EngineFailed)
    assert error.hint == "it is resumed"


def test_reasons_about_resources_come_before_those_about_the_stack() -> None:
    error = failed((STACK, "update failed"), (BUCKET, "BucketAlreadyExists"))
    assert "update failed" not in error.message
    assert "update failed" in failed((STACK, "update failed")).message


def test_of_a_traceback_the_reason_remains() -> None:
    text = 'Program failed:\nTraceback (most recent call last):\n  File "x.py", line 1\nValueError: no such tier: gold'
    error = failed((STACK, text))
    assert error.message == "stack acme: Program failed: ValueError: no such tier: gold"


def test_without_a_diagnostic_the_last_lines_or_the_code_are_told() -> None:
    assert failed(stderr="\n".join(f"line {n}" for n in range(9))).message == "stack acme: line 6 line 7 line 8"
    assert failed(code=3).message == "stack acme: exit code 3"


def test_a_missing_stack_is_recognised() -> None:
    assert stack_is_missing(Finished(255, "", "error: no stack named 'acme' found", False))
    assert not stack_is_missing(Finished(255, "", "error: no stacks", False))


# Secrets

ENVIRONMENT = {
    "PULUMI_CONFIG_PASSPHRASE": "correct horse battery",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMIK7MDENG",
    "TENANTRY_OPERATOR_TOKENS": "op_aaaaaaaa,op_bbbbbbbb",
    "TENANTRY_DATABASE_URL": "postgresql://tenantry:p%40ssw0rd@db/tenantry",
    "TENANTRY_SECRETS_PROVIDER": "passphrase",
    "AWS_REGION": "eu-central-1",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("it said correct horse battery", "it said [secret]"),
        ("op_aaaaaaaa and op_bbbbbbbb", "[secret] and [secret]"),
        ("connect to postgres://u:hunter2@h/db failed", "connect to postgres://u:[secret]@h/db failed"),
        ("the password was p@ssw0rd or p%40ssw0rd", "the password was [secret] or [secret]"),
        ("PASSWORD 'x'; password=hunter2, next", "PASSWORD 'x'; password=[secret], next"),
        ('{"password": "hunter2", "user": "u"}', '{"password": "[secret]", "user": "u"}'),
        ("api_key: abc", "api_key: [secret]"),
        ("key sk_test_0123456789 and whsec_0123456789", "key [secret] and [secret]"),
        ("AKIAABCDEFGHIJKLMNOP", "[secret]"),
        # What looks like one and is none stays readable.
        (
            "secret: arn:aws:secretsmanager:eu-central-1:1:secret:login",
            "secret: arn:aws:secretsmanager:eu-central-1:1:secret:login",
        ),
        ("encrypted by a passphrase in eu-central-1", "encrypted by a passphrase in eu-central-1"),
        ("password=[secret]", "password=[secret]"),
    ],
)
def test_what_is_or_looks_like_a_secret_is_replaced(text: str, expected: str) -> None:
    assert Scrubber(ENVIRONMENT)(text) == expected


@pytest.mark.parametrize("where", ["diagnostic", "policy", "stderr"])
def test_no_error_holds_a_secret(where: str) -> None:
    text = "login correct horse battery at postgres://u:hunter2@h refused, key wJalrXUtnFEMIK7MDENG"
    error = failed(
        *([(BUCKET, text)] if where == "diagnostic" else []),
        violations=(text,) if where == "policy" else (),
        stderr=text if where == "stderr" else "",
        environment=ENVIRONMENT,
    )
    for secret in ("correct horse", "hunter2", "wJalrX"):
        assert secret not in str(error)
    assert "[secret]" in error.message


@settings(deadline=None)
@given(
    secret=st.text(
        st.characters(codec="ascii", exclude_categories=["Cc"], exclude_characters=","), min_size=6, max_size=40
    ),
    around=st.text(max_size=20),
)
def test_a_secret_variables_value_never_survives(secret: str, around: str) -> None:
    scrubbed = Scrubber({"SOME_TOKEN": secret})(f"{around}{secret}{around}")
    assert secret not in scrubbed.replace("[secret]", "") or secret in around


@settings(deadline=None)
@given(st.text(max_size=200))
def test_scrubbing_twice_changes_nothing_more(text: str) -> None:
    scrub = Scrubber(ENVIRONMENT)
    assert scrub(scrub(text)) == scrub(text)


def test_an_instance_with_a_replica_waits_for_an_operator_and_one_that_is_busy_is_tried_again() -> None:
    busy = failed((BUCKET, "StopDBInstance: InvalidDBInstanceState: Instance x is not in available state."))
    assert isinstance(busy, EngineFailed)
    replica = failed((BUCKET, "StopDBInstance: InvalidDBInstanceState: Instance x is or has a read replica"))
    assert isinstance(replica, UpdateRejected)
    assert "remove the replica" in replica.hint
