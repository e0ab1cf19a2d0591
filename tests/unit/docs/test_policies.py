"""``docs/policies.md`` is what the rules say, and its examples work."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from policies import docs
from policies.antipatterns import ANTI_PATTERNS
from policies.configuration_file import parse
from policies.rules import RULES
from provisioner.cli.main import app
from tests.unit.policies.stacks import TODAY

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "policies.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def workflow() -> dict[str, Any]:
    (text,) = blocks("yaml")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def commands() -> list[list[str]]:
    return [shlex.split(step["run"]) for step in workflow()["jobs"]["policy"]["steps"] if "run" in step]


def test_it_is_up_to_date() -> None:
    assert docs.as_markdown() == TEXT, "regenerate it: python -m policies.docs"


def test_every_rule_and_parameter_is_in_it() -> None:
    for rule in RULES:
        assert f"| `{rule.id}`" in TEXT
        for each in rule.parameters:
            assert f"| `{rule.id}` | `{each.name}` |" in TEXT


def test_anti_patterns_name_rules_that_exist_or_say_where_else_they_are_checked() -> None:
    known = {rule.id for rule in RULES}
    for each in ANTI_PATTERNS:
        assert set(each.rules) <= known, each.name
        assert each.rules or each.elsewhere
        for path in re.findall(r"`((?:[a-z_]+/)+[a-z_.]*)`", each.elsewhere):
            assert (ROOT / path).exists(), path


def test_the_example_of_a_configuration_is_one() -> None:
    (example,) = blocks("json")
    found = parse(example, RULES, source="docs/policies.md", today=TODAY)
    assert found.of(next(rule for rule in RULES if rule.id == "exposure-subnet")).exemptions


def test_the_workflow_is_one_and_its_make_targets_exist() -> None:
    steps = workflow()["jobs"]["policy"]["steps"]
    assert all(("run" in step) != ("uses" in step) for step in steps)
    assert all(re.fullmatch(r"[\w./-]+@v\d+", step["uses"]) for step in steps if "uses" in step)
    (make,) = [each for each in commands() if each[0] == "make"]
    assert f"\n{make[-1]}:" in (ROOT / "Makefile").read_text()
    assert (ROOT / "bin" / "tenantry").exists()


def test_its_tenantry_commands_do_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.json").write_text(json.dumps({"exposure-subnet": "mandatory", "ownership-tags": "disabled"}))
    subnet = {"urn": "urn:pulumi:dev::shop::aws:ec2/subnet:Subnet::s", "type": "aws:ec2/subnet:Subnet"}
    ours = [each[1:] for each in commands() if each[0] == ".tenantry/bin/tenantry"]
    assert len(ours) == 2
    for public, code in ((False, 0), (True, 1)):
        resource = {**subnet, "inputs": {"mapPublicIpOnLaunch": public}}
        (tmp_path / "export.json").write_text(json.dumps({"version": 3, "deployment": {"resources": [resource]}}))
        results = [CliRunner().invoke(app, arguments) for arguments in ours]
        assert [each.exit_code for each in results] == [0, code], [each.output for each in results]
        assert len(json.loads((tmp_path / "policy.sarif").read_text())["runs"][0]["results"]) == code


def test_its_pulumi_commands_use_options_that_the_tests_of_the_pack_use() -> None:
    pulumi = [each for each in commands() if each[0] == "pulumi"]
    assert [each[1] for each in pulumi] == ["preview", "stack"]
    used = (ROOT / "tests/integration/provisioner/policies/test_pack.py").read_text()
    assert all(f'"{option}"' in used for option in pulumi[0] if option.startswith("--"))
