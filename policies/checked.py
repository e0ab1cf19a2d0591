"""One stack that was looked at, for reports over several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from policies.evaluate import Finding, Report


@dataclass(frozen=True)
class CheckedStack:
    """``source``: where the stack is described, a path that a reader of the report can open."""

    name: str
    report: Report
    source: str

    @property
    def blocking(self) -> tuple[Finding, ...]:
        return self.report.blocking

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "stack": self.name,
            "passed": self.report.passed,
            "rules": len(self.report.evaluated),
            "findings": [as_dict(each) for each in self.report.findings],
        }


def as_dict(finding: Finding) -> dict[str, Any]:
    """A finding for JSON, with the exemption that covers it, in force or expired."""
    found = finding.as_dict() | {"blocks": finding.blocks}
    if finding.exemption is not None:
        found["exemption"] = {
            "owner": finding.exemption.owner,
            "reason": finding.exemption.reason,
            "expires": finding.exemption.expires.isoformat(),
        }
    return found
