"""Plain `pulumi` from the repository root, its real program and policy pack: Ctrl-C is clean, nothing ends late."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
import yaml

from components.naming import Names
from components.spec import Environment, PlatformSpec
from localcloud.aws.registry import aws_provider
from providers.base.serve import start
from provisioner.engine.environment import environment

ROOT = Path(__file__).parents[4]
REGION = "us-east-1"
MARK = "TENANTRY_TEST_PLAIN"


class PlainPulumi:
    """A platform stack of a cell that no other test has, its state in a directory."""

    def __init__(self, directory: Path, pulumi: Path, moto: str, provider_port: int) -> None:
        self.mark = secrets.token_hex(4)
        self.spec = PlatformSpec(
            installation="plain",
            environment=Environment.DEVELOPMENT,
            cell=f"c{self.mark}",
            region=REGION,
            protect=False,
        )
        self.stack = self.spec.stack_name
        self.names = Names.of_platform(self.spec)
        self.file = ROOT / f"Pulumi.{self.stack}.yaml"
        (directory / "state").mkdir()
        self.environment = environment(
            {
                **os.environ,
                MARK: self.mark,
                "PULUMI_CONFIG_PASSPHRASE": "correct horse battery",
                "PULUMI_DEBUG_PROVIDERS": f"aws:{provider_port}",
                "AWS_ENDPOINT_URL": moto,
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
            },
            pulumi=pulumi,
            shims_dir=None,
            pulumi_home=directory / "home",
            backend_url=f"file://{directory}/state",
        )
        self.cloud = boto3.session.Session("test", "test", region_name=REGION).client("kms", endpoint_url=moto)
        self.run("stack", "init", self.stack, "--no-select")
        settings = yaml.safe_load(self.file.read_text())
        settings["config"] = {"tenantry:spec": self.spec.model_dump_json()}
        self.file.write_text(yaml.safe_dump(settings))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """In a process group of its own, as a shell starts it."""
        return subprocess.Popen(
            ["pulumi", "--non-interactive", "--color=never", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> str:
        child = self.start(*arguments)
        output, _ = child.communicate(timeout=120)
        assert child.returncode == 0, output
        return output

    def resources(self) -> list[dict[str, Any]]:
        exported = json.loads(self.run("stack", "export", "--stack", self.stack))
        return list(exported["deployment"].get("resources") or [])

    def has_alias(self) -> bool:
        pages = self.cloud.get_paginator("list_aliases").paginate()
        return any(alias["AliasName"] == self.names.key_alias for page in pages for alias in page["Aliases"])

    def leftovers(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark:
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture
def plain(tmp_path: Path, pulumi: Path, moto_server: str) -> Iterator[PlainPulumi]:
    server, port = start(aws_provider(moto_server))
    found = PlainPulumi(tmp_path, pulumi, moto_server, port)
    yield found
    found.file.unlink(missing_ok=True)
    for process in found.leftovers():
        process.kill()
    server.stop(0).wait()


def seconds_to_end(command: subprocess.Popen[str], events: Path) -> float:
    """From the engine's summary to its end: what it takes to end hosts, packs and providers."""
    deadline = time.monotonic() + 120
    while not (events.exists() and "summaryEvent" in events.read_text()):
        assert command.poll() is None, command.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    began = time.monotonic()
    command.wait(60)
    return time.monotonic() - began


@pytest.mark.parametrize("options", [(), ("--policy-pack", "policies")], ids=["host", "host and policy pack"])
def test_no_child_makes_a_command_end_late(plain: PlainPulumi, options: tuple[str, ...], tmp_path: Path) -> None:
    events = tmp_path / "events"
    plain.environment["PULUMI_DEBUG_COMMANDS"] = "true"  # for --event-log
    preview = plain.start("preview", "--stack", plain.stack, "--event-log", str(events), *options)
    seconds = seconds_to_end(preview, events)
    output, _ = preview.communicate()
    assert preview.returncode == 0, output
    assert "to create" in output
    assert ("tenantry@" in output) is bool(options)
    # The engine waits five seconds for whoever ignores its SIGINT.
    assert seconds < 3, f"it ended {seconds:.1f} s after all was done"
    assert plain.leftovers() == []


def test_ctrl_c_ends_an_update_cleanly_and_the_stack_is_usable_afterwards(
    plain: PlainPulumi, wait_until: Any, tmp_path: Path
) -> None:
    events = tmp_path / "events"
    plain.environment["PULUMI_DEBUG_COMMANDS"] = "true"
    options = ("--yes", "--skip-preview", "--policy-pack", "policies", "--event-log", str(events))
    update = plain.start("up", "--stack", plain.stack, *options)
    wait_until(plain.has_alias, "the update created its first resources")
    os.killpg(update.pid, signal.SIGINT)
    seconds = seconds_to_end(update, events)
    output, _ = update.communicate()
    assert update.returncode != 0
    assert "Traceback" not in output
    assert seconds < 3, f"it ended {seconds:.1f} s after all was done"
    assert plain.leftovers() == []

    created = {resource["type"] for resource in plain.resources()}
    assert "aws:kms/alias:Alias" in created
    output = plain.run("destroy", "--stack", plain.stack, "--yes", "--skip-preview")
    assert "deleted" in output
    assert not plain.has_alias()
    assert plain.resources() == []
