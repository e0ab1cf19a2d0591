"""Generated policies, decided twice: by ``isolation.iam`` and by evaluators that know nothing of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from moto.iam.access_control import IAMPolicy, PermissionResult

from isolation.iam import simulate
from tests.unit.isolation.iam import oracle, strategies
from tests.unit.isolation.iam.strategies import (
    ACCOUNT,
    conditional_documents,
    contexts,
    documents,
    matching_documents,
    plain_documents,
    principals,
    requests,
    tags,
)

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@st.composite
def situations(
    draw: st.DrawFn,
    policies: st.SearchStrategy[dict[str, Any]],
    attached: st.SearchStrategy[dict[str, Any] | None],
    limits: st.SearchStrategy[dict[str, Any] | None],
) -> dict[str, Any]:
    principal = draw(principals)
    session = draw(limits) if ":assumed-role/" in principal else None
    return {
        "principal": principal,
        "request": draw(requests),
        "tags": draw(tags),
        "context": draw(contexts),
        "identity": draw(st.lists(policies, max_size=2)),
        "boundary": draw(limits),
        "sessions": [] if session is None else [session],
        "attached": draw(attached),
    }


NOTHING = st.none()
ANYTHING = situations(documents(), NOTHING | documents(principal=True), NOTHING | documents())
HOW_POLICIES_ADD_UP = situations(
    plain_documents(), NOTHING | plain_documents(principal=True), NOTHING | plain_documents()
)
WHAT_STATEMENTS_SPEAK_OF = situations(matching_documents, NOTHING, NOTHING)
CONDITIONS = situations(conditional_documents, NOTHING, NOTHING)


@settings(max_examples=150, deadline=None)
@given(ANYTHING)
def test_both_evaluators_decide_alike(it: dict[str, Any]) -> None:
    compare(it)


@settings(max_examples=300, deadline=None)
@given(HOW_POLICIES_ADD_UP)
def test_policies_of_all_kinds_add_up_alike(it: dict[str, Any]) -> None:
    compare(it)


@settings(max_examples=250, deadline=None)
@given(WHAT_STATEMENTS_SPEAK_OF)
def test_actions_and_resources_match_alike(it: dict[str, Any]) -> None:
    compare(it)


@settings(max_examples=300, deadline=None)
@given(CONDITIONS)
def test_conditions_hold_alike(it: dict[str, Any]) -> None:
    compare(it)


def compare(it: dict[str, Any]) -> None:
    __tracebackhide__ = True
    action, resource = it["request"]
    decision = simulate(
        it["principal"],
        action,
        resource,
        identity_policies=it["identity"],
        permissions_boundary=it["boundary"],
        session_policies=it["sessions"],
        resource_policy=it["attached"],
        resource_policy_required=is_required(it),
        session_tags=it["tags"],
        resource_account=ACCOUNT,
        context=it["context"],
        at=NOW,
    )
    assert decision.outcome == oracle.decide(for_oracle(it)), decision


def is_required(it: dict[str, Any]) -> bool:
    return it["request"][0].startswith("kms:") and it["attached"] is not None


def for_oracle(it: dict[str, Any]) -> oracle.Situation:
    principal: str = it["principal"]
    account = principal.split(":")[4]
    is_session = ":assumed-role/" in principal
    behind = f"arn:aws:iam::{account}:role/app" if is_session else principal
    keys = {
        "aws:principalarn": [behind],
        "aws:currenttime": ["2026-06-01T12:00:00Z"],
        **{f"aws:principaltag/{key.lower()}": [value] for key, value in it["tags"].items()},
        **{key.lower(): value if isinstance(value, list) else [value] for key, value in it["context"].items()},
    }
    names = {
        "direct": frozenset({"*", principal}),
        "behind": frozenset({behind} if is_session else ()),
        "account": frozenset({account, f"arn:aws:iam::{account}:root"}),
    }
    action, resource = it["request"]
    return oracle.Situation(
        names,
        account,
        action,
        resource,
        ACCOUNT,
        keys,
        it["identity"],
        it["boundary"],
        it["sessions"],
        it["attached"],
        required=is_required(it),
    )


def test_generated_situations_have_every_outcome() -> None:
    seen: set[str] = set()

    @settings(max_examples=100, deadline=None, database=None)
    @given(HOW_POLICIES_ADD_UP)
    def look(it: dict[str, Any]) -> None:
        seen.add(oracle.decide(for_oracle(it)))

    look()
    assert seen == {"allowed", "explicit deny", "implicit deny"}


_PLAIN = st.fixed_dictionaries(
    {
        "Effect": st.sampled_from(["Allow", "Deny"]),
        "Action": st.sampled_from(["*", "s3:*", "s3:GetObject", "s3:Get*", "kms:Decrypt", ["s3:PutObject", "kms:*"]]),
        "Resource": st.sampled_from(["*", "arn:aws:s3:::bucket/*", strategies.OBJECT, strategies.KEY, "arn:aws:kms:*"]),
    }
)


@settings(max_examples=200, deadline=None)
@given(st.lists(_PLAIN, min_size=1, max_size=4), requests)
def test_moto_decides_plain_identity_policies_alike(listed: list[dict[str, Any]], request: tuple[str, str]) -> None:
    document = {"Version": "2012-10-17", "Statement": listed}
    result = IAMPolicy(json.dumps(document)).is_action_permitted(*request)
    expected = {
        PermissionResult.PERMITTED: "allowed",
        PermissionResult.DENIED: "explicit deny",
        PermissionResult.NEUTRAL: "implicit deny",
    }[result]
    decision = simulate(strategies.SESSION, *request, identity_policies=[document], resource_policy_required=False)
    assert decision.outcome == expected
