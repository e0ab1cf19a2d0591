"""Violations in the shapes that programs and AWS let them have, which a rule must not take for kept."""

from __future__ import annotations

from typing import Any

import pytest

from policies.evaluate import Finding, evaluate
from policies.rules import RULES
from tests.unit.policies.stacks import R, Spec, facts_of, stack_of

BY_ID = {rule.id: rule for rule in RULES}
CLUSTER = "aws:rds/cluster:Cluster"
WORST: dict[str, Any] = {"engine": "aurora-postgresql", "skipFinalSnapshot": True, "masterPassword": "x"}
PRODUCTION = {"tags": {"environment": "production"}}


def found(rule: str, type_: str, properties: dict[str, Any], spec: Spec = None) -> tuple[Finding, ...]:
    stack = stack_of([R(type_, properties)])
    return evaluate([BY_ID[rule]], stack, stack, facts_of(spec)).findings


@pytest.mark.parametrize(
    "rule",
    [
        "encryption-database",
        "credentials-master-password",
        "resilience-backup",
        "resilience-deletion-protection",
        "resilience-final-snapshot",
        "records-database",
    ],
)
def test_a_cluster_that_has_a_name_is_judged(rule: str) -> None:
    assert found(rule, CLUSTER, {**WORST, **PRODUCTION, "clusterIdentifier": "orders"})
    if rule != "credentials-master-password":  # RDS can't manage that of a global cluster
        assert found(rule, CLUSTER, {**WORST, **PRODUCTION, "globalClusterIdentifier": "world"})
