"""Our language host under the plain command line: programs, dynamic and path providers, policy packs, Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from provisioner.engine.environment import environment

PROGRAM = """
import os, sys
import pulumi
import pulumi.dynamic

class Provider(pulumi.dynamic.ResourceProvider):
    def create(self, props):
        return pulumi.dynamic.CreateResult("made", props)

class Dynamic(pulumi.dynamic.Resource):
    def __init__(self, name):
        super().__init__(Provider(), name, {"size": 1})

class Thing(pulumi.CustomResource):
    def __init__(self, name, **inputs):
        super().__init__("fake:index:Thing", name, {"name": name, "url": None, **inputs})

config = pulumi.Config()
if config.get_bool("raise"):
    raise ValueError("no such tier: gold")
if config.get_bool("dynamic"):
    Dynamic("dynamic")
thing = Thing("thing", value=config.get("value") or "good", delay=config.get_float("delay") or 0)
pulumi.export("url", thing.url)
pulumi.export("python", sys.executable)
"""
POLICY = """
from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy

def no_bad(args, report):
    if args.resource_type == "fake:index:Thing" and args.props.get("value") == "bad":
        report("the value is bad")

PolicyPack("pack", enforcement_level=EnforcementLevel.MANDATORY,
           policies=[ResourceValidationPolicy(name="no-bad", description="no bad values", validate=no_bad)])
"""


class Project:
    def __init__(self, directory: Path, pulumi: Path) -> None:
        self.directory = directory
        self.cloud = directory / "cloud"
        for name in ("cloud", "state", "policy"):
            (directory / name).mkdir()
        provider = Path(__file__).parents[1] / "fake_provider"
        (directory / "Pulumi.yaml").write_text(
            "name: tenantry\nruntime: python\nplugins:\n  providers:\n"
            f"    - name: fake\n      path: {os.path.relpath(provider, directory)}\n"
        )
        (directory / "__main__.py").write_text(PROGRAM)
        (directory / "policy" / "PulumiPolicy.yaml").write_text("runtime: python\n")
        (directory / "policy" / "__main__.py").write_text(POLICY)
        self.environment = environment(
            {**os.environ, "PULUMI_CONFIG_PASSPHRASE": "correct horse battery", "FAKE_CLOUD": str(self.cloud)},
            pulumi=pulumi,
            shims_dir=None,
            pulumi_home=directory / "home",
            backend_url=f"file://{directory}/state",
            acquire_plugins=False,
        )
        self.run("stack", "init", "acme")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["pulumi", "--non-interactive", "--color=never", *arguments],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0) -> str:
        child = self.start(*arguments)
        output, _ = child.communicate(timeout=90)
        assert child.returncode == code, output
        return output

    def up(self, *arguments: str, code: int = 0) -> str:
        return self.run("up", "-s", "acme", "--yes", "--skip-preview", *arguments, code=code)

    def leftovers(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("FAKE_CLOUD") == str(self.cloud):
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture
def project(tmp_path: Path, pulumi: Path) -> Iterator[Project]:
    found = Project(tmp_path, pulumi)
    yield found
    for process in found.leftovers():
        process.kill()


def test_it_runs_programs_dynamic_providers_and_providers_by_path_in_the_projects_python(project: Project) -> None:
    import sys

    output = project.up("-c", "dynamic=true")
    assert "3 created" in output
    assert "$PATH" not in output  # the engine takes the host for a bundled one and warns of nothing
    assert project.run("stack", "output", "url", "-s", "acme").strip() == "fake://thing"
    assert project.run("stack", "output", "python", "-s", "acme").strip() == sys.executable
    assert "3 deleted" in project.run("destroy", "-s", "acme", "--yes", "--skip-preview")
    assert project.leftovers() == []


def test_an_error_of_the_program_is_shown_once(project: Project) -> None:
    output = project.up("-c", "raise=true", code=1)
    assert output.count("ValueError: no such tier: gold") == 1
    assert "exit code" not in output


@pytest.mark.parametrize(("value", "code"), [("good", 0), ("bad", 1)])
def test_a_policy_pack_allows_and_refuses_and_neither_ends_late(project: Project, value: str, code: int) -> None:
    events = project.directory / "events"
    project.environment["PULUMI_DEBUG_COMMANDS"] = "true"  # for --event-log
    options = ("-c", f"value={value}", "--policy-pack", "policy", "--event-log", str(events))
    child = project.start("up", "-s", "acme", "--yes", "--skip-preview", *options)
    wait_until(lambda: events.exists() and "summaryEvent" in events.read_text(), "the update was over")
    began = time.monotonic()
    output, _ = child.communicate(timeout=60)
    seconds = time.monotonic() - began
    assert child.returncode == code, output
    assert ("the value is bad" in output) is (value == "bad")
    assert "Traceback" not in output
    # The engine waits five seconds for whoever ignores its SIGINT.
    assert seconds < 3, f"it ended {seconds:.1f} s after all was done"
    assert project.leftovers() == []


def test_ctrl_c_ends_an_update_cleanly_and_the_stack_is_usable_afterwards(project: Project) -> None:
    child = project.start("up", "-s", "acme", "--yes", "--skip-preview", "-c", "delay=60")
    wait_until(lambda: (project.cloud / "thing.json").exists(), "the create began")
    began = time.monotonic()
    child.send_signal(signal.SIGINT)
    output, _ = child.communicate(timeout=60)
    assert time.monotonic() - began < 12
    assert child.returncode != 0
    assert "Traceback" not in output
    assert project.leftovers() == []
    assert "created" in project.up("-c", "delay=0")


def test_a_killed_engine_takes_its_host_and_its_children_along(project: Project) -> None:
    child = project.start("up", "-s", "acme", "--yes", "--skip-preview", "-c", "delay=60")
    wait_until(lambda: (project.cloud / "thing.json").exists(), "the create began")
    child.kill()
    child.communicate(timeout=10)
    wait_until(lambda: project.leftovers() == [], "every child ended")


def wait_until(condition: Any, what: str, seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)
