"""Issuing credentials: who is refused, what is issued, what is read how often, and what never shows."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import logging
import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

import pytest
import structlog
from botocore.exceptions import EndpointConnectionError

from provisioner.broker import (
    ApplicationTokens,
    Broker,
    BrokerMisconfigured,
    BrokerPlacement,
    BrokerUnavailable,
    TenantSuspended,
    UnknownTenant,
    entry_token,
)
from tests.unit.provisioner.broker_fakes import BRIDGE, KEY, PASSWORD, POOL, FakeAws, client_error


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws()


@pytest.fixture
def placements() -> dict[str, BrokerPlacement]:
    return {"acme": POOL, "globex": BRIDGE}


@pytest.fixture
def broker(aws: FakeAws, placements: dict[str, BrokerPlacement]) -> Broker:
    return Broker(placements.get, aws, clock=lambda: aws.now)


def test_a_pool_tenants_token_verifies_with_the_key_and_carries_epoch_and_expiry(broker: Broker, aws: FakeAws) -> None:
    issued = broker.database("acme")
    assert issued.token is not None
    expiry, epoch, signature = issued.token.split(".")
    assert (int(expiry), int(epoch), issued.epoch) == (int(aws.now) + 900, 7, 7)
    assert signature == hmac.new(KEY, f"acme|7|{expiry}".encode(), hashlib.sha256).hexdigest()
    assert issued.expires_at.timestamp() == int(expiry)
    assert (issued.username, issued.password) == ("pool", PASSWORD)


def test_a_tenant_with_a_login_of_its_own_gets_no_token_and_no_key_is_read(broker: Broker, aws: FakeAws) -> None:
    issued = broker.database("globex")
    assert issued.token is None
    assert issued.username == "t_globex"
    assert aws.reads == ["arn:globex"]


def test_tokens_of_two_tenants_epochs_and_expiries_all_differ() -> None:
    tokens = {entry_token(KEY, t, e, x) for t in ("acme", "globex") for e in (1, 2) for x in (100, 200)}
    assert len(tokens) == 8


@pytest.mark.parametrize("access", ["suspended", "hibernated", "retained", "deleted", "", "FULL", "of a later release"])
@pytest.mark.parametrize("kind", ["database", "aws"])
def test_whatever_is_cached_a_tenant_that_may_not_read_is_refused(
    broker: Broker, placements: dict[str, BrokerPlacement], access: str, kind: str, aws: FakeAws
) -> None:
    getattr(broker, kind)("acme")
    calls = len(aws.reads) + len(aws.assumed)
    placements["acme"] = replace(POOL, access=access)
    with pytest.raises(TenantSuspended):
        getattr(broker, kind)("acme")
    assert len(aws.reads) + len(aws.assumed) == calls


@pytest.mark.parametrize("access", ["full", "grace", "throttled"])
def test_a_tenant_that_may_write_gets_a_token_without_a_mode_and_a_session_without_a_policy(
    broker: Broker, placements: dict[str, BrokerPlacement], access: str, aws: FakeAws
) -> None:
    placements["acme"] = replace(POOL, access=access)
    issued = broker.database("acme")
    assert issued.access == access
    assert str(issued.token).split(".")[1] == "7"
    broker.aws("acme")
    assert "Policy" not in aws.assumed[0]


def test_a_tenant_that_may_only_read_gets_a_token_and_a_session_that_say_so(
    broker: Broker, placements: dict[str, BrokerPlacement], aws: FakeAws
) -> None:
    writing = broker.aws("acme")
    placements["acme"] = replace(POOL, access="read_only")
    issued = broker.database("acme")
    expiry, epoch, signature = str(issued.token).split(".")
    assert (epoch, issued.access) == ("7r", "read_only")
    assert signature == hmac.new(KEY, f"acme|7r|{expiry}".encode(), hashlib.sha256).hexdigest()
    assert broker.aws("acme") != writing, "a session that writes is not given out again"
    allowed, denied = json.loads(aws.assumed[1]["Policy"])["Statement"]
    assert (allowed["Effect"], denied["Effect"]) == ("Allow", "Deny")
    assert sorted(allowed["Action"]) == ["kms:Decrypt", "s3:GetObject", "s3:ListBucket"]
    assert {"s3:PutObject", "s3:DeleteObject", "kms:GenerateDataKey"} <= set(denied["Action"])
    assert broker.aws("acme") == broker.aws("acme")
    placements["acme"] = POOL
    assert broker.aws("acme") == writing, "nor one that only reads once it may write again"


@pytest.mark.parametrize(
    ("access", "back"), [("suspended", "a payment"), ("hibernated", "minutes"), ("retained", "subscribing again")]
)
def test_a_refusal_says_why_since_when_and_what_brings_it_back(
    broker: Broker, placements: dict[str, BrokerPlacement], access: str, back: str
) -> None:
    since = datetime(2026, 11, 20, 12, tzinfo=UTC)
    placements["acme"] = replace(POOL, access=access, access_reason="payment_failed", access_since=since)
    with pytest.raises(TenantSuspended) as refused:
        broker.database("acme")
    assert refused.value.message == f"the access of tenant 'acme' is {access!r}, payment_failed since 2026-11-20"
    assert back in refused.value.hint


@pytest.mark.parametrize("tenant", ["nobody", "", "acme\x00", "ACME", "../acme", "a" * 500, "acme\n"])
def test_an_unknown_or_illegal_tenant_is_unknown(broker: Broker, aws: FakeAws, tenant: str) -> None:
    with pytest.raises(UnknownTenant):
        broker.database(tenant)
    assert aws.reads == []


def test_an_illegal_id_never_reaches_the_registry(aws: FakeAws) -> None:
    asked: list[str] = []

    def source(tenant_id: str) -> None:
        asked.append(tenant_id)

    with pytest.raises(UnknownTenant):
        Broker(source, aws).database("acme\x00")
    assert asked == []


def test_the_session_is_tagged_with_the_tenant_transitively_for_fifteen_minutes(broker: Broker, aws: FakeAws) -> None:
    broker.aws("acme")
    assert aws.assumed == [
        {
            "RoleArn": POOL.role_arn,
            "RoleSessionName": "tenantry-acme",
            "DurationSeconds": 900,
            "Tags": [{"Key": "tenant_id", "Value": "acme"}],
            "TransitiveTagKeys": ["tenant_id"],
        }
    ]


def test_a_young_session_is_given_out_again_but_never_to_another_tenant_or_epoch(
    broker: Broker, aws: FakeAws, placements: dict[str, BrokerPlacement]
) -> None:
    first = broker.aws("acme")
    assert broker.aws("acme") == first
    assert broker.aws("globex") != first
    placements["acme"] = replace(POOL, epoch=8)
    assert broker.aws("acme") != first
    placements["acme"] = POOL
    aws.now += 301
    assert broker.aws("acme") != first, "what is handed out is good for ten minutes at least"


def test_many_threads_asking_at_once_assume_the_role_once(broker: Broker, aws: FakeAws) -> None:
    start = threading.Barrier(16)
    seen: list[str] = []

    def ask() -> None:
        start.wait(10)
        seen.append(broker.aws("acme").access_key_id)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (len(seen), set(seen), len(aws.assumed)) == (16, {"AKIA1"}, 1)


def test_secrets_are_read_again_after_the_ttl_and_sooner_when_the_caller_was_refused(
    broker: Broker, aws: FakeAws
) -> None:
    broker.database("globex")
    aws.secrets["arn:globex"] = json.dumps({"username": "t_globex", "password": "rotated"})
    assert broker.database("globex").password == PASSWORD
    assert broker.database("globex", fresh=True).password == PASSWORD, "re-read at most once a second"
    aws.now += 1
    assert broker.database("globex", fresh=True).password == "rotated"
    aws.secrets["arn:globex"] = json.dumps({"username": "t_globex", "password": "again"})
    aws.now += 31
    assert broker.database("globex").password == "again"


@pytest.mark.parametrize("error", [client_error("ThrottlingException"), EndpointConnectionError(endpoint_url="x")])
@pytest.mark.parametrize("kind", ["database", "aws"])
def test_a_failing_aws_is_unavailable_and_works_again_afterwards(
    broker: Broker, aws: FakeAws, error: Exception, kind: str
) -> None:
    aws.error = error
    with pytest.raises(BrokerUnavailable):
        getattr(broker, kind)("acme")
    aws.error = None
    assert getattr(broker, kind)("acme")


@pytest.mark.parametrize("code", ["AccessDenied", "ResourceNotFoundException"])
def test_what_retrying_cannot_mend_is_a_misconfiguration(broker: Broker, aws: FakeAws, code: str) -> None:
    aws.error = client_error(code)
    with pytest.raises(BrokerMisconfigured) as caught:
        broker.aws("acme")
    assert code in str(caught.value)


@pytest.mark.parametrize(
    "value",
    ["", "not json " + PASSWORD, "[]", '{"username": "pool"}', '{"username": 1, "password": "' + PASSWORD + '"}'],
)
def test_a_malformed_login_secret_is_reported_without_its_value(broker: Broker, aws: FakeAws, value: str) -> None:
    aws.secrets["arn:login"] = value
    with pytest.raises(BrokerMisconfigured) as caught:
        broker.database("acme")
    assert PASSWORD not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("key", ["", "zz" * 64, "00" * 63, "00" * 65])
def test_a_token_key_of_the_wrong_form_is_refused_rather_than_used(broker: Broker, aws: FakeAws, key: str) -> None:
    aws.secrets["arn:key"] = json.dumps({"key": key})
    with pytest.raises(BrokerMisconfigured):
        broker.database("acme")


def test_neither_logs_nor_reprs_hold_a_secret(broker: Broker, aws: FakeAws) -> None:
    out = io.StringIO()
    structlog.configure(
        processors=[structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    try:
        database, session = broker.database("acme"), broker.aws("acme")
    finally:
        structlog.reset_defaults()
    written = out.getvalue() + repr(database) + repr(session)
    assert "acme" in out.getvalue()
    for secret in (PASSWORD, cast(str, database.token), KEY.hex(), session.secret_access_key, session.session_token):
        assert secret not in written


def test_application_tokens_accept_each_of_theirs_and_nothing_else() -> None:
    tokens = ApplicationTokens(["one", "two", ""])
    assert tokens.accept("one")
    assert tokens.accept("two")
    for other in ("", "on", "onee", "ONE", "one ", "\xff", "\udcff"):
        assert not tokens.accept(other)
    assert not ApplicationTokens([]).accept("")
