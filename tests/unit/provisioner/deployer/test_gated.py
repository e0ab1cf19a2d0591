"""A preview that is judged before its update begins."""

from __future__ import annotations

import json
import threading

import pytest

from provisioner.deployer.gated import GatedPreview
from provisioner.deployer.plan import Plan
from provisioner.errors import EngineFailed, OperatorNeeded

SUMMARY = json.dumps({"summaryEvent": {"resourceChanges": {"create": 1}}})


def refuse(plan: Plan) -> None:
    raise OperatorNeeded("not this one")


def preview(gate: object, *, to_end_s: float = 60.0) -> GatedPreview:
    assert callable(gate)
    return GatedPreview("acme", gate, redact=lambda text: text, to_end_s=to_end_s)


def test_what_the_gate_says_is_the_programs_error() -> None:
    gated = preview(refuse)
    gated.handle(SUMMARY)
    assert gated.decide() == "not this one"
    assert isinstance(gated.refusal, OperatorNeeded)
    assert not gated.passed
    gated.ended()


def test_an_update_that_may_begin_begins() -> None:
    gated = preview(lambda plan: None)
    gated.handle(SUMMARY)
    assert gated.decide() is None
    assert gated.passed


def test_a_preview_without_its_end_is_not_judged() -> None:
    gated = preview(lambda plan: pytest.fail("it was asked"))
    assert "have not all arrived" in str(gated.decide())
    assert isinstance(gated.refusal, EngineFailed)
    gated.ended()


def test_an_engine_that_does_not_end_after_a_refusal_is_killed() -> None:
    killed = threading.Event()
    gated = preview(refuse, to_end_s=0.01)
    gated.begins(killed.set)
    gated.handle(SUMMARY)
    gated.decide()
    assert killed.wait(10)
    gated.ended()


def test_an_engine_that_ends_is_left_alone() -> None:
    killed = threading.Event()
    gated = preview(refuse, to_end_s=30)
    gated.begins(killed.set)
    gated.handle(SUMMARY)
    gated.decide()
    gated.ended()
    assert not killed.is_set()
