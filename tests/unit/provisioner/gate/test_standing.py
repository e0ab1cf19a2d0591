"""Pulumi's marks of secrets, unknown values, outputs and references, as rules see them."""

from __future__ import annotations

from typing import Any

import pytest

from policies.values import CannotTell, is_secret, is_unknown
from provisioner.gate.standing import as_it_stands, plain, stacks_of

SIGNATURE = "4dabf18193072939515e22adb298388d"
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
SECRET_MARK = {SIGNATURE: "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:abc"}
URN = "urn:pulumi:acme::tenantry::tenantry:index:Silo$aws:kms/key:Key::data"


def test_a_secret_is_there_and_refuses_to_be_used() -> None:
    found = plain({"policy": {"Statement": [SECRET_MARK]}})["policy"]["Statement"]
    assert is_secret(found[0])
    assert not is_unknown(found[0])
    with pytest.raises(CannotTell, match=r"policy\.Statement\[0\] is a secret"):
        str(found[0])


def test_an_unknown_value_refuses_to_be_used_and_says_where_it_stands() -> None:
    value = plain({"policy": {"Statement": [{"Resource": UNKNOWN}]}})
    found = value["policy"]["Statement"][0]["Resource"]
    assert is_unknown(found)
    with pytest.raises(CannotTell, match=r"policy\.Statement\[0\]\.Resource"):
        bool(found)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({SIGNATURE: "d0e6a833031e9bbcd3f4e8bde6ca49a4", "value": "x"}, "x"),
        ({SIGNATURE: "5cf8f73096256a8f31e491e813e4eb8e", "urn": "urn:x"}, "urn:x"),
        ([1, None, True, "text"], [1, None, True, "text"]),
    ],
)
def test_other_marks(value: Any, expected: Any) -> None:
    assert plain(value) == expected


def test_an_output_without_a_value_is_unknown() -> None:
    assert is_unknown(plain({SIGNATURE: "d0e6a833031e9bbcd3f4e8bde6ca49a4"}))


def deployment(**changes: Any) -> dict[str, Any]:
    resource = {
        "urn": URN,
        "type": "aws:kms/key:Key",
        "inputs": {"enableKeyRotation": True},
        "outputs": {"enableKeyRotation": False, "arn": "arn:key"},
        "parent": "urn:parent",
        "protect": True,
        "dependencies": ["urn:a"],
        "propertyDependencies": {"policy": ["urn:a"], "tags": None},
    }
    return {"resources": [{**resource, **changes}]}


def test_resource_rules_see_inputs_and_stack_rules_outputs() -> None:
    inputs, outputs = stacks_of(deployment())
    (asked,), (made,) = inputs.resources, outputs.resources
    assert (asked.type, asked.name, asked.protect, asked.parent) == ("aws:kms/key:Key", "data", True, "urn:parent")
    assert asked.depends_on == {"policy": frozenset({"urn:a"})}
    assert (asked.get("enableKeyRotation"), asked.get("arn")) == (True, None)
    assert made.get("arn") == "arn:key"


def test_what_stands_is_what_the_cloud_says() -> None:
    inputs, _ = as_it_stands(deployment())
    assert inputs.resources[0].get("enableKeyRotation") is False


def test_what_is_pending_deletion_is_no_part_of_the_stack() -> None:
    assert stacks_of(deployment(delete=True))[0].resources == ()
    assert stacks_of({})[0].resources == ()
