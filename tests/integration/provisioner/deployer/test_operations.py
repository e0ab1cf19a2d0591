"""Operations on a stack whose state lies in PostgreSQL, with the real engine and an attached provider."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pytest

from provisioner.deployer import Happening, StackRequest, StepEvent
from provisioner.errors import EngineFailed, ProtectedResource, UpdateRejected

SECRET = "sk_live_0123456789abcdef"


def request(program: Any, **fields: Any) -> StackRequest:
    return StackRequest("acme", program, {"tenantry:spec": '{"size": 3}'}, **fields)


def test_an_update_creates_streams_its_steps_and_returns_redacted_outputs(
    workbench: Any, thing: Any, fake_cloud: Any
) -> None:
    def program() -> None:
        made = thing("bucket", value=pulumi.Config("tenantry").require_object("spec")["size"])
        pulumi.export("url", made.url)
        pulumi.export("password", pulumi.Output.secret(SECRET))
        pulumi.export("nested", {"key": pulumi.Output.secret(SECRET), "list": [1, 2]})

    events: list[StepEvent] = []
    result = workbench.deployer().up(request(program), on_step=events.append)

    assert result.outputs["url"] == "fake://bucket"
    assert result.outputs["password"] == "[secret]"
    assert SECRET not in repr(result) + repr(events)
    assert result.changes == {"create": 2}
    assert result.checkpoint_version == workbench.state.checkpoint_version("acme")
    happened = [(event.happening, event.type) for event in events]
    assert happened.index((Happening.STARTED, "fake:index:Thing")) < happened.index(
        (Happening.FINISHED, "fake:index:Thing")
    )
    assert json.loads((fake_cloud.directory / "bucket.json").read_text())["value"] == 3
    deployment = workbench.state.deployment("acme")
    assert SECRET not in json.dumps(deployment)


def test_an_unchanged_update_changes_nothing_but_the_version(workbench: Any, thing: Any) -> None:
    deployer = workbench.deployer()
    first = deployer.up(request(lambda: thing("bucket", value="1") and None))
    second = deployer.up(request(lambda: thing("bucket", value="1") and None))
    assert not second.changed
    assert second.changes == {"same": 2}
    assert first.checkpoint_version != second.checkpoint_version


def test_preview_reports_what_up_would_do_and_does_nothing(workbench: Any, thing: Any, fake_cloud: Any) -> None:
    result = workbench.deployer().preview(request(lambda: thing("bucket", value="1") and None))
    assert result.changes == {"create": 2}
    assert fake_cloud.names() == set()


def test_a_stack_begun_in_the_database_is_one_to_the_command_line(workbench: Any, thing: Any) -> None:
    workbench.cli("stack", "init", "one")
    assert workbench.state.ensure_stack("acme")
    assert not workbench.state.ensure_stack("acme")
    with workbench.connect() as connection:
        one, acme = (
            json.loads(row[0])
            for row in connection.execute(
                "SELECT convert_from(decode(data->>'data', 'base64'), 'UTF8') FROM pulumi_state "
                "WHERE key LIKE '%/stacks/%.json' ORDER BY key DESC"
            )
        )
    one["checkpoint"]["latest"] = None  # the command line adds an empty deployment with its own version
    one["checkpoint"]["stack"] = one["checkpoint"]["stack"].replace("/one", "/acme")
    assert acme == one
    assert "acme" in workbench.cli("stack", "ls").stdout
    assert json.loads(workbench.cli("stack", "export", "-s", "acme").stdout)["version"] == 3
    workbench.deployer().up(request(lambda: thing("bucket", value="1") and None))
    assert len(workbench.state.deployment("acme")["resources"]) == 3


def test_no_stack_is_written_to_a_backend_without_its_layout_version(workbench: Any) -> None:
    assert workbench.state.ensure_stack("acme") is False
    assert workbench.state.checkpoint_versions() == {}


def test_a_plain_command_line_works_on_the_stack_afterwards(workbench: Any, thing: Any) -> None:
    workbench.deployer().up(request(lambda: pulumi.export("url", thing("bucket", value="1").url)))
    assert json.loads(workbench.cli("stack", "output", "-s", "acme", "--json").stdout) == {"url": "fake://bucket"}
    assert workbench.cli("stack", "ls").stdout.count("acme") == 1


def test_a_resource_that_fails_is_named_with_its_reason_and_without_secrets(workbench: Any, thing: Any) -> None:
    message = f"InvalidParameterValue: bad size (password={SECRET}, postgres://u:hunter22@db/x)"

    def program() -> None:
        thing("good", value="1")
        thing("bad", value="1", fail=message)

    with pytest.raises(UpdateRejected) as caught:
        workbench.deployer().up(request(program))
    text = str(caught.value)
    assert "fake:index:Thing bad" in text
    assert "InvalidParameterValue: bad size" in text
    assert SECRET not in text
    assert "hunter22" not in text


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("ThrottlingException: Rate exceeded", EngineFailed),
        ("ServiceUnavailable: 503", EngineFailed),
        ("AccessDenied: not authorized to perform kms:CreateKey", UpdateRejected),
        ("LimitExceeded: you have 50 of 50 parameter groups", UpdateRejected),
    ],
)
def test_failures_are_classified(workbench: Any, thing: Any, message: str, expected: type[Exception]) -> None:
    with pytest.raises(expected):
        workbench.deployer().up(request(lambda: thing("bad", value="1", fail=message) and None))


def test_an_error_in_the_program_is_told_without_its_traceback(workbench: Any) -> None:
    def program() -> None:
        raise ValueError("no such tier: gold")

    with pytest.raises(UpdateRejected, match="no such tier: gold") as caught:
        workbench.deployer().up(request(program))
    assert "Traceback" not in str(caught.value)


def test_destroy_refuses_protected_resources_and_says_how_offboarding_is_authorised(
    workbench: Any, thing: Any, fake_cloud: Any
) -> None:
    deployer = workbench.deployer()
    opts = pulumi.ResourceOptions(protect=True)
    deployer.up(request(lambda: thing("bucket", value="1", opts=opts) and None))
    with pytest.raises(ProtectedResource, match="tenantry tenants destroy"):
        deployer.destroy(request(lambda: None))
    with pytest.raises(ProtectedResource):
        deployer.up(request(lambda: None))
    assert fake_cloud.names() == {"bucket"}


def test_a_destroyed_and_removed_stack_leaves_nothing(workbench: Any, thing: Any, fake_cloud: Any) -> None:
    deployer = workbench.deployer()
    deployer.up(request(lambda: thing("bucket", value="1") and None))
    result = deployer.destroy(request(lambda: None), remove=True)
    assert result.changes == {"delete": 2}
    assert fake_cloud.names() == set()
    assert workbench.state.checkpoint_versions() == {}


def test_an_operation_works_on_a_file_backend(file_workbench: Any, thing: Any) -> None:
    result = file_workbench.deployer().up(request(lambda: pulumi.export("url", thing("bucket", value="1").url)))
    assert result.outputs == {"url": "fake://bucket"}
    assert result.checkpoint_version is None
