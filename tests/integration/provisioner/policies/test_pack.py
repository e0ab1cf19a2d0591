"""The policy pack under the plain engine: its verdicts on every rule's stacks are those of our evaluation."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import pytest
import yaml

from components.spec import PlatformOutputs
from policies.configuration import Configuration
from policies.configuration_file import load
from policies.evaluate import Report, evaluate
from policies.model import Facts, Resource, Stack
from policies.rules import RULES
from policies.values import is_unknown
from provisioner.engine.environment import environment
from tests.unit.policies import cases_access, cases_data, cases_operations
from tests.unit.policies.component_stacks import Judged, component_stack
from tests.unit.policies.stacks import FOREIGN, SILO, Case, R, Spec, one, r, stack_of, urn
from tests.unit.policies.tenancy_faults import FAULTS

ROOT = Path(__file__).parents[4]
CASES = (*cases_data.CASES, *cases_access.CASES, *cases_operations.CASES)
PROGRAM = """
import json, pathlib
import pulumi

class Any(pulumi.CustomResource):
    def __init__(self, token, name, properties, protect):
        options = pulumi.ResourceOptions(protect=protect, provider=providers.get(token.split(":")[0]))
        super().__init__(token, name, {**properties, "out": None}, options)

made, providers = {}, {}

def value(property, sources):
    # With unknown leaves: outputs of the sources. Without any: known, and still depending on them.
    unknown = []
    def filled(each):
        if each == {"$unknown": True}:
            unknown.append(each)
            if not sources:
                return pulumi.runtime.rpc.UNKNOWN
            return pulumi.Output.all(*(made[source].out for source in sources)).apply(lambda all: all[0])
        if isinstance(each, dict):
            return {key: filled(item) for key, item in each.items()}
        return [filled(item) for item in each] if isinstance(each, list) else each
    found = filled(property)
    if unknown or not sources:
        return found
    return pulumi.Output.all(*(made[source].urn for source in sources)).apply(lambda _: property)

for each in json.loads(pathlib.Path("resources.json").read_text()):
    values = {name: value(each["properties"][name], each["sources"].get(name, [])) for name in each["properties"]}
    if each["type"].startswith("pulumi:providers:"):
        package = each["type"].split(":")[2]
        made[each["key"]] = providers[package] = pulumi.ProviderResource(package, each["name"], values)
    else:
        made[each["key"]] = Any(each["type"], each["name"], values, each["protect"])
"""


class Cloud(Protocol):
    port: int


@dataclass(frozen=True)
class Verdicts:
    """What the engine's events say: rule and URN to the messages."""

    code: int
    output: str
    found: dict[tuple[str, str], list[str]]


def _registered(resource: Resource) -> dict[str, Any]:
    """For the program: ``sources`` by property, those of its value; ``$unknown`` is what the preview won't know."""
    return {
        "key": resource.urn,
        "type": resource.type,
        "name": resource.name,
        "properties": {name: _marked(value) for name, value in resource.properties.items()},
        "sources": {name: sorted(urns) for name, urns in resource.depends_on.items() if name in resource.properties},
        "protect": resource.protect,
    }


def _marked(value: Any) -> Any:
    if is_unknown(value):
        return {"$unknown": True}
    if isinstance(value, Mapping):
        return {key: _marked(each) for key, each in value.items()}
    return [_marked(each) for each in value] if isinstance(value, list) else value


class Project:
    """A Pulumi program that registers what it is given; every provider answers a preview with the inputs."""

    def __init__(
        self, directory: Path, pulumi: Path, cloud: Cloud, spec: Spec, platform: PlatformOutputs | None = None
    ) -> None:
        self.directory, self.spec, self.platform = directory, spec, platform
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
            config = {"tenantry:spec": spec.model_dump_json()}
            if platform is not None:
                config["tenantry:platform"] = platform.model_dump_json()
            file.write_text(yaml.safe_dump({**settings, "config": config}))

    def preview(self, stack: Stack, config: dict[str, Any] | None = None) -> Verdicts:
        (self.directory / "resources.json").write_text(json.dumps([_registered(each) for each in stack.resources]))
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
            # The engine adds a provider for resources that name none; no such is in the stack that was asked for.
            if event and not re.search(r"::pulumi:providers:[^:]+::default", event["resourceUrn"]):
                found.setdefault((event["policyName"], event["resourceUrn"]), []).append(event["message"])
        return Verdicts(code, output, found)

    def whole(self, stacks: dict[str, tuple[R, ...]]) -> Stack:
        """Resources by the prefix of their names, in one stack."""
        parts = [stack_of(resources, prefix, self.owner) for prefix, resources in stacks.items()]
        return Stack(tuple(each for part in parts for each in part.resources))

    def evaluated(self, stack: Stack, configuration: Configuration | None = None) -> Report:
        return evaluate(RULES, stack, stack, Facts(self.stack, self.name, self.spec, self.platform), configuration)

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


def _agree(project: Project, shown: Verdicts, report: Report) -> None:
    assert set(shown.found) == {(each.rule.id, each.urn or project.urn) for each in report.findings}, shown.output
    for finding in report.findings:
        messages = shown.found[finding.rule.id, finding.urn or project.urn]
        assert any(finding.text in message for message in messages), (finding.text, messages)


@pytest.mark.parametrize("spec", [FOREIGN, SILO], ids=["somebody's stack", "a silo's stack"])
def test_the_engine_says_of_every_rules_stacks_what_the_evaluation_says(
    spec: Spec, tmp_path: Path, pulumi: Path, fake_cloud: Cloud
) -> None:
    project = Project(tmp_path, pulumi, fake_cloud, spec)
    stack = project.whole({prefix: resources for _, _, prefix, resources in stacks_for(spec)})
    shown = project.preview(stack)
    assert shown.code != 0
    _agree(project, shown, project.evaluated(stack))
    for case, kind, prefix, _ in stacks_for(spec):
        if case.rule == "lifecycle-engine-version":
            continue  # what is supported today is not tomorrow
        named = [urn for rule, urn in shown.found if rule == case.rule and urn.split("::")[-1].startswith(f"{prefix}-")]
        assert bool(named) is (kind != "keeps"), (prefix, named)


def _flat(stack: Stack, owner: str) -> Stack:
    """Without components, which a program of nothing but resources can't make, and with the URNs that it makes."""
    kept = [each for each in stack.resources if not each.type.startswith(("tenantry:", "pulumi:pulumi:"))]
    urns = {each.urn: urn(each.type, each.name, owner) for each in kept}
    return Stack(
        tuple(
            replace(
                each,
                urn=urns[each.urn],
                parent="",
                depends_on={
                    name: frozenset(urns[source] for source in sources if source in urns)
                    for name, sources in each.depends_on.items()
                    if sources & urns.keys()
                },
                dependencies=frozenset(),
            )
            for each in kept
        )
    )


def _faulty(tier: str) -> tuple[Judged, set[str]]:
    """The stack of a tier with one fault for each rule that has one there, and the rules: none hides another's."""
    sound = component_stack(tier)
    broken: Judged = sound
    rules: set[str] = set()
    for rule, where, fault in FAULTS:
        if where != tier or rule in rules or fault(sound).facts != sound.facts:
            continue
        worse = fault(broken)
        report = evaluate(RULES, worse.stack, worse.stack, worse.facts)
        if {rule, *rules} <= {each.rule.id for each in report.findings}:
            broken = worse
            rules.add(rule)
    assert len(rules) >= {"silo": 8, "pool": 2}[tier], rules
    return broken, rules


@pytest.mark.parametrize("tier", ["silo", "pool"])
def test_the_engine_finds_nothing_in_a_tenants_stack_and_what_is_wrong_in_a_faulty_one(
    tier: str, tmp_path: Path, pulumi: Path, fake_cloud: Cloud
) -> None:
    sound = component_stack(tier)
    project = Project(tmp_path, pulumi, fake_cloud, sound.facts.spec, sound.facts.platform)
    shown = project.preview(_flat(sound.stack, project.owner))
    assert (shown.code, shown.found) == (0, {}), shown.output
    broken, rules = _faulty(tier)
    stack = _flat(broken.stack, project.owner)
    shown = project.preview(stack)
    _agree(project, shown, project.evaluated(stack))
    assert rules <= {rule for rule, _ in shown.found}


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
    stack = project.whole(stacks)
    shown = project.preview(stack, config)
    _agree(project, shown, project.evaluated(stack, load(tmp_path / "policy.json", RULES)))
    assert {rule for rule, _ in shown.found} == {"exposure-subnet", "records-retention"}
    forgotten = [text for (_, urn), texts in shown.found.items() for text in texts if "forgotten" in urn]
    assert any("the exemption that ann answers for expired on 2020-01-31" in each for each in forgotten)
    assert shown.code != 0
    # A setting that no rule has is refused by the engine too, by the rule's schema.
    refused = project.preview(stack, {"exposure-subnet": {"exemptoins": []}})
    assert refused.code != 0
    assert "exemptoins" in refused.output
