"""What must hold after every step, whatever was lost, late, twice, out of order, or down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from components.spec import Access, TenantSpec
from localcloud.simulation.clock import DAY, VirtualClock
from localcloud.simulation.control_plane import ControlPlane
from localcloud.simulation.expectation import LADDER, Terms, expected, retained_until
from localcloud.simulation.network import Network
from localcloud.simulation.people import People
from localcloud.stripe.inprocess import InProcess
from provisioner.billing.catalogue import Catalogue, Plan

#: After a sweep that could reach Stripe, nothing that it was told before may be unknown to us.
EVENT_BOUND_S = 24 * DAY  # a sweep may be missed in an outage
_UNFINISHED = "SELECT event_id, created_at FROM registry.event WHERE status = 'received'"
_QUARANTINED = "SELECT event_id, reason FROM registry.event WHERE status = 'quarantined' LIMIT 5"
_TENANTS = """
SELECT t.tenant_id, t.stripe_customer_id, t.access, t.state, t.failure->>'code', t.spec IS NOT NULL,
       t.outputs->>'access', t.features, p.access
  FROM registry.tenant t LEFT JOIN registry.placement p USING (tenant_id)
"""
_DECISIONS = """
SELECT tenant_id, max(entry_id) FROM registry.timeline WHERE kind = 'decision' AND entry_id > %s GROUP BY tenant_id
"""


@dataclass(frozen=True)
class Violation:
    at: str
    rule: str
    subject: str
    what: str

    def __str__(self) -> str:
        return f"{self.at} {self.rule}: {self.subject}: {self.what}"


@dataclass
class Invariants:
    stripe: InProcess
    clock: VirtualClock
    network: Network
    people: People
    plane: ControlPlane
    terms: Mapping[str, Terms]
    violations: list[Violation] = field(default_factory=list)
    checked: int = 0  #: tenants, over all steps
    _access: dict[str, str] = field(default_factory=dict)
    _told: int = 0  #: the last entry of the timeline that was seen

    async def check(self, *, swept: bool) -> None:
        """After a step. ``swept``: all that deliveries missed was looked for; then everybody must be right, else only
        those about whom nothing is on its way."""
        async with self.plane.pool.connection() as connection:
            rows = await (await connection.execute(_TENANTS)).fetchall()
            told = await (await connection.execute(_DECISIONS, [self._told])).fetchall()
            unfinished = await (await connection.execute(_UNFINISHED)).fetchall()
            quarantined = await (await connection.execute(_QUARANTINED)).fetchall()
        decisions = {str(tenant): int(str(entry)) for tenant, entry in told}
        self._told = max([self._told, *decisions.values()])
        for event, created in unfinished:
            assert isinstance(created, datetime)
            if self.clock.now - created.timestamp() > EVENT_BOUND_S:
                self._violated("event_bound", str(event), f"of {created:%Y-%m-%d}, is not processed")
        for event, reason in quarantined:
            self._violated("quarantine", str(event), str(reason))
        waiting = set() if swept else self.network.customers_waiting()
        for tenant, customer, access, state, failure, stands, enforced, features, placed in rows:
            name = str(tenant)
            if placed is not None and placed != access:
                self._violated("placement", name, f"its access is {access}, the broker is told {placed}")
            before = self._access.get(name)
            if before is not None and before != access and name not in decisions:
                self._violated("timeline", name, f"access went from {before} to {access} without an entry")
            self._access[name] = str(access)
            if self.plane.gateway.down or customer in waiting or "*" in waiting:
                continue
            self.checked += 1
            self._judge(name, str(customer), str(access), str(state), failure, bool(stands), enforced, features)
        known = {str(row[0]) for row in rows}
        if swept and not self.plane.gateway.down:
            for person in self.people.everybody:
                if person.tenant_id not in known and self._bought(person.customer):
                    self._violated("unknown_tenant", person.tenant_id, "has paid, and nobody knows of it")

    def _judge(
        self,
        tenant: str,
        customer: str,
        access: str,
        state: str,
        failure: Any,
        stands: bool,
        enforced: Any,
        features: Any,
    ) -> None:
        wanted = expected(self.stripe.account, customer, self.terms, self.clock.now)
        serves = LADDER.index(wanted) < LADDER.index("suspended")
        if failure is not None:
            # A stack that can't be changed now gives no access back, but never leaves more than is paid for.
            if stands and LADDER.index(access) < LADDER.index(wanted):
                self._violated("more_than_paid", tenant, f"is {access}, should be {wanted} ({failure})")
            return
        if not stands and not serves:
            if features:
                self._violated("access", tenant, f"nothing stands, and it has features {features}")
            return
        if access != wanted:
            self._violated("access", tenant, f"is {access} ({state}), should be {wanted}")
        elif enforced is not None and Access(access).enforced is not Access(enforced):
            sleeping = {Access(enforced), Access(access).enforced} == {Access.SUSPENDED, Access.HIBERNATED}
            if not sleeping:  # only an instance of the tenant's own sleeps
                self._violated("stack", tenant, f"is {access}, its stack enforces {enforced}")
        if serves and not features:
            self._violated("entitlements", tenant, f"is {access} and entitled to nothing")

    def _bought(self, customer: str) -> bool:
        found = self.stripe.account.store.where("subscription", "customer", customer)
        return any(each["status"] in ("active", "trialing") for each in found)

    def destroying(self, spec: TenantSpec) -> None:
        """Asked before data is destroyed."""
        person = next(each for each in self.people.everybody if each.tenant_id == spec.tenant_id)
        until = retained_until(self.stripe.account, person.customer, self.terms)
        if until is None:
            self._violated("retention", spec.tenant_id, "is destroyed while a subscription of it lives")
        elif until > self.clock.now:
            kept = datetime.fromtimestamp(until, UTC)
            self._violated("retention", spec.tenant_id, f"is destroyed before {kept:%Y-%m-%d %H:%M}")

    def usage(self, differences: Mapping[str, tuple[int, int]]) -> None:
        """At the end: (recorded, billed) of customers where they differ."""
        for customer, (recorded, billed) in differences.items():
            self._violated("usage", customer, f"{recorded} units were recorded, Stripe counted {billed}")

    def _violated(self, rule: str, subject: str, what: str) -> None:
        self.violations.append(Violation(f"{self.clock.moment:%Y-%m-%d}", rule, subject, what))


def terms_of(catalogue: Catalogue) -> dict[str, Terms]:
    """What the oracle knows of the plans: numbers, by the lookup keys of their prices."""
    return {price.lookup_key: _terms(plan) for plan in catalogue.plans.values() for price in plan.prices}


def _terms(plan: Plan) -> Terms:
    dunning = plan.terms.dunning

    def days(delta: Any) -> float | None:
        return None if delta is None else delta.total_seconds() / DAY

    return Terms(
        throttled=days(dunning.throttled_after),
        read_only=days(dunning.read_only_after),
        suspended=days(dunning.suspended_after),
        hibernated=days(dunning.hibernated_after),
        retention=float(plan.retention_days),
        dispute=plan.terms.on_dispute.value,
        dispute_lost=plan.terms.on_dispute_lost.value,
    )
