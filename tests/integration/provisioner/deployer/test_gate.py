"""An update that is previewed first, in the same command, and begins only if the gate lets it."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest

from provisioner.deployer import StackRequest
from provisioner.deployer.plan import Plan
from provisioner.errors import OperatorNeeded

STACK = "dev"


def urn(name: str) -> str:
    return f"urn:pulumi:{STACK}::tenantry::fake:index:Thing::{name}"


def test_the_gate_sees_what_the_update_would_do_and_where_values_come_from(workbench: Any, thing: Any) -> None:
    seen: list[Plan] = []

    def program() -> None:
        first = thing("first", size=1)
        thing("second", size=first.id.apply(lambda _: 2), secret=pulumi.Output.secret("hidden"))

    result = workbench.deployer().up(StackRequest(STACK, program, gate=seen.append))
    (plan,) = seen
    assert result.changes == {"create": 3}
    by_urn = {each["urn"]: each for each in plan.resources}
    assert by_urn[urn("second")]["propertyDependencies"] == {"size": [urn("first")]}
    assert by_urn[urn("second")]["inputs"]["size"] == "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
    assert "hidden" not in repr(plan)
    assert {(step.urn, step.op) for step in plan.steps if step.type == "fake:index:Thing"} == {
        (urn("first"), "create"),
        (urn("second"), "create"),
    }


def test_an_update_that_the_gate_refuses_changes_nothing(workbench: Any, thing: Any, fake_cloud: Any) -> None:
    deployer = workbench.deployer()
    deployer.up(StackRequest(STACK, lambda: thing("kept", size=1) and None))
    log = fake_cloud.log()

    def refuse(plan: Plan) -> None:
        raise OperatorNeeded("not this one", hint="ask somebody")

    def program() -> None:
        thing("another", size=1)

    with pytest.raises(OperatorNeeded, match="not this one"):
        deployer.up(StackRequest(STACK, program, gate=refuse))
    assert fake_cloud.names() == {"kept"}
    assert fake_cloud.log() == log
    assert workbench.state.locks(STACK) == []
    assert [each["urn"] for each in workbench.state.deployment(STACK)["resources"] if "Thing" in each["urn"]] == [
        urn("kept")
    ]


def test_deletions_are_shown_before_they_happen(workbench: Any, thing: Any, fake_cloud: Any) -> None:
    deployer = workbench.deployer()
    deployer.up(StackRequest(STACK, lambda: thing("kept", size=1) and thing("dropped") and None))
    seen: list[Plan] = []
    deployer.up(StackRequest(STACK, lambda: thing("kept", size=1) and None, gate=seen.append))
    assert [(step.urn, step.op) for step in seen[0].steps] == [(urn("dropped"), "delete")]
    assert fake_cloud.names() == {"kept"}


def test_a_gate_that_breaks_lets_nothing_through(workbench: Any, thing: Any, fake_cloud: Any) -> None:
    def broken(plan: Plan) -> None:
        raise KeyError("secret-name")

    with pytest.raises(Exception, match="could not be judged: KeyError") as raised:
        workbench.deployer().up(StackRequest(STACK, lambda: thing("one") and None, gate=broken))
    assert "secret-name" not in str(raised.value)
    assert fake_cloud.names() == set()


def test_an_error_in_the_preview_is_told_and_the_gate_never_asked(workbench: Any, fake_cloud: Any) -> None:
    asked: list[Plan] = []

    def program() -> None:
        raise ValueError("the program is wrong")

    with pytest.raises(Exception, match="the program is wrong"):
        workbench.deployer().up(StackRequest(STACK, program, gate=asked.append))
    assert asked == []


def test_deletions_show_however_they_come_about(workbench: Any, thing: Any) -> None:
    """With their component, kept in the cloud, under another name, and beside an alias of something else."""
    deployer = workbench.deployer()

    def program() -> None:
        parent = pulumi.ComponentResource("tenantry:index:Group", "group")
        thing("child", size=1, opts=pulumi.ResourceOptions(parent=parent))
        thing("kept-in-the-cloud", size=1, opts=pulumi.ResourceOptions(retain_on_delete=True))
        thing("renamed", size=1)
        thing("moved", size=1)

    def without() -> None:
        thing("new-name", size=1, opts=pulumi.ResourceOptions(aliases=[pulumi.Alias(name="moved")]))
        thing("another", size=1, opts=pulumi.ResourceOptions(aliases=[pulumi.Alias(name="never-was")]))

    deployer.up(StackRequest(STACK, program))
    seen: list[Plan] = []
    deployer.up(StackRequest(STACK, without, gate=seen.append))
    gone = {step.name for step in seen[0].steps if step.op == "delete" and step.type == "fake:index:Thing"}
    assert gone == {"child", "kept-in-the-cloud", "renamed"}


@pytest.mark.parametrize("lie", ["another value", "one more", "one less"])
def test_a_program_that_shows_something_else_than_it_does_changes_nothing(
    workbench: Any, thing: Any, fake_cloud: Any, lie: str
) -> None:
    deployer = workbench.deployer()
    deployer.up(StackRequest(STACK, lambda: thing("kept", size=1) and None))

    def program() -> None:
        previewed = pulumi.runtime.is_dry_run()
        if lie != "one less" or previewed:
            thing("kept", size=9 if lie == "another value" and not previewed else 1)
        if lie == "one more" and not previewed:
            thing("smuggled", size=9)

    with pytest.raises(Exception, match="plan"):
        deployer.up(StackRequest(STACK, program, gate=lambda plan: None))
    assert fake_cloud.names() == {"kept"}
    assert [
        each["inputs"]["size"] for each in workbench.state.deployment(STACK)["resources"] if "Thing" in each["urn"]
    ] == [1]
