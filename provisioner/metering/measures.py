"""Metrics of usage. Alarms belong on ``tenantry_usage_oldest_pending_seconds``, ``tenantry_usage_findings``,
``tenantry_usage_reports{state="refused"}`` and ``tenantry_usage_quarantined``."""

from __future__ import annotations

from prometheus_client.core import GaugeMetricFamily, Metric
from psycopg import AsyncConnection

from provisioner.registry import metering as ledger


async def measures(connection: AsyncConnection) -> list[Metric]:
    state = await ledger.state(connection)
    reports = GaugeMetricFamily("tenantry_usage_reports", "Reports to Stripe that are not settled", labels=["state"])
    for name in ("planned", "unknown", "refused"):
        reports.add_metric([name], state[name])
    return [
        reports,
        GaugeMetricFamily("tenantry_usage_pending_hours", "Hours with usage not planned", value=state["pending_hours"]),
        GaugeMetricFamily(
            "tenantry_usage_oldest_pending_seconds",
            "Age of the oldest of them; an hour goes on",
            value=state["oldest_s"],
        ),
        GaugeMetricFamily("tenantry_usage_quarantined", "Records that can't be counted", value=state["quarantined"]),
        GaugeMetricFamily("tenantry_usage_findings", "Hours in which Stripe's total differs", value=state["findings"]),
        GaugeMetricFamily("tenantry_usage_alerts", "Thresholds of included usage passed", value=state["alerts"]),
    ]
