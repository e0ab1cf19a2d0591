"""AssumeRole: trust, tags, chains."""

from __future__ import annotations

from typing import Any

import pytest

from isolation.iam import Outcome, Request, assume_role, authorize
from tests.unit.isolation.iam.cases import ACCOUNT, OTHER, allow, role, session, trust, user

ASSUME = allow(["sts:AssumeRole", "sts:TagSession"])
PRESENT = {"Null": {"aws:RequestTag/tenant_id": "false"}}
ONLY = {"ForAllValues:StringEquals": {"aws:TagKeys": ["tenant_id"]}}


def test_an_account_in_the_trust_policy_delegates_to_identity_policies() -> None:
    assert assume_role(role(), user(ASSUME))[0].allowed
    assert not assume_role(role(), user())[0].allowed


def test_a_principal_named_in_the_trust_policy_needs_no_identity_policy_in_its_account() -> None:
    alice = user()
    assert assume_role(role(trust=trust({"AWS": alice.arn})), alice)[0].allowed
    bob = user(account=OTHER)
    assert not assume_role(role(trust=trust({"AWS": bob.arn})), bob)[0].allowed
    assert assume_role(role(trust=trust({"AWS": bob.arn})), user(ASSUME, account=OTHER))[0].allowed


def test_identity_alone_never_assumes() -> None:
    assert not assume_role(role(trust=trust({"AWS": OTHER})), user(allow("*")))[0].allowed


@pytest.mark.parametrize("where", ["trust", "identity"])
def test_a_tag_needs_tag_session_on_both_sides(where: str) -> None:
    target = role(trust=trust(None, "sts:AssumeRole")) if where == "trust" else role()
    caller = user(allow("sts:AssumeRole") if where == "identity" else ASSUME)
    assert assume_role(target, caller)[0].allowed
    decision, made = assume_role(target, caller, tags={"tenant_id": "acme"})
    assert (decision.outcome, made) == (Outcome.IMPLICIT_DENY, None)
    assert decision.reason.startswith("sts:TagSession")


@pytest.mark.parametrize(
    ("condition", "tags", "expected"),
    [
        (PRESENT, {"tenant_id": "acme"}, True),
        (PRESENT, {}, False),
        (PRESENT, {"other": "x"}, False),
        ({"StringEquals": {"aws:RequestTag/tenant_id": "acme"}}, {"tenant_id": "acme"}, True),
        ({"StringEquals": {"aws:RequestTag/tenant_id": "acme"}}, {"tenant_id": "globex"}, False),
        ({"StringEquals": {"aws:RequestTag/tenant_id": "acme"}}, {}, False),
        (ONLY, {}, True),  # ForAllValues alone does not require the tag
        (ONLY | PRESENT, {}, False),
        (ONLY | PRESENT, {"tenant_id": "acme", "role": "admin"}, False),
    ],
)
def test_a_trust_policy_decides_over_tags(condition: Any, tags: dict[str, str], expected: bool) -> None:
    target = role(trust=trust(Condition=condition))
    assert assume_role(target, user(ASSUME), tags=tags)[0].allowed is expected


def test_a_transitive_tag_survives_a_chain_and_cannot_be_replaced() -> None:
    tenant = role(ASSUME, name="tenant")
    _, first = assume_role(tenant, user(ASSUME), tags={"tenant_id": "acme", "loose": "1"}, transitive=["tenant_id"])
    assert first is not None
    second_role = role(allow(resource="arn:aws:s3:::b/${aws:PrincipalTag/tenant_id}/*"), name="second")
    for key in ("tenant_id", "TENANT_ID"):
        refused, nothing = assume_role(second_role, first, tags={key: "globex"})
        assert (refused.allowed, nothing) == (False, None)
    _, second = assume_role(second_role, first)
    assert second is not None
    assert (dict(second.tags), second.transitive) == ({"tenant_id": "acme"}, frozenset({"tenant_id"}))
    for tenant_id, expected in (("acme", True), ("globex", False)):
        request = Request(second, "s3:GetObject", f"arn:aws:s3:::b/{tenant_id}/x", ACCOUNT)
        assert authorize(request).allowed is expected


def test_without_transitivity_a_chain_may_choose_another_tenant() -> None:
    _, first = assume_role(role(ASSUME, name="tenant"), user(ASSUME), tags={"tenant_id": "acme"})
    assert first is not None
    assert assume_role(role(name="second"), first, tags={"tenant_id": "globex"})[0].allowed


def test_a_session_may_assume_only_what_its_role_may() -> None:
    assert not assume_role(role(name="second"), session())[0].allowed


@pytest.mark.parametrize(
    "arguments", [{"transitive": ["x"]}, {"tags": {"a": "1", "A": "2"}}, {"tags": {"a": "1"}, "transitive": ["b"]}]
)
def test_requests_that_sts_refuses(arguments: Any) -> None:
    assert not assume_role(role(), user(ASSUME), **arguments)[0].allowed


def test_an_external_id_is_compared() -> None:
    target = role(trust=trust(Condition={"StringEquals": {"sts:ExternalId": "secret"}}))
    assert assume_role(target, user(ASSUME), external_id="secret")[0].allowed
    assert not assume_role(target, user(ASSUME), external_id="guess")[0].allowed
    assert not assume_role(target, user(ASSUME))[0].allowed
