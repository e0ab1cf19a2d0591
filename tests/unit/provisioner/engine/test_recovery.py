"""What becomes of operations that an interrupted engine left pending; whatever their number and order."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.engine.recovery import pending_operations, resolve
from provisioner.errors import RetryLater

TYPE = "aws:s3/bucket:Bucket"


def urn(name: str, type_: str = TYPE) -> str:
    return f"urn:pulumi:acme::tenantry::{type_}::{name}"


def resource(name: str, type_: str = TYPE, **fields: Any) -> dict[str, Any]:
    return {"urn": urn(name, type_), "type": type_, "custom": True, "inputs": {"bucket": name}, **fields}


def pending(kind: str, of: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "resource": {key: value for key, value in of.items() if key != "id"}}


class Cloud:
    """Knows which resources exist, by logical name."""

    def __init__(self, **ids: str) -> None:
        self.ids = ids
        self.asked: list[tuple[str, str, dict[str, Any]]] = []

    def find(self, type_: str, name: str, inputs: Mapping[str, Any]) -> str | None:
        self.asked.append((type_, name, dict(inputs)))
        return self.ids.get(name)


def test_a_pending_create_that_happened_is_adopted_and_read() -> None:
    bucket = resource("files", provider="urn:p::id", dependencies=["urn:x"])
    cloud = Cloud(files="files-1")
    recovery = resolve(
        {"resources": [resource("other", id="o")], "pending_operations": [pending("creating", bucket)]}, cloud
    )
    assert cloud.asked == [(TYPE, "files", {"bucket": "files"})]
    assert recovery.adopted == recovery.refresh == (urn("files"),)
    assert recovery.dropped == ()
    assert recovery.deployment == {
        "resources": [
            resource("other", id="o"),
            {**bucket, "id": "files-1", "outputs": {"bucket": "files", "id": "files-1"}},
        ]
    }


def test_a_pending_create_that_did_not_happen_is_forgotten() -> None:
    deployment = {"resources": [], "pending_operations": [pending("creating", resource("files"))]}
    recovery = resolve(deployment, Cloud())
    assert (recovery.dropped, recovery.adopted, recovery.refresh) == ((urn("files"),), (), ())
    assert recovery.deployment == {"resources": []}


def test_what_a_finished_create_recorded_twice_is_not_added_twice() -> None:
    present = resource("files", id="files-1")
    recovery = resolve(
        {"resources": [present], "pending_operations": [pending("creating", present)]}, Cloud(files="files-1")
    )
    assert recovery.deployment["resources"] == [present]
    assert recovery.refresh == (urn("files"),)
    assert recovery.adopted == ()


def test_a_create_that_replaces_leaves_the_old_one_to_be_deleted() -> None:
    old, older = resource("files", id="old"), resource("files", id="older", delete=True)
    recovery = resolve(
        {"resources": [old, older], "pending_operations": [pending("creating", resource("files"))]}, Cloud(files="new")
    )
    kept = {each["id"]: each.get("delete", False) for each in recovery.deployment["resources"]}
    assert kept == {"old": True, "older": True, "new": False}


def test_what_the_engine_makes_itself_is_never_asked_for() -> None:
    cloud = Cloud(aws="x", component="y")
    operations = [
        pending("creating", resource("aws", "pulumi:providers:aws")),
        pending("creating", resource("component", "tenantry:index:Bucket", custom=False)),
    ]
    recovery = resolve({"pending_operations": operations}, cloud)
    assert cloud.asked == []
    assert len(recovery.dropped) == 2


@pytest.mark.parametrize("kind", ["updating", "deleting"])
def test_an_interrupted_update_or_delete_is_read_again(kind: str) -> None:
    present = resource("files", id="f")
    recovery = resolve({"resources": [present], "pending_operations": [pending(kind, present)]}, Cloud())
    assert recovery.refresh == (urn("files"),)
    assert recovery.deployment["resources"] == [present]


@pytest.mark.parametrize("kind", ["reading", "importing", "updating", "deleting"])
def test_an_operation_on_what_the_state_does_not_have_is_forgotten(kind: str) -> None:
    recovery = resolve({"resources": [], "pending_operations": [pending(kind, resource("files"))]}, Cloud())
    assert recovery.dropped == (urn("files"),)


def test_a_finder_that_cant_tell_stops_everything_and_changes_nothing() -> None:
    class Unsure:
        def find(self, type_: str, name: str, inputs: Mapping[str, Any]) -> str | None:
            raise RetryLater("still creating")

    deployment = {"resources": [resource("a", id="a")], "pending_operations": [pending("creating", resource("b"))]}
    before = copy.deepcopy(deployment)
    with pytest.raises(RetryLater):
        resolve(deployment, Unsure())
    assert deployment == before


def test_a_logical_name_may_hold_anything() -> None:
    cloud = Cloud()
    resolve({"pending_operations": [pending("creating", resource("a::b/c"))]}, cloud)
    assert cloud.asked[0][1] == "a::b/c"


@pytest.mark.parametrize("deployment", [{}, {"pending_operations": None}, {"pending_operations": []}])
def test_nothing_pending_is_nothing_to_do(deployment: dict[str, Any]) -> None:
    assert pending_operations(deployment) == []
    assert resolve(deployment, Cloud()).deployment == {"resources": []}


NAMES = st.sampled_from("abcdef")
OPERATIONS = st.lists(st.tuples(st.sampled_from(["creating", "updating", "deleting", "reading", "importing"]), NAMES))


@settings(deadline=None)
@given(present=st.sets(NAMES), existing=st.sets(NAMES), operations=OPERATIONS)
def test_afterwards_nothing_is_pending_and_every_resource_is_there_once(
    present: set[str], existing: set[str], operations: list[tuple[str, str]]
) -> None:
    """Whatever was pending: no URN stands twice, nothing that was recorded is lost, all that is unsure is read."""
    deployment = {
        "resources": [resource(name, id=name) for name in sorted(present)],
        "pending_operations": [pending(kind, resource(name)) for kind, name in operations],
    }
    before = copy.deepcopy(deployment)
    recovery = resolve(deployment, Cloud(**{name: name for name in existing}))
    assert deployment == before
    assert not pending_operations(recovery.deployment)
    after = [each["urn"] for each in recovery.deployment["resources"]]
    created = {name for kind, name in operations if kind == "creating"}
    assert sorted(after) == sorted({urn(name) for name in present | (created & existing)})
    assert set(recovery.adopted) == {urn(name) for name in (created & existing) - present}
    assert set(recovery.adopted) <= set(recovery.refresh) <= set(after)
    again = resolve(recovery.deployment, Cloud())
    assert again.deployment == recovery.deployment
