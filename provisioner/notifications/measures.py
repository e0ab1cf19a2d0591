"""What ``/metrics`` says of messages and of overdue payments.

Alarms belong on ``tenantry_notification_age_seconds``, on ``tenantry_notifications`` with the status ``quarantined``,
``refused`` or ``failed``, and on ``tenantry_notification_looks_failing``.
"""

from __future__ import annotations

from prometheus_client.core import GaugeMetricFamily, Metric
from psycopg import AsyncConnection

from provisioner.registry import dunning, notifications


async def measures(connection: AsyncConnection) -> list[Metric]:
    messages = GaugeMetricFamily("tenantry_notifications", "Messages to customers", labels=["kind", "status"])
    for kind, status, number in await notifications.count(connection):
        messages.add_metric([kind, status], number)
    age = GaugeMetricFamily(
        "tenantry_notification_age_seconds", "Age of the oldest message that was tried and still waits"
    )
    age.add_metric([], await notifications.oldest_waiting(connection))
    failing = GaugeMetricFamily("tenantry_notification_looks_failing", "Tenants whose messages can't be decided on")
    failing.add_metric([], await notifications.failed_looks(connection))
    episodes = GaugeMetricFamily(
        "tenantry_dunning_episodes",
        "Overdue payments by the furthest step and how they ended",
        labels=["step", "outcome"],
    )
    for step, outcome, number in await dunning.count(connection):
        episodes.add_metric([step, outcome], number)
    return [messages, age, failing, episodes]
