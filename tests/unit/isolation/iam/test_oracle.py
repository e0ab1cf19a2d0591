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
from tests.unit.isolation.iam.strategies import ACCOUNT, contexts, documents, principals, requests, tags

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@st.composite
def situations(draw: st.DrawFn) -> dict[str, Any]:
    principal = draw(principals)
    is_session = ":assumed-role/" in principal
    return {
        "principal": principal,
        "request": draw(requests),
        "tags": draw(tags),
        "context": draw(contexts),
        "identity": draw(st.lists(documents(), max_size=2)),
        "boundary": draw(st.none() | documents()),
        "sessions": draw(st.lists(documents(), max_size=2)) if is_session else [],
        "attached": draw(st.none() | documents(principal=True)),
    }


@settings(max_examples=500, deadline=None)
@given(situations())
def test_both_evaluators_decide_alike(it: dict[str, Any]) -> None:
    action, resource = it["request"]
    decision = simulate(
        it["principal"],
        action,
        resource,
        identity_policies=it["identity"],
        permissions_boundary=it["boundary"],
        session_policies=it["sessions"],
        resource_policy=it["attached"],
        session_tags=it["tags"],
        resource_account=ACCOUNT,
        context=it["context"],
        at=NOW,
    )
    assert decision.outcome == oracle.decide(for_oracle(it)), decision


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
        required=action.startswith("kms:"),
    )


def test_generated_situations_have_every_outcome() -> None:
    seen: set[str] = set()

    @settings(max_examples=200, deadline=None, database=None)
    @given(situations())
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
