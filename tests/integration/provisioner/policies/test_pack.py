"""The policy pack under the plain engine: its verdicts on every rule's stacks are those of our evaluation."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
import yaml

from policies.configuration import Configuration
from policies.configuration_file import load
from policies.evaluate import Report, evaluate
from policies.model import Facts, Stack
from policies.rules import RULES
from provisioner.engine.environment import environment
from tests.unit.policies import cases_access, cases_data, cases_operations
from tests.unit.policies.stacks import FOREIGN, SILO, Case, R, Spec, filled, one, r, sources, stack_of

ROOT = Path(__file__).parents[4]
CASES = (*cases_data.CASES, *cases_access.CASES, *cases_operations.CASES)
PROGRAM = """
import json, pathlib
import pulumi

class Any(pulumi.CustomResource):
    def __init__(self, token, name, properties, protect):
        super().__init__(token, name, {**properties, "out": None}, pulumi.ResourceOptions(protect=protect))

made = {}
for each in json.loads(pathlib.Path("resources.json").read_text()):
    referred = {name: [made[source].out for source in sources] for name, sources in each["refs"].items()}
    values = {name: all_[0] if len(all_) == 1 else pulumi.Output.all(*all_) for name, all_ in referred.items()}
    made[each["name"]] = Any(each["type"], each["name"], {**each["properties"], **values}, each["protect"])
"""


class Cloud(Protocol):
    port: int


@dataclass(frozen=True)
class Verdicts:
    """What the engine's events say: rule and URN to the messages."""

    code: int
    output: str
    found: dict[tuple[str, str], list[str]]


class Project:
    """A Pulumi program that registers what it is given; every provider answers a preview with the inputs."""

    def __init__(self, directory: Path, pulumi: Path, cloud: Cloud, spec: Spec) -> None:
        self.directory, self.spec = directory, spec
        self.stack, self.name = ("acme", "tenantry") if spec else ("dev", "shop")
        self.owner = f"{self.stack}::{self.name}"
        #: Where the engine shows what is said of a stack as a whole.
        self.urn = f"urn:pulumi:{self.owner}::pulumi:pulumi:Stack::{self.name}-{self.stack}"
        (directory / "state").mkdir()
        (directory / "Pulumi.yaml").write_text(f"name: {self.name}\nruntime: python\n")
        (directory / "__main__.py").write_text(PROGRAM)
        packages = ("aws", "tenantry-postgres", "random")
        self.environment = environment(
            {
                **os.environ,
                "PULUMI_CONFIG_PASSPHRASE": "correct horse battery",
                "PULUMI_DEBUG_PROVIDERS": ",".join(f"{each}:{cloud.port}" for each in packages),
                "PULUMI_DEBUG_COMMANDS": "true",  # for --event-log
            },
            pulumi=pulumi,
            shims_dir=None,
            pulumi_home=directory / "home",
            backend_url=f"file://{directory}/state",
            acquire_plugins=False,
        )
        code, output = self._run("stack", "init", self.stack)
        assert code == 0, output
        if spec is not None:
            file = directory / f"Pulumi.{self.stack}.yaml"
            settings = yaml.safe_load(file.read_text()) or {}
            file.write_text(yaml.safe_dump({**settings, "config": {"tenantry:spec": spec.model_dump_json()}}))

    def preview(self, stacks: dict[str, tuple[R, ...]], config: dict[str, Any] | None = None) -> Verdicts:
        """``stacks``: resources by the prefix of their names; all of them in one program."""
        listed = [
            {
                **asdict(each),
                "name": f"{prefix}-{each.name}",
                "properties": filled(each.properties, prefix),
                "refs": {name: [f"{prefix}-{source}" for source in sources(each, name)] for name in each.refs},
            }
            for prefix, resources in stacks.items()
            for each in resources
        ]
        (self.directory / "resources.json").write_text(json.dumps(listed))
        events = self.directory / "events"
        events.unlink(missing_ok=True)
        options = ["--policy-pack", str(ROOT / "policies"), "--event-log", str(events)]
        if config is not None:
            (self.directory / "policy.json").write_text(json.dumps(config))
            options += ["--policy-pack-config", str(self.directory / "policy.json")]
        code, output = self._run("preview", "-s", self.stack, *options)
        found: dict[tuple[str, str], list[str]] = {}
        for line in events.read_text().splitlines() if events.exists() else []:
            event = json.loads(line).get("policyEvent")
            if event:
                found.setdefault((event["policyName"], event["resourceUrn"]), []).append(event["message"])
        return Verdicts(code, output, found)

    def evaluated(self, stacks: dict[str, tuple[R, ...]], configuration: Configuration | None = None) -> Report:
        parts = [stack_of(resources, prefix, self.owner) for prefix, resources in stacks.items()]
        whole = Stack(tuple(each for part in parts for each in part.resources))
        return evaluate(RULES, whole, whole, Facts(self.stack, self.name, self.spec), configuration)

    def _run(self, *arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            ["pulumi", "--non-interactive", "--color=never", *arguments],
            cwd=self.directory, env=self.environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr


def stacks_for(spec: Spec) -> Iterator[tuple[Case, str, str, tuple[R, ...]]]:
    for number, case in enumerate(each for each in CASES if each.spec == spec):
        for kind in ("keeps", "breaks", "undecided"):
            for index, resources in enumerate(getattr(case, kind)):
                yield case, kind, f"{case.rule}-{number}-{kind}-{index}", resources


@pytest.mark.parametrize("spec", [FOREIGN, SILO], ids=["somebody's stack", "a silo's stack"])
def test_the_engine_says_of_every_rules_stacks_what_the_evaluation_says(
    spec: Spec, tmp_path: Path, pulumi: Path, fake_cloud: Cloud
) -> None:
    project = Project(tmp_path, pulumi, fake_cloud, spec)
    stacks = {prefix: resources for _, _, prefix, resources in stacks_for(spec)}
    shown = project.preview(stacks)
    assert shown.code != 0
    report = project.evaluated(stacks)
    assert set(shown.found) == {(each.rule.id, each.urn or project.urn) for each in report.findings}, shown.output[
        -2000:
    ]
    for finding in report.findings:
        messages = shown.found[finding.rule.id, finding.urn or project.urn]
        assert any(finding.text in message for message in messages), (finding.text, messages)
    for case, kind, prefix, _ in stacks_for(spec):
        if case.rule == "lifecycle-engine-version":
            continue  # what is supported today is not tomorrow
        named = [urn for rule, urn in shown.found if rule == case.rule and urn.split("::")[-1].startswith(f"{prefix}-")]
        assert bool(named) is (kind != "keeps"), (prefix, named)


def test_the_engine_takes_the_configuration_that_we_read(tmp_path: Path, pulumi: Path, fake_cloud: Cloud) -> None:
    subnet = one("aws:ec2/subnet:Subnet", {"mapPublicIpOnLaunch": True})[0]
    logs = one("aws:cloudwatch/logGroup:LogGroup", {"retentionInDays": 30, "kmsKeyId": "arn"})[0]
    web: dict[str, Any] = {"ipProtocol": "tcp", "fromPort": 443, "toPort": 443, "cidrIpv4": "0.0.0.0/0"}
    stacks = {
        "known": subnet,
        "forgotten": subnet,
        "logs": logs,
        "web": (r("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", **web),),
    }
    exemption = {"owner": "ann", "reason": "a public subnet", "expires": "2020-01-31"}
    config: dict[str, Any] = {
        "ownership-tags": "disabled",
        "exposure-subnet": {"exemptions": [{**exemption, "resource": "forgotten-*"}, {**exemption, "resource": "x"}]},
        "records-retention": {"days": 90, "enforcementLevel": "advisory"},
        "exposure-ingress-rule": {"public_ports": [443]},
    }
    project = Project(tmp_path, pulumi, fake_cloud, FOREIGN)
    shown = project.preview(stacks, config)
    report = project.evaluated(stacks, load(tmp_path / "policy.json", RULES))
    assert set(shown.found) == {(each.rule.id, each.urn or project.urn) for each in report.findings}
    assert {rule for rule, _ in shown.found} == {"exposure-subnet", "records-retention"}
    forgotten = [text for (_, urn), texts in shown.found.items() for text in texts if "forgotten" in urn]
    assert any("the exemption that ann answers for expired on 2020-01-31" in each for each in forgotten)
    assert shown.code != 0
    # A setting that no rule has is refused by the engine too, by the rule's schema.
    refused = project.preview(stacks, {"exposure-subnet": {"exemptoins": []}})
    assert refused.code != 0
    assert "exemptoins" in refused.output
