"""``docs/alerts.yaml`` alarms on metrics and labels that ``/metrics`` has."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioner.registry.events import EventStatus
from provisioner.registry.notifications import NotificationStatus
from provisioner.registry.proofs import ProofStatus

ROOT = Path(__file__).parents[3]
RULES: list[dict[str, Any]] = yaml.safe_load((ROOT / "docs" / "alerts.yaml").read_text())["groups"][0]["rules"]
VALUES = {
    "tenantry_events": EventStatus,
    "tenantry_notifications": NotificationStatus,
    "tenantry_tenants_isolation": ProofStatus,
}


def families() -> dict[str, set[str]]:
    """Every metric that the code makes -> its labels."""
    found = {}
    for path in [ROOT / "provisioner" / "metrics.py", *(ROOT / "provisioner").glob("*/measures.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith("MetricFamily"):
                given = [each.value for each in node.keywords if each.arg == "labels"]
                found[ast.literal_eval(node.args[0])] = {
                    str(label) for each in given for label in ast.literal_eval(each)
                }
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_rules_ask_for_what_there_is(rule: dict[str, Any]) -> None:
    known, expression = families(), rule["expr"]
    names = re.findall(r"\btenantry_\w+", expression)
    assert names
    for name in names:
        assert name in known, name
    for name, selector in re.findall(r"(tenantry_\w+)\{([^}]*)\}", expression):
        for label, values in re.findall(r'(\w+)=~?"([^"]*)"', selector):
            assert label in known[name]
            if name in VALUES:
                assert set(values.split("|")) <= {each.value for each in VALUES[name]}
    for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
        grouped = re.search(r"by \(([^)]*)\)", expression)
        assert label in (grouped[1].split(", ") if grouped else set().union(*(known[name] for name in names)))
