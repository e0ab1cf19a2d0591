"""Logs that are kept for a known time, and databases that write them."""

from __future__ import annotations

from collections.abc import Iterator

from policies.model import Facts, Parameter, Resource, Rule, Severity
from policies.references import saas_lens, soc2


def _retention(resource: Resource, facts: Facts) -> Iterator[str]:
    days = resource.properties.get("retentionInDays")
    if not days:
        yield "the log group keeps what it is given for ever (retentionInDays)"
    elif days < facts.parameters["days"]:
        yield f"the log group keeps {days:.0f} days, not {facts.parameters['days']}"


def _exports(resource: Resource, facts: Facts) -> Iterator[str]:
    if not resource.properties.get("enabledCloudwatchLogsExports"):
        yield "the database's log stays on the instance (enabledCloudwatchLogsExports)"


RULES: tuple[Rule, ...] = (
    Rule(
        id="records-retention",
        title="A log group keeps its logs for a set time",
        severity=Severity.MEDIUM,
        remediation="Set retentionInDays",
        types=frozenset({"aws:cloudwatch/logGroup:LogGroup"}),
        resource=_retention,
        references=soc2("CC7.2"),
        parameters=(
            Parameter(
                "days", 7, {"type": "integer", "minimum": 1, "maximum": 3653, "description": "least retention, days"}
            ),
        ),
    ),
    Rule(
        id="records-database",
        title="A database's log goes to CloudWatch Logs",
        severity=Severity.MEDIUM,
        remediation="Set enabledCloudwatchLogsExports",
        types=frozenset({"aws:rds/instance:Instance", "aws:rds/cluster:Cluster"}),
        resource=_exports,
        references=(*soc2("CC7.2"), *saas_lens("SaaS OPS 1")),
    ),
)
