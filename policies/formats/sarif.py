"""Findings as SARIF 2.1.0, which code scanning of GitHub, GitLab and Azure DevOps shows.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from policies.checked import CheckedStack
from policies.evaluate import Finding, Outcome
from policies.model import Level, Rule, Severity

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
#: GitHub's scale from 0 to 10, by which it shows critical, high, medium and low.
_SCORE = {Severity.CRITICAL: "9.5", Severity.HIGH: "8.0", Severity.MEDIUM: "5.5", Severity.LOW: "2.0"}
_LEVEL = {Level.MANDATORY: "error", Level.ADVISORY: "warning", Level.DISABLED: "none"}


def document(stacks: Sequence[CheckedStack], rules: Sequence[Rule], version: str) -> dict[str, Any]:
    """One run over all ``stacks``. ``version``: of Tenantry."""
    index = {rule.id: number for number, rule in enumerate(rules)}
    driver = {
        "name": "tenantry",
        "semanticVersion": version,
        "rules": [_rule(rule) for rule in rules],
    }
    results = [_result(stack, finding, index) for stack in stacks for finding in stack.report.findings]
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "utf16CodeUnits", "results": results}],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    references = [f"{each.framework} {each.control}" for each in rule.references]
    text = f"{rule.remediation}." + (f" Asked for by {'; '.join(references)}." if references else "")
    found: dict[str, Any] = {
        "id": rule.id,
        "shortDescription": {"text": f"{rule.title}."},
        "help": {"text": text},
        "defaultConfiguration": {"level": _LEVEL[rule.level], "enabled": rule.level is not Level.DISABLED},
        "properties": {"tags": ["security", *references], "security-severity": _SCORE[rule.severity]},
    }
    return found


def _result(stack: CheckedStack, finding: Finding, index: dict[str, int]) -> dict[str, Any]:
    name = finding.urn or stack.name
    found: dict[str, Any] = {
        "ruleId": finding.rule.id,
        "ruleIndex": index[finding.rule.id],
        "level": _LEVEL[finding.level],
        "message": {"text": f"{finding.urn.rsplit('::', 1)[-1] or stack.name}: {finding.text}"},
        "locations": [
            {
                # Code scanning shows nothing that has no place in a file.
                "physicalLocation": {"artifactLocation": {"uri": stack.source}, "region": {"startLine": 1}},
                "logicalLocations": [{"fullyQualifiedName": name, "kind": "resource"}],
            }
        ],
        "partialFingerprints": {"tenantryFinding/v1": _fingerprint(stack.name, finding)},
        "properties": {"outcome": finding.outcome.value, "severity": finding.rule.severity.value},
    }
    if finding.outcome is Outcome.EXEMPTED and finding.exemption is not None:
        until = f"{finding.exemption.expires:%Y-%m-%d}"
        reason = f"{finding.exemption.reason} ({finding.exemption.owner}, until {until})"
        found["suppressions"] = [{"kind": "external", "status": "accepted", "justification": reason}]
    return found


def _fingerprint(stack: str, finding: Finding) -> str:
    """The same while rule, stack, resource and what is wrong with it are: a reader follows a finding over runs."""
    text = "\0".join((finding.rule.id, stack, finding.urn, finding.message))
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
