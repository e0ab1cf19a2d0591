"""What a stack's configuration says, and what is said when it says nothing or nonsense."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pytest

from stacks import config
from tests.unit.components.recording import PLATFORM, platform_spec, run, tenant_spec

ROOT = Path(__file__).parents[3]
SPEC = tenant_spec("pool").model_dump_json()


def read(reader: Callable[[], Any], stack: str, **values: str) -> Any:
    return run(reader, stack_name=stack, config={f"tenantry:{key}": value for key, value in values.items()}).result


def test_the_tenants_spec_and_the_platforms_outputs_come_out_as_they_went_in() -> None:
    assert read(config.tenant_spec, "acme", spec=SPEC) == tenant_spec("pool")
    assert read(config.platform_outputs, "acme", platform=PLATFORM.model_dump_json()) == PLATFORM


def test_a_platforms_spec_is_read_by_its_stack() -> None:
    spec = platform_spec(cell="eu1")
    assert read(config.platform_spec, "platform.eu1", spec=spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    ("reader", "key"),
    [(config.tenant_spec, "spec"), (config.platform_spec, "spec"), (config.platform_outputs, "platform")],
)
def test_missing_configuration_says_which_command_writes_it(reader: Callable[[], Any], key: str) -> None:
    with pytest.raises(pulumi.RunError, match=rf"stack acme has no config tenantry:{key}.*`tenantry pulumi -s acme "):
        read(reader, "acme")


def test_a_malformed_spec_names_the_field_and_not_the_value() -> None:
    spec = {**json.loads(SPEC), "epoch": 0, "plan": "SECRET PLAN"}
    with pytest.raises(pulumi.RunError) as raised:
        read(config.tenant_spec, "acme", spec=json.dumps(spec))
    assert "plan: " in str(raised.value)
    assert "epoch: " in str(raised.value)
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"acme"'])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(pulumi.RunError, match="tenantry:spec"):
        read(config.tenant_spec, "acme", spec=text)


def test_a_spec_of_another_stack_is_refused_before_anything_changes() -> None:
    with pytest.raises(pulumi.RunError, match="config tenantry:spec of stack globex describes stack acme"):
        read(config.tenant_spec, "globex", spec=SPEC)


@pytest.mark.parametrize(
    ("stack", "answer"),
    [("platform", True), ("platform.eu1", True), ("acme", False), ("platform-eu1", False), ("acme.2", False)],
)
def test_the_stacks_name_tells_platforms_from_tenants(stack: str, answer: bool) -> None:
    assert config.is_platform(stack) is answer


def app_schema(version: int, **values: str) -> Any:
    return read(lambda: config.app_schema(version), "acme", **values)


def write_migrations(directory: Path, count: int) -> Path:
    for version in range(1, count + 1):
        (directory / f"{version:04d}_step.sql").write_text(f"-- {version}\n")
    return directory


def test_the_migrations_up_to_the_specs_version_apply(tmp_path: Path) -> None:
    found = app_schema(2, app_schema=str(write_migrations(tmp_path, 3)))
    assert [each["version"] for each in found.migrations] == [1, 2]
    assert found.directory == str(tmp_path)


def test_version_zero_needs_no_directory() -> None:
    assert app_schema(0) is None


def test_a_relative_directory_is_the_projects() -> None:
    assert app_schema(1, app_schema="example/app_schema").directory == str(ROOT / "example" / "app_schema")


def test_a_version_without_a_directory_is_refused() -> None:
    with pytest.raises(pulumi.RunError, match="asks for app schema version 2, and config tenantry:app_schema"):
        app_schema(2)


def test_a_version_past_the_last_migration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(pulumi.RunError, match=r"ends at version 0001"):
        app_schema(2, app_schema=str(write_migrations(tmp_path, 1)))


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(pulumi.RunError, match="nowhere"):
        app_schema(1, app_schema=str(tmp_path / "nowhere"))


def test_the_program_of_a_tenants_stack_is_picked_by_the_stacks_name() -> None:
    def main() -> None:
        runpy.run_path(str(ROOT / "stacks"), run_name="__main__")

    program = run(
        main,
        stack_name="acme",
        config={"tenantry:spec": SPEC, "tenantry:platform": PLATFORM.model_dump_json()},
    )
    assert program.one("PoolTenant").inputs["tenantId"] == "acme"
    assert program.exports["tenant"]["tenant_id"] == "acme"


def test_the_program_of_a_platform_stack_is_picked_by_the_stacks_name() -> None:
    def main() -> None:
        runpy.run_path(str(ROOT / "stacks"), run_name="__main__")

    program = run(main, stack_name="platform", config={"tenantry:spec": platform_spec().model_dump_json()})
    assert program.exports["platform"]["cell"] == "default"


def test_running_the_directory_leaves_the_standard_librarys_platform_alone(tmp_path: Path) -> None:
    """Python puts a directory that it runs first on the path, where our platform.py would hide the library's."""
    stacks = tmp_path / "stacks"
    shutil.copytree(ROOT / "stacks", stacks, ignore=shutil.ignore_patterns("__pycache__"))
    source = stacks / "__main__.py"
    head, mark, _ = source.read_text().partition("import pulumi\n")
    assert mark
    source.write_text(head + "import platform\nprint(platform.system())\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(stacks)], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    assert done.stdout.strip() == "Linux" or done.stdout.strip() == "Darwin", done.stderr
