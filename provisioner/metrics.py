"""``/metrics``: this process's counters, and the state of the whole control plane as the registry has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import REGISTRY, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from psycopg import AsyncConnection

from provisioner.audit.measures import measures as audit_measures
from provisioner.hibernation.measures import measures as hibernation_measures
from provisioner.metering.measures import measures as usage_measures
from provisioner.notifications.measures import measures
from provisioner.operate import Pool
from provisioner.registry import events, operations, proofs, queue, tenants
from provisioner.registry.proofs import ProofStatus

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Fixed(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return iter(self._metrics)


async def render(pool: Pool) -> bytes:
    async with pool.connection() as connection:
        by_state = await tenants.count_by_state(connection)
        by_status = await events.count_by_status(connection)
        by_operation = await operations.count(connection)
        depth = await queue.depth(connection)
        proved = await _proofs(connection)
        told = await measures(connection)
        used = await usage_measures(connection)
        audited = await audit_measures(connection)
        asleep = await hibernation_measures(connection)
    states = GaugeMetricFamily("tenantry_tenants", "Tenants by state", labels=["state"])
    failed = GaugeMetricFamily("tenantry_tenants_failed", "Tenants that wait for an operator", labels=["state"])
    for state, (count, waiting) in by_state.items():
        states.add_metric([state], count)
        failed.add_metric([state], waiting)
    inbox = GaugeMetricFamily("tenantry_events", "Stripe events by status", labels=["status"])
    for status, count in by_status.items():
        inbox.add_metric([status], count)
    done = GaugeMetricFamily("tenantry_operations", "Stack operations by kind and status", labels=["kind", "status"])
    spent = GaugeMetricFamily("tenantry_operation_seconds", "Seconds spent in them", labels=["kind", "status"])
    for kind, status, count, seconds in by_operation:
        done.add_metric([kind, status], count)
        spent.add_metric([kind, status], seconds)
    waiting_jobs = GaugeMetricFamily("tenantry_jobs", "Jobs by queue and status", labels=["queue", "status"])
    oldest = GaugeMetricFamily("tenantry_job_age_seconds", "Age of the oldest of them", labels=["queue", "status"])
    for name, status, count, age in depth:
        waiting_jobs.add_metric([name, status], count)
        oldest.add_metric([name, status], age)
    registry = CollectorRegistry()
    registry.register(
        _Fixed([states, failed, inbox, done, spent, waiting_jobs, oldest, *proved, *told, *used, *audited, *asleep])
    )
    return generate_latest(REGISTRY) + generate_latest(registry)


async def _proofs(connection: AsyncConnection) -> list[Metric]:
    """Alarms belong on ``tenantry_tenants_isolation{verdict="not_isolated"}`` and on the age of the last proof."""
    verdicts = Counter(verdict.status for verdict in (await proofs.verdicts(connection)).values())
    by_verdict = GaugeMetricFamily("tenantry_tenants_isolation", "Tenants by what was last proved", labels=["verdict"])
    for status in ProofStatus:
        by_verdict.add_metric([status.value], verdicts[status])
    last = GaugeMetricFamily("tenantry_proof_timestamp_seconds", "When all tenants were last proved", labels=["cell"])
    isolated = GaugeMetricFamily("tenantry_proof_isolated", "Whether that proof found them isolated", labels=["cell"])
    took = GaugeMetricFamily("tenantry_proof_seconds", "How long it took", labels=["cell"])
    for cell, found, ended_at, seconds in await proofs.last_of_all(connection):
        last.add_metric([cell], ended_at)
        isolated.add_metric([cell], float(found == ProofStatus.ISOLATED))
        took.add_metric([cell], seconds)
    kept = GaugeMetricFamily("tenantry_proofs", "Proofs that are kept", labels=["trigger", "status"])
    for trigger, found, number in await proofs.count(connection):
        kept.add_metric([trigger, found], number)
    return [by_verdict, last, isolated, took, kept]
