"""Metrics of audits. Alerts belong on every ``tenantry_audit_findings``, and on the age of the last complete audit."""

from __future__ import annotations

from prometheus_client.core import GaugeMetricFamily, Metric
from psycopg import AsyncConnection

from provisioner.audit.findings import FindingKind
from provisioner.registry import audits


async def measures(connection: AsyncConnection) -> list[Metric]:
    counts = await audits.count(connection)
    findings = GaugeMetricFamily("tenantry_audit_findings", "Open findings of the audit by kind", labels=["kind"])
    for kind in FindingKind:
        findings.add_metric([kind.value], counts.get(kind.value, 0))
    last = await audits.last_run(connection)
    if last is None:
        return [findings]
    ended_at, _, complete = last
    ran = GaugeMetricFamily("tenantry_audit_timestamp_seconds", "When the last audit ended", value=ended_at.timestamp())
    whole = GaugeMetricFamily("tenantry_audit_complete", "Whether it could read everything", value=float(complete))
    return [findings, ran, whole]
