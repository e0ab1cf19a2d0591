"""Every resource type through the provider's own interface, from Check to Delete, on moto."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.aws.registry import HANDLERS
from providers.base import UNKNOWN, has_unknown
from providers.base.testing import Resource
from tests.integration.localcloud.aws.cases import CASES, Case
from tests.integration.localcloud.aws.world import World

BY_TOKEN = {handler.token: handler for handler in HANDLERS}
every_case = pytest.mark.parametrize("case", CASES, ids=str)


def test_every_type_has_a_case() -> None:
    assert {case.token for case in CASES} == set(BY_TOKEN)


def _merged(inputs: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**inputs, **changes}.items() if value is not None}


def _stable(outputs: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(outputs.items()))


@every_case
def test_the_life_of_a_resource(case: Case, world: World) -> None:
    client, inputs = world.client, case.inputs(world)
    made = client.create(case.token, "it", inputs)
    assert made.id
    assert client.plan(made, inputs).changes == {}, "the same program finds nothing to do"

    read = client.refresh(made)
    assert read is not None
    assert (read.id, read.inputs) == (made.id, made.inputs)
    assert _stable(read.outputs) == _stable(made.outputs)
    assert client.plan(read, _merged(inputs, case.same(world))).changes == {}, "the same in other words"

    imported = client.import_(case.token, "it", case.import_id(made))
    assert imported is not None
    assert imported.id == made.id
    untold = BY_TOKEN[case.token].local_inputs | case.forgotten
    assert set(client.plan(imported, inputs).changes) <= untold, "an import tells everything that the cloud can"

    current = made
    if case.update is not None:
        changed = _merged(inputs, case.update(world))
        plan = client.plan(made, changed)
        assert plan.changes
        assert not plan.replaces
        preview = client.update(made, changed, preview=True)
        assert _stable(client.refresh(made).outputs) == _stable(made.outputs), "a preview touches nothing"  # type: ignore[union-attr]
        current = client.update(made, changed)
        for name, value in preview.outputs.items():
            assert has_unknown(value) or current.outputs.get(name) == value, f"the preview told another {name}"
        read = client.refresh(current)
        assert read is not None
        assert read.inputs == current.inputs
        assert _stable(read.outputs) == _stable(current.outputs)
        assert client.plan(read, changed).changes == {}

    client.delete(current)
    assert case.stays or client.refresh(current) is None
    client.delete(current)  # gone already: no error


@every_case
def test_what_replaces_a_resource(case: Case, world: World) -> None:
    client = world.client
    checked, secrets = client.check(case.token, "it", case.inputs(world))
    recorded = Resource(case.token, "it", "some-id", checked, checked, secrets)
    replaced = {
        name for name, value in case.replaced.items() if client.diff(recorded, {**checked, name: value}).replaces
    }
    assert replaced == set(case.replaced)
    if "region" in BY_TOKEN[case.token].inputs:
        assert client.diff(recorded, {**checked, "region": "eu-west-1"}).replaces


@every_case
def test_a_preview_with_unknown_inputs_tells_what_it_can(case: Case, world: World) -> None:
    handler = BY_TOKEN[case.token]
    inputs: dict[str, Any] = {name: UNKNOWN for name in case.inputs(world) if name != "tags"}
    if handler.tagged:  # type: ignore[attr-defined]
        inputs["tags"] = {"tenant_id": "acme", "generation": UNKNOWN}
    planned = world.client.create(case.token, "it", inputs, preview=True)
    assert planned.id == ""
    unknown = {name for name, value in planned.outputs.items() if has_unknown(value)}
    assert handler.outputs - set(planned.outputs) == set()
    assert set(inputs) <= unknown
    if handler.regional:  # type: ignore[attr-defined]
        assert planned.outputs["region"] == "us-east-1"


@every_case
def test_a_preview_of_a_create_tells_nothing_that_turns_out_otherwise(case: Case, world: World) -> None:
    inputs = case.inputs(world)
    planned = world.client.create(case.token, "it", inputs, preview=True)
    made = world.client.create(case.token, "it", inputs)
    told = {name: value for name, value in planned.outputs.items() if not has_unknown(value)}
    assert told == {name: made.outputs.get(name) for name in told}
    world.client.delete(made)
