"""``tenantry policy``: what a CI job calls, on files alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from typer.testing import CliRunner, Result

from components.spec import Environment, TenantSpec
from components.tiers import Tier
from policies.rules import RULES
from provisioner.cli.main import app

TOPIC = "aws:sns/topic:Topic"


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TENANTRY_POLICY_CONFIG", raising=False)
    monkeypatch.setenv("COLUMNS", "200")


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["policy", *arguments])
    assert result.exit_code == code, result.output
    return result


def export(path: Path, *resources: tuple[str, dict[str, Any]], stack: str = "shop") -> str:
    listed = [
        {"urn": f"urn:pulumi:{stack}::web::{type_}::r{index}", "type": type_, "inputs": inputs, "outputs": inputs}
        for index, (type_, inputs) in enumerate(resources)
    ]
    path.write_text(json.dumps({"version": 3, "deployment": {"resources": listed}}))
    return str(path)


@pytest.fixture
def bad(tmp_path: Path) -> str:
    return export(tmp_path / "bad.json", ("aws:ec2/subnet:Subnet", {"mapPublicIpOnLaunch": True, "tags": {}}))


@pytest.fixture
def good(tmp_path: Path) -> str:
    tags = {"environment": "dev", "cost-center": "4711"}
    return export(tmp_path / "good.json", ("aws:ec2/subnet:Subnet", {"tags": tags}))


def test_check_tells_a_good_stack_from_a_bad_one(good: str, bad: str) -> None:
    assert "1 stack" in run("check", "--file", good).output
    output = run("check", "--file", bad, code=1).output
    assert "exposure-subnet" in output
    assert "Set mapPublicIpOnLaunch to false" in output
    assert "ownership-tags" in output


def test_check_writes_each_format_to_stdout_or_a_file(bad: str, tmp_path: Path) -> None:
    document = json.loads(run("check", "--file", bad, "--format", "json", code=1).stdout)
    assert document["passed"] is False
    assert {each["rule"] for each in document["stacks"][0]["findings"]} == {"exposure-subnet", "ownership-tags"}
    run("check", "--file", bad, "--format", "sarif", "--output", str(tmp_path / "out.sarif"), code=1)
    told = run("check", "--file", bad, "--format", "sarif", "--output", str(tmp_path), code=4).output
    assert "can't be written: Is a directory" in told
    results = json.loads((tmp_path / "out.sarif").read_text())["runs"][0]["results"]
    assert [each["ruleId"] for each in results] == ["exposure-subnet", "ownership-tags"]
    suites = ElementTree.fromstring(run("check", "--file", bad, "--format", "junit", code=1).stdout)
    assert len(suites.findall("testsuite/testcase")) == len(RULES)
    assert len(suites.findall("testsuite/testcase/failure")) == 2


def test_check_takes_a_configuration_from_the_option_or_the_environment(
    bad: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "policy.json"
    exemption = {"resource": "r0", "stack": "shop", "owner": "ann", "reason": "web", "expires": "2099-01-01"}
    config.write_text(json.dumps({"ownership-tags": "disabled", "exposure-subnet": {"exemptions": [exemption]}}))
    assert "more than 366 days ahead" in run("check", "--file", bad, "--config", str(config), code=3).output
    config.write_text(json.dumps({"ownership-tags": "disabled", "exposure-subnet": "advisory"}))
    assert "advisory" in run("check", "--file", bad, "--config", str(config)).output
    monkeypatch.setenv("TENANTRY_POLICY_CONFIG", str(config))
    assert json.loads(run("check", "--file", bad, "--format", "json").stdout)["passed"] is True
    assert "Rules set: 2" in run("validate").output


def test_an_expired_exemption_fails_where_it_covers_and_is_shown_where_it_does_not(
    bad: str, good: str, tmp_path: Path
) -> None:
    config = tmp_path / "policy.json"
    exemption = {"resource": "r0", "owner": "ann", "reason": "web", "expires": "2020-01-01"}
    config.write_text(json.dumps({"exposure-subnet": {"exemptions": [exemption]}}))
    assert "expired on 2020-01-01)" in run("check", "--file", bad, "--config", str(config), code=1).output
    told = run("validate", "--config", str(config), code=3).output
    assert "exposure-subnet: the exemption of r0 that ann answers for expired on 2020-01-01" in told
    assert "covers nothing any more" in run("check", "--file", good, "--config", str(config)).output


def test_a_stack_of_tenantrys_is_judged_by_its_specification(tmp_path: Path) -> None:
    spec = TenantSpec(
        installation="test", environment=Environment.STAGING, tenant_id="acme", tier=Tier.POOL, plan="starter"
    )
    (tmp_path / "Pulumi.acme.yaml").write_text(yaml.safe_dump({"config": {"tenantry:spec": spec.model_dump_json()}}))
    file = export(tmp_path / "acme.json", ("aws:iam/role:Role", {"tags": {}}), stack="acme")
    findings = [
        {each["rule"] for each in json.loads(done.stdout)["stacks"][0]["findings"]}
        for done in (
            run("check", "--file", file, "--format", "json", code=1),
            run(
                "check",
                "--file",
                file,
                "--stack-config",
                str(tmp_path / "Pulumi.acme.yaml"),
                "--format",
                "json",
                code=1,
            ),
        )
    ]
    assert "access-boundary" not in findings[0]
    assert "access-boundary" in findings[1]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", 4),
        ("[]", 4),
        ("{}", 4),
        ('{"version": 3, "deployment": {"resources": [{"urn": "x"}]}}', 4),
        ('{"version": 3, "deployment": {"resources": []}, "deployment": {"resources": []}}', 4),
        ('{"version": 3, "deployment": {"resources": [{"urn": "a::b::c::d", "inputs": [1]}]}}', 4),
        ('{"version": 3, "deployment": {"resources": [{"urn": "a::b::c::d", "dependencies": 7}]}}', 4),
        (
            '{"version": 3, "deployment": {"resources": [{"urn": "a::b::c::d", "inputs": {"a": '
            + "[" * 900
            + "]" * 900
            + "}}]}}",
            4,
        ),
        ("{" * 99999, 4),
    ],
)
def test_what_is_no_export_is_refused(content: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(content)
    assert "error:" in run("check", "--file", str(tmp_path / "x.json"), code=code).output
    assert "can't be read" in run("check", "--file", str(tmp_path / "none.json"), code=4).output


@pytest.mark.parametrize("content", ["", "a: [", "config: 7", "config: {tenantry:spec: '{}'}"])
def test_a_stack_configuration_that_can_not_be_read_is_refused(content: str, good: str, tmp_path: Path) -> None:
    (tmp_path / "Pulumi.shop.yaml").write_text(content)
    result = CliRunner().invoke(
        app, ["policy", "check", "--file", good, "--stack-config", str(tmp_path / "Pulumi.shop.yaml")]
    )
    assert result.exit_code in (3, 4)


def test_exactly_one_thing_is_checked() -> None:
    for arguments in ([], ["acme", "--all"], ["acme", "--stack-config", "x"]):
        run("check", *arguments, code=2)


def test_list_and_explain_show_the_rules(tmp_path: Path) -> None:
    config = tmp_path / "policy.json"
    config.write_text(json.dumps({"records-retention": {"enforcementLevel": "advisory", "days": 90}}))
    output = run("list", "--config", str(config)).output
    assert all(rule.id in output for rule in RULES)
    listed = {each["id"]: each for each in json.loads(run("list", "--json", "--config", str(config)).stdout)}
    assert listed["records-retention"]["level"] == "advisory"
    explained = run("explain", "records-retention", "--config", str(config)).output
    assert "Parameter days = 90" in explained
    assert "SOC 2 CC7.2" in explained
    assert json.loads(run("explain", "access-boundary", "--json").stdout)["severity"] == "high"
    assert "did you mean records-retention?" in run("explain", "record-retention", code=4).output


def test_validate_names_what_is_wrong_and_fails(tmp_path: Path) -> None:
    assert "there is no policy configuration" in run("validate", code=3).output
    (tmp_path / "policy.json").write_text('{"exposure-subnet": {"levle": "advisory"}}')
    output = run("validate", "--config", str(tmp_path / "policy.json"), code=3).output
    assert "exposure-subnet.levle: there is no such setting" in output.replace("\n", " ")
