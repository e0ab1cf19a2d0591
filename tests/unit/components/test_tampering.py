"""Which events raise the alarm of keys and buckets, by EventBridge's own matching rules as moto implements them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from moto.events.models import EventPattern

from components.naming import Names
from components.tampering import CHANGES, DISRUPTIONS, PATTERN_LIMIT, event_pattern

PROVISIONER = "arn:aws:iam::123456789012:role/tenantry/provisioner"
SOMEBODY = "arn:aws:iam::123456789012:role/admin"


def matches(name: str, identity: dict[str, Any], provisioners: tuple[str, ...] = (PROVISIONER,)) -> bool:
    service = "s3" if "Bucket" in name else "kms"
    event: Any = {
        "source": f"aws.{service}",
        "detail-type": "AWS API Call via CloudTrail",
        "detail": {"eventSource": f"{service}.amazonaws.com", "eventName": name, "userIdentity": identity},
    }
    return bool(EventPattern.load(json.dumps(event_pattern(provisioners))).matches_event(event))


def session_of(role: str) -> dict[str, Any]:
    return {"type": "AssumedRole", "sessionContext": {"sessionIssuer": {"arn": role}}}


@pytest.mark.parametrize("name", DISRUPTIONS)
def test_a_disruption_is_told_whoever_causes_it(name: str) -> None:
    assert matches(name, session_of(PROVISIONER))
    assert matches(name, session_of(SOMEBODY))
    assert matches(name, {"type": "Root"}, provisioners=())


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_told_unless_it_is_ours(name: str) -> None:
    assert not matches(name, session_of(PROVISIONER))
    assert matches(name, session_of(SOMEBODY))
    assert matches(name, {"type": "IAMUser", "userName": "eve"})
    assert matches(name, {"type": "Root"})


@pytest.mark.parametrize("name", CHANGES)
def test_without_named_provisioners_changes_are_not_told(name: str) -> None:
    assert not matches(name, session_of(SOMEBODY), provisioners=())


@pytest.mark.parametrize("name", ["Decrypt", "GenerateDataKey", "CreateGrant", "ListBuckets"])
def test_use_is_no_tampering(name: str) -> None:
    assert not matches(name, session_of(SOMEBODY))


def test_the_pattern_and_the_longest_name_fit() -> None:
    many = tuple(f"{PROVISIONER}-{number}" for number in range(10))
    assert len(json.dumps(event_pattern(many), separators=(",", ":"))) <= PATTERN_LIMIT
    assert len(Names("a" * 20, "platform." + "c" * 20).tampering) <= 64
