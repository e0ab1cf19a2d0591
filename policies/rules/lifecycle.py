"""Database engines that are supported, and instances as large as the plan allows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from components.spec import InstanceSpec, PlatformSpec
from policies.engine_versions import SUPPORT_ENDS, support_ends
from policies.grants import matches
from policies.model import Facts, Parameter, Resource, Rule, Severity
from policies.references import cis, saas_lens, soc2
from policies.values import is_on, is_present

_ENGINES = (
    "aws:rds/instance:Instance",
    "aws:rds/cluster:Cluster",
    "aws:rds/clusterInstance:ClusterInstance",
    "aws:rds/globalCluster:GlobalCluster",
)


def _engine_version(resource: Resource, facts: Facts) -> Iterator[str]:
    properties = resource.properties
    engine = str(properties.get("engine") or "").lower()
    if engine not in SUPPORT_ENDS or not is_present(properties, "engineVersion"):
        return  # without a version AWS takes its newest default
    version = str(properties["engineVersion"])
    ends = support_ends(engine, version)
    if ends is not None and ends < facts.today + timedelta(days=facts.parameters["notice_days"]):
        until = "before AWS's calendar begins" if ends.year == 1 else f"on {ends:%Y-%m-%d}"
        yield f"AWS's standard support of {engine} {version} ends, or ended, {until}"


def _minor_upgrade(resource: Resource, facts: Facts) -> Iterator[str]:
    wanted = resource.properties.get("autoMinorVersionUpgrade")
    if wanted is not None and not is_on(wanted):
        yield "security fixes of the engine are not installed by themselves"


def _instance_class(resource: Resource, facts: Facts) -> Iterator[str]:
    properties = resource.properties
    chosen = str(properties.get("instanceClass") or "")
    allowed = facts.parameters["allowed"]
    if chosen and not any(matches(each, chosen) for each in allowed):
        yield f"the instance class {chosen} is none of {', '.join(allowed)}"
    plan = _planned(facts)
    if plan is None:
        return
    if chosen and chosen != plan.instance_class:
        yield f"the instance class is {chosen}, and the plan's is {plan.instance_class}"
    storage = properties.get("allocatedStorage")
    if storage is not None and storage > plan.storage_gib:
        yield f"it has {storage:.0f} GiB of storage, and the plan has {plan.storage_gib}"


def _planned(facts: Facts) -> InstanceSpec | None:
    if isinstance(facts.spec, PlatformSpec):
        return facts.spec.shared_instance
    return facts.tenant.instance if facts.tenant is not None else None


RULES: tuple[Rule, ...] = (
    Rule(
        id="lifecycle-engine-version",
        title="A database's engine is in AWS's standard support",
        severity=Severity.HIGH,
        remediation="Upgrade to a major version that is supported; the table is in policies/engine_versions.py",
        types=frozenset(_ENGINES),
        resource=_engine_version,
        references=soc2("CC7.1"),
        parameters=(
            Parameter(
                "notice_days",
                0,
                {
                    "type": "integer",
                    "minimum": 0,
                    "maximum": 730,
                    "description": "days before the end that it is a violation",
                },
            ),
        ),
    ),
    Rule(
        id="lifecycle-minor-upgrade",
        title="A database takes minor engine upgrades by itself",
        severity=Severity.MEDIUM,
        remediation="Set autoMinorVersionUpgrade to true",
        types=frozenset({"aws:rds/instance:Instance", "aws:rds/clusterInstance:ClusterInstance"}),
        resource=_minor_upgrade,
        references=(*cis("2.3.2", "2.2.2"), *soc2("CC7.1")),
    ),
    Rule(
        id="limits-instance-class",
        title="A database instance is no larger than the plan says",
        severity=Severity.MEDIUM,
        remediation="Change the plan, or take an instance class that the configuration allows",
        types=frozenset({"aws:rds/instance:Instance", "aws:rds/clusterInstance:ClusterInstance"}),
        resource=_instance_class,
        references=saas_lens("SaaS REL 1", "SaaS COST 1"),
        parameters=(
            Parameter(
                "allowed",
                ["db.*"],
                {
                    "type": "array",
                    "items": {"type": "string"},
                    "minItems": 1,
                    "description": "instance classes that may be used (`*` and `?` match)",
                },
            ),
        ),
    ),
)
