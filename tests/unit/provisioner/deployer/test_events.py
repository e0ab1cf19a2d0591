"""The engine's events become steps, outputs and diagnostics; nothing secret is among them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from provisioner.deployer.events import EventLog, plain, redacted
from provisioner.deployer.types import Happening, StepEvent
from provisioner.urns import split_urn

BUCKET = "urn:pulumi:acme::tenantry::tenantry:index:Bucket$aws:s3/bucket:Bucket::files"
STACK = "urn:pulumi:acme::tenantry::pulumi:pulumi:Stack::tenantry-acme"
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "AAABBB"}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Recorder:
    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.steps: list[StepEvent] = []
        self.log = EventLog(self.steps.append, clock=self.clock, **options)

    def send(self, kind: str, **fields: Any) -> None:
        self.log.handle(json.dumps({"sequence": 1, "timestamp": 1, kind: fields}))

    def resource(self, kind: str, urn: str = BUCKET, op: str = "create", **fields: Any) -> None:
        self.send(kind, metadata={"urn": urn, "op": op, "type": split_urn(urn)[0], **fields})


@pytest.fixture
def events() -> Recorder:
    return Recorder()


def test_a_resource_starts_and_finishes_with_its_seconds(events: Recorder) -> None:
    events.resource("resourcePreEvent")
    assert list(events.log.running) == [BUCKET]
    events.clock.now += 1.5
    events.resource("resOutputsEvent")
    assert list(events.log.running) == []
    assert [(step.happening, step.op, step.seconds) for step in events.steps] == [
        (Happening.STARTED, "create", 0.0),
        (Happening.FINISHED, "create", 1.5),
    ]
    (step,) = events.log.steps
    assert (step.type, step.name, step.op, step.seconds, step.failed) == (
        "aws:s3/bucket:Bucket",
        "files",
        "create",
        1.5,
        False,
    )


def test_a_failed_resource_is_a_failed_step(events: Recorder) -> None:
    events.resource("resourcePreEvent", op="update")
    events.clock.now += 2
    events.resource("resOpFailedEvent", op="update", diffs=["tags", "policy"])
    (step,) = events.log.steps
    assert (step.failed, step.changed, step.seconds) == (True, ("tags", "policy"), 2)
    assert events.steps[-1].happening is Happening.FAILED


def test_a_replacement_is_a_step_for_each_of_its_parts(events: Recorder) -> None:
    for op in ("create-replacement", "replace", "delete-replaced"):
        events.resource("resourcePreEvent", op=op)
        events.resource("resOutputsEvent", op=op)
    assert [step.op for step in events.log.steps] == ["create-replacement", "replace", "delete-replaced"]


def test_a_components_registered_outputs_are_no_second_step(events: Recorder) -> None:
    events.resource("resourcePreEvent")
    events.clock.now += 1
    events.resource("resOutputsEvent")
    events.clock.now += 60
    events.resource("resOutputsEvent")
    assert [step.seconds for step in events.log.steps] == [1.0]
    assert len(events.steps) == 2


def test_the_stacks_outputs_are_kept_without_secrets(events: Recorder) -> None:
    outputs = {"tenant": '{"tier": "silo"}', "password": SECRET, "list": [SECRET, {"deep": SECRET}], "count": 2}
    events.resource("resOutputsEvent", STACK, "same", new={"outputs": outputs})
    assert events.log.outputs == {
        "tenant": '{"tier": "silo"}',
        "password": "[secret]",
        "list": ["[secret]", {"deep": "[secret]"}],
        "count": 2,
    }


def test_a_destroyed_stacks_outputs_are_not_taken_for_present_ones(events: Recorder) -> None:
    events.resource("resOutputsEvent", STACK, "delete", new={"outputs": {"url": "gone"}})
    assert events.log.outputs == {}


@pytest.mark.parametrize("severity", ["debug", "info", "info#err", "warning", "error"])
def test_diagnostics_are_sorted_by_severity_and_debugging_is_dropped(events: Recorder, severity: str) -> None:
    events.send("diagnosticEvent", severity=severity, urn=BUCKET, message="<{%reset%}>it is \x1b[31mred\x1b[0m\n")
    assert [step.message for step in events.log.errors] == (["it is red"] if severity == "error" else [])
    assert events.log.warnings == (["it is red"] if severity == "warning" else [])
    assert bool(events.steps) is (severity != "debug")


def test_passing_remarks_and_empty_ones_are_dropped(events: Recorder) -> None:
    events.send("diagnosticEvent", severity="info", message="waiting", ephemeral=True)
    events.send("diagnosticEvent", severity="error", message="<{%reset%}>\n")
    assert events.steps == []


def test_every_message_is_redacted_before_anybody_sees_it() -> None:
    events = Recorder(redact=lambda text: text.replace("hunter2", "[secret]"))
    events.send("diagnosticEvent", severity="error", urn=BUCKET, message="login with hunter2 failed")
    events.send("errorEvent", error="hunter2")
    events.send("policyEvent", resourceUrn=BUCKET, message="hunter2", policyName="p", enforcementLevel="mandatory")
    events.send("policyEvent", message="hunter2", policyName="q", enforcementLevel="advisory")
    shown = [*(step.message for step in events.steps), *events.log.warnings]
    assert len(shown) == 5
    assert not any("hunter2" in message for message in shown)


def test_policies_refuse_or_warn(events: Recorder) -> None:
    events.send(
        "policyEvent",
        resourceUrn=BUCKET,
        policyName="no-public",
        message="<{%fg 1%}>is public\n",
        enforcementLevel="mandatory",
    )
    events.send("policyEvent", resourceUrn=BUCKET, policyName="tags", message="no tags", enforcementLevel="advisory")
    assert [step.message for step in events.log.violations] == ["no-public: is public"]
    assert events.log.warnings == ["tags: no tags"]


def test_the_summary_counts_what_changed(events: Recorder) -> None:
    assert not events.log.summarised
    events.send("summaryEvent", resourceChanges={"create": 3, "same": 1, "delete": 0})
    assert events.log.summarised
    assert events.log.changes == {"create": 3, "same": 1}


def test_events_of_other_kinds_are_ignored(events: Recorder) -> None:
    events.log.handle(
        json.dumps({"preludeEvent": {"config": {}}, "cancelEvent": None, "stdoutEvent": {"message": "x"}})
    )
    assert (events.steps, events.log.steps) == ([], ())


def test_a_log_without_a_listener_collects_all_the_same() -> None:
    log = EventLog()
    log.handle(json.dumps({"errorEvent": {"error": "it broke"}}))
    assert [step.message for step in log.errors] == ["it broke"]


@pytest.mark.parametrize(
    ("urn", "expected"),
    [
        (BUCKET, ("aws:s3/bucket:Bucket", "files")),
        ("urn:pulumi:a::p::t:index:T::na::me", ("t:index:T", "na::me")),
        ("nonsense", ("", "nonsense")),
    ],
)
def test_urns_are_taken_apart(urn: str, expected: tuple[str, str]) -> None:
    assert split_urn(urn) == expected


def test_only_the_mark_makes_a_secret() -> None:
    asset = {"4dabf18193072939515e22adb298388d": "c44067f5952c0a294b673a41bacd8c17", "hash": "x"}
    assert redacted({"asset": asset, "plaintext": "x"}) == {"asset": asset, "plaintext": "x"}


def test_markup_and_colours_are_taken_off() -> None:
    assert plain("<{%fg 13%}>a <{%reset%}>\x1b[1;31mb\x1b[0m\n") == "a b"
