"""Metrics of instances that sleep. An alert belongs on ``tenantry_hibernation_problems`` above 0."""

from __future__ import annotations

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from psycopg import AsyncConnection

from provisioner.registry import hibernation


async def measures(connection: AsyncConnection) -> list[Metric]:
    instances = GaugeMetricFamily(
        "tenantry_hibernated_instances", "Instances that should be stopped, by what RDS says of them", labels=["status"]
    )
    again = CounterMetricFamily("tenantry_hibernation_stopped_again", "How often they had to be stopped again")
    stuck = GaugeMetricFamily("tenantry_hibernation_problems", "Those that run and can't be stopped")
    rows = await hibernation.count(connection)
    for status, count, _, _ in rows:
        instances.add_metric([status], count)
    again.add_metric([], sum(each[2] for each in rows))
    stuck.add_metric([], sum(each[3] for each in rows))
    return [instances, again, stuck]
