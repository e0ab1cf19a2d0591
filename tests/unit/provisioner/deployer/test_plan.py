"""What an update is going to do, from the engine's events."""

from __future__ import annotations

import json
from typing import Any

from provisioner.deployer.plan import Plan, PlannedStep, PlanRecorder

URN = "urn:pulumi:acme::tenantry::aws:s3/bucket:Bucket::files"


def event(kind: str, op: str, *, urn: str = URN, **metadata: Any) -> str:
    return json.dumps({kind: {"metadata": {"op": op, "urn": urn, "type": "", **metadata}, "planning": True}})


def planned(*events: str) -> Plan:
    recorder = PlanRecorder("acme")
    for each in events:
        recorder.handle(each)
    return recorder.plan()


def state(**inputs: Any) -> dict[str, Any]:
    return {"urn": URN, "id": "files-1", "inputs": inputs, "outputs": inputs}


def test_what_stays_is_a_resource_and_no_step() -> None:
    plan = planned(event("resourcePreEvent", "same", old=state(a=1), new=state(a=1)))
    assert [each["urn"] for each in plan.resources] == [URN]
    assert plan.steps == ()


def test_the_last_word_on_a_resource_counts() -> None:
    plan = planned(
        event("resourcePreEvent", "update", old=state(a=1), new={**state(a=2), "outputs": {}}, diffs=["a"]),
        event("resOutputsEvent", "update", old=state(a=1), new=state(a=2)),
    )
    assert plan.resources[0]["outputs"] == {"a": 2}
    assert plan.steps == (PlannedStep(URN, "update", ("a",), (), state(a=1), state(a=2)),)


def test_the_parts_of_a_replacement_are_one_step_in_whatever_order() -> None:
    create = event("resourcePreEvent", "create-replacement", old=state(a=1), new=state(a=2), keys=["a"], diffs=["a"])
    replace = event("resourcePreEvent", "replace", old=state(a=1), new=state(a=2), keys=["a"])
    delete = event("resourcePreEvent", "delete-replaced", old=state(a=1), new=None)
    for order in ((create, replace, delete), (delete, replace, create), (replace, delete, create)):
        (step,) = planned(*order).steps
        assert (step.op, step.replacing, step.old["inputs"], step.new["inputs"]) == (
            "replace",
            ("a",),
            {"a": 1},
            {"a": 2},
        )


def test_a_deleted_resource_is_in_the_stack_no_more() -> None:
    plan = planned(event("resourcePreEvent", "delete", old=state(a=1), new=None))
    assert plan.resources == ()
    assert [(step.op, step.name, step.type) for step in plan.steps] == [("delete", "files", "aws:s3/bucket:Bucket")]


def test_what_an_interrupted_replacement_left_is_a_deletion_beside_what_stays() -> None:
    plan = planned(
        event("resourcePreEvent", "same", old=state(a=2), new=state(a=2)),
        event("resourcePreEvent", "delete", old=state(a=1), new=None),
    )
    assert [each["inputs"] for each in plan.resources] == [{"a": 2}]
    assert [step.op for step in plan.steps] == ["delete"]


def test_a_deletion_is_never_hidden_by_an_update() -> None:
    update = event("resourcePreEvent", "update", old=state(a=1), new=state(a=2))
    delete = event("resourcePreEvent", "delete", old=state(a=1), new=None)
    for order in ((update, delete), (delete, update)):
        assert [step.op for step in planned(*order).steps] == ["delete"]


def test_other_events_tell_nothing_of_resources() -> None:
    assert planned(json.dumps({"preludeEvent": {"config": {}}}), json.dumps({"cancelEvent": {}})).resources == ()
