"""Brings one tenant to what its subscription pays for: load -> decide -> deploy -> record.

Level-triggered: whatever asked for it, the present state of the subscription decides. Entitlements and a withdrawal of
access take effect in the registry before any stack is touched; the stack follows under the tenant's lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from psycopg import AsyncConnection

from components.spec import Access, PlatformOutputs, TenantOutputs, TenantSpec
from components.tiers import Tier
from provisioner import failures, fingerprint, payments, shared_platform, stack_request
from provisioner.billing.catalogue import Catalogue
from provisioner.billing.facts import billing_facts
from provisioner.billing.gateway import BillingGateway
from provisioner.billing.history import PaymentHistory
from provisioner.billing.translate import SubscriptionState, SubscriptionStatus
from provisioner.deployer import Operation, OperationResult
from provisioner.desired import Course, Decision, Installation, Standing, decide
from provisioner.engine.state import PostgresState
from provisioner.errors import (
    LeaseLost,
    NotFound,
    OperatorNeeded,
    TenantryError,
)
from provisioner.hibernation import waking
from provisioner.lifecycle import SETTLED, TenantState
from provisioner.operate import HandedBack, Held, Operator, Pool
from provisioner.registry import placements, platforms, queue, tenants, timeline
from provisioner.registry.deletions import Step
from provisioner.registry.leases import LeaseBusy
from provisioner.registry.operations import OperationKind
from provisioner.registry.platforms import PlatformRecord
from provisioner.registry.queue import Priority
from provisioner.registry.reading import reading
from provisioner.registry.tenants import Entitlement, TenantRecord
from provisioner.registry.timeline import EntryKind
from provisioner.subscriptions import bought

if TYPE_CHECKING:
    from provisioner.offboarding.leftovers import Waiting
    from provisioner.offboarding.steps import Offboarding

log = structlog.get_logger(__name__)

BUSY_S = 2.0  #: before a tenant whose stack somebody else changes is looked at again


class Outcome(StrEnum):
    UNCHANGED = "unchanged"  #: the stack is what it should be already
    CHANGED = "changed"
    NOTHING = "nothing"  #: nothing stands, nothing is to stand
    RETRY = "retry"  #: failed; tried again at ``next_attempt_at``
    OPERATOR = "operator"  #: failed; a person must act
    BUSY = "busy"  #: somebody else changes the stack
    HANDED_BACK = "handed_back"  #: this worker is stopping, or lost the stack to another one


class CustomerMissing(OperatorNeeded):
    """Stripe does not know the tenant's customer: a key of another account would otherwise close every tenant."""

    code = "customer_missing"


@dataclass(frozen=True)
class Reconciler:
    """``purge`` deletes a tenant's files in a bucket that stays: called before its stack goes. ``policy_version``: of
    the rules and their configuration; another one has every stack judged again. ``follow_up``: in the transaction that
    records a tenant's success, so that what it queues is never lost. ``offboarding``: None where nothing is exported
    or certified, as in a test without a cloud. ``refused_trials``: which of a customer's
    subscriptions are trials that it must not have."""

    pool: Pool
    gateway: BillingGateway
    catalogue: Catalogue
    installation: Installation
    app_schema: Path
    operator: Operator
    state: PostgresState
    purge: Callable[[TenantOutputs, PlatformOutputs], Awaitable[None]]
    policy_version: str
    follow_up: Callable[[AsyncConnection, TenantOutputs], Awaitable[None]] | None = None
    offboarding: Offboarding | None = None
    refused_trials: Callable[[str, Sequence[SubscriptionState]], Awaitable[frozenset[str]]] | None = None

    async def reconcile(self, tenant_id: str, reason: str) -> Outcome:
        """A failure is classified and recorded, and its retry planned. Raises only what keeps it from being recorded:
        the database is gone."""
        with structlog.contextvars.bound_contextvars(tenant_id=tenant_id):
            try:
                return await self._converge(tenant_id, reason)
            except LeaseBusy as busy:
                log.info("reconcile.busy", message=busy.message)
                await self._again(tenant_id, BUSY_S)
                return Outcome.BUSY
            except LeaseLost as lost:
                # Whoever took the stack over goes on with it; what it left undone, a look at the tenant finds.
                log.warning("reconcile.lease_lost", message=lost.message)
                await self._again(tenant_id, BUSY_S)
                return Outcome.HANDED_BACK
            except HandedBack as handed:
                log.info("reconcile.handed_back", message=handed.message)
                await self._again(tenant_id, 0.0)
                return Outcome.HANDED_BACK
            except TenantryError as error:
                return await self._fail(tenant_id, error)
            except Exception as error:
                log.error("reconcile.unexpected", exc_info=error)
                return await self._fail(tenant_id, failures.unexpected(error))

    async def _converge(self, tenant_id: str, reason: str) -> Outcome:
        record, platform_record = await self._load_with_platform(tenant_id)
        documents = [] if record.stripe_customer_id is None else await self._documents(record.stripe_customer_id)
        what = bought(tenant_id, documents, self.catalogue, expected_livemode=self.gateway.livemode)
        states = what.require_readable()
        history = await payments.history_of(
            self.gateway,
            record.stripe_customer_id,
            states,
            record.payment_cases or (),
            await self._refused_trials(record, states),
        )
        now = await self.gateway.now(next((each.test_clock for each in states if each.test_clock), None))

        def decision_for(record: TenantRecord) -> Decision:
            return decide(standing(record), states, self.catalogue, self.installation, now, history)

        decision = decision_for(record)
        what.require_enough(decision.verdict.access.serves)
        if decision.course is Course.REVIVE:
            record = await self._revive(record)
            decision = decision_for(record)
        log.debug("reconcile.decided", course=decision.course.value, why=decision.why)
        await self._entitle(record, decision, history)
        if decision.course is Course.NOTHING:
            await self._clear_failure(record)
            return Outcome.NOTHING
        platform = await shared_platform.require(
            self.pool, record, platform_record, self.installation.app_schema_version
        )
        if decision.course is Course.CONVERGE and await self._is_current(record, decision, platform):
            await self._clear_failure(record)
            return Outcome.UNCHANGED
        if decision.course is Course.CONVERGE and await self._is_parked(record, decision):
            return Outcome.OPERATOR
        async with self.operator.hold(record.stack_name) as held:
            # Between the decision and the lease another holder may have changed the tenant.
            record = await self._load(tenant_id)
            decision = decision_for(record)
            try:
                if decision.course is Course.CONVERGE:
                    if await self._is_current(record, decision, platform):
                        return Outcome.UNCHANGED
                    if await self._is_parked(record, decision):
                        return Outcome.OPERATOR
                    await self._deploy(held, record, decision, platform, reason)
                elif decision.course is Course.DESTROY:
                    await self._destroy(held, record, decision, platform, reason)
                else:  # it was destroyed meanwhile: the next look begins its next generation
                    await self._again(tenant_id, 0.0)
            except (HandedBack, LeaseLost):
                raise
            except TenantryError as error:
                # While the stack is held: a failure never overwrites what the next holder achieved.
                return await self._fail(tenant_id, error, held)
            return Outcome.CHANGED

    def is_behind(
        self,
        record: TenantRecord,
        documents: Sequence[Mapping[str, Any]],
        platform: PlatformRecord | None,
        versions: Mapping[str, str],
        now: datetime,
    ) -> bool:
        """Whether a reconcile of the tenant would change something; asks nobody. For sweeps over all tenants.

        ``documents``: its customer's subscriptions; ``versions``: of all stacks' states. A tenant whose next attempt is
        planned, or that waits for an operator while nothing changed, is not behind.
        """
        if record.next_attempt_at is not None:
            return False
        if not documents and record.failure is not None and record.failure.get("code") == CustomerMissing.code:
            return False
        what = bought(record.tenant_id, documents, self.catalogue, expected_livemode=self.gateway.livemode)
        try:
            states, history = what.require_readable(), payments.remembered(record)
            decision = decide(standing(record), states, self.catalogue, self.installation, now, history)
            what.require_enough(decision.verdict.access.serves)
        except TenantryError as error:
            return record.failure is None or record.failure.get("code") != error.code
        if decision.course is Course.NOTHING:
            return entitlement_of(decision, history) != recorded_entitlement(record)
        if decision.course is not Course.CONVERGE:
            # what failed for a while has its next attempt planned, unless that was lost
            return record.failure is None or record.failure.get("class") != "operator"
        if entitlement_of(decision, history) != recorded_entitlement(record):
            return True
        if record.failure is not None and record.failure.get("class") == "operator":
            return failures.may_have_been_mended(
                record.failure,
                same_spec=decision.spec == record.tenant_spec,
                policy_version=self.policy_version,
                checkpoint_version=versions.get(record.stack_name),
            )
        outputs = None if platform is None else platform.platform_outputs
        if outputs is None or record.fingerprint is None or record.state != decision.state:
            return True
        if record.access != decision.access:
            return True
        assert decision.spec is not None
        return record.fingerprint != self._fingerprint(decision.spec, outputs, versions.get(record.stack_name))

    # Loading

    async def _load(self, tenant_id: str) -> TenantRecord:
        async with reading(self.pool) as connection:
            record = await tenants.get(connection, tenant_id)
        if record is None:
            raise _no_such(tenant_id)
        return record

    async def _load_with_platform(self, tenant_id: str) -> tuple[TenantRecord, PlatformRecord | None]:
        async with reading(self.pool) as connection:
            record = await tenants.get(connection, tenant_id)
            platform = None if record is None else await platforms.get(connection, record.cell)
        if record is None:
            raise _no_such(tenant_id)
        return record, platform

    async def _documents(self, customer_id: str) -> list[dict[str, Any]]:
        """A deleted customer still has its ended subscriptions; one that Stripe never had is no customer who left."""
        try:
            return await self.gateway.subscriptions_of(customer_id)
        except NotFound as missing:
            raise CustomerMissing(
                f"nothing was changed: Stripe has no customer {customer_id}: {missing.message}",
                hint="check that TENANTRY_STRIPE_API_KEY is of the account and mode that the customer belongs to",
            ) from None

    async def _refused_trials(self, record: TenantRecord, states: Sequence[SubscriptionState]) -> frozenset[str]:
        trials = [state for state in states if state.status is SubscriptionStatus.TRIALING]
        if not trials or self.refused_trials is None or record.stripe_customer_id is None:
            return frozenset()
        return await self.refused_trials(record.stripe_customer_id, trials)

    async def _is_current(self, record: TenantRecord, decision: Decision, platform: PlatformOutputs) -> bool:
        if record.fingerprint is None or decision.spec is None or record.outputs is None:
            return False
        if record.outputs["access"] != decision.spec.access or record.destruction is not None:
            return False
        version = await asyncio.to_thread(self.state.checkpoint_version, record.stack_name)
        return record.fingerprint == self._fingerprint(decision.spec, platform, version)

    async def _is_parked(self, record: TenantRecord, decision: Decision) -> bool:
        """Whether the gate has refused just this, and nobody has answered or changed anything since."""
        if record.failure is None or record.failure.get("code") not in failures.PARKED:
            return False
        return not failures.may_have_been_mended(
            record.failure,
            same_spec=decision.spec == record.tenant_spec,
            policy_version=self.policy_version,
            checkpoint_version=await asyncio.to_thread(self.state.checkpoint_version, record.stack_name),
        )

    def _fingerprint(self, spec: TenantSpec, platform: PlatformOutputs, checkpoint_version: str | None) -> str:
        schema = fingerprint.app_schema_digest(self.app_schema, spec.app_schema_version)
        return fingerprint.of_tenant(spec, platform, schema, checkpoint_version, self.policy_version)

    # Changing

    async def _entitle(self, record: TenantRecord, decision: Decision, history: PaymentHistory) -> None:
        """What needs no stack: entitlements, access that is withdrawn, and access that the stack gives already."""
        entitlement = entitlement_of(decision, history)
        access, at_once = decision.access, _needs_no_stack(record, decision)
        if decision.course is Course.DESTROY:
            # Until it is gone it is retained; who still had access, as under a plan that retains nothing, loses it
            # before the last export is made.
            access, at_once = Access.RETAINED, Access(record.access).serves
        state = decision.state if record.state in SETTLED and _stack_gives(record, decision) else None
        access_stays = not at_once or (record.access, record.access_reason) == (access, decision.reason)
        if entitlement == recorded_entitlement(record) and access_stays and state in (None, record.state):
            return
        async with self.pool.connection() as connection:
            news = await tenants.entitle(connection, record.tenant_id, entitlement)
            changed = False
            if at_once:
                changed = await tenants.set_access(
                    connection, record.tenant_id, access, reason=decision.reason, since=decision.access_since
                )
                await placements.set_access(connection, record.tenant_id, access)
            if state is not None and state != record.state:
                await tenants.set_state(connection, record.tenant_id, state)
            if news or changed:
                await timeline.add(
                    connection,
                    record.tenant_id,
                    EntryKind.DECISION,
                    decision.why,
                    detail={
                        "plan": decision.plan,
                        "access": access,
                        "reason": decision.reason,
                        "tier": decision.placed_tier,
                        "pending_graduation": decision.pending_graduation,
                        "subscription": entitlement.subscription_id,
                    },
                )

    async def _revive(self, record: TenantRecord) -> TenantRecord:
        async with self.pool.connection() as connection:
            if await tenants.begin_generation(connection, record.tenant_id):
                await timeline.add(
                    connection,
                    record.tenant_id,
                    EntryKind.DECISION,
                    f"the id begins its life number {record.generation + 1}: nothing of the former one is used",
                )
        return await self._load(record.tenant_id)

    async def _deploy(
        self, held: Held, record: TenantRecord, decision: Decision, platform: PlatformOutputs, reason: str
    ) -> None:
        spec = decision.spec
        assert spec is not None
        kind = _kind(record, decision)
        await self._wake(held, record, spec, platform, reason)
        async with self.pool.connection() as connection:
            await held.require(connection)
            before = TenantState.PROVISIONING if not record.stands else TenantState(record.state)
            await tenants.record_spec(connection, spec, before)
        log.debug("spec.recorded", kind=kind.value)
        result = await self._operate(held, Operation.UP, kind, spec, platform, reason)
        outputs = TenantOutputs.model_validate(result.output_json("tenant"))
        made = self._fingerprint(spec, platform, result.checkpoint_version)
        async with self.pool.connection() as connection:
            await held.require(connection)
            await placements.put(connection, outputs, platform, decision.access)
            if await tenants.set_access(
                connection, record.tenant_id, decision.access, reason=decision.reason, since=decision.access_since
            ):
                await timeline.add(connection, record.tenant_id, EntryKind.DECISION, f"access is {decision.access} now")
            log.debug("placement.put", kind=kind.value)
            await tenants.record_success(connection, outputs, state=decision.state, fingerprint=made)
            if self.follow_up is not None:
                await self.follow_up(connection, outputs)
        log.debug("success.recorded", kind=kind.value)

    async def _wake(
        self, held: Held, record: TenantRecord, wanted: TenantSpec, platform: PlatformOutputs, reason: str
    ) -> None:
        """Start a stopped instance before anything else is asked of it."""
        stands_with = None if record.outputs is None else record.outputs["access"]
        spec = waking.first_step(record.tenant_spec, stands_with, wanted)
        if spec is None:
            return
        async with self.pool.connection() as connection:
            await held.require(connection)
            await tenants.record_spec(connection, spec, TenantState(record.state))
        await self._operate(
            held, Operation.UP, OperationKind.RESUME, spec, platform, f"{reason}: its instance is started first"
        )

    async def _destroy(
        self, held: Held, record: TenantRecord, decision: Decision, platform: PlatformOutputs, reason: str
    ) -> None:
        spec = decision.spec
        assert spec is not None
        offboarding, deletion = self.offboarding, None
        if offboarding is not None:
            deletion = await offboarding.begin(held, record, platform, decision.why)
        # Once is enough: nothing has put it to sleep since its export, or the export would be out of date. To wake it
        # again would make it so, and another one would be written, for ever.
        if deletion is None or deletion.step == Step.REQUESTED:
            await self._wake(held, record, spec, platform, decision.why)
        if offboarding is not None and deletion is not None:
            spec = offboarding.spec(deletion, spec)

            async def opened(spec: TenantSpec) -> None:
                await self._operate(held, Operation.UP, OperationKind.EXPORT, spec, platform, "its final export")

            if await offboarding.export(held, record, deletion, platform, opened):
                # That took its time: what Stripe says now decides whether it is destroyed. A job, and no attempt:
                # whoever waits for the tenant sees that it goes on.
                async with self.pool.connection() as connection:
                    await queue.defer_reconcile(
                        connection, [record.tenant_id], reason="its final export is made", priority=Priority.RETRY
                    )
                return
        async with self.pool.connection() as connection:
            await held.require(connection)
            await tenants.record_spec(connection, spec, TenantState.DESTROYING)
            if record.state != TenantState.DESTROYING:
                await timeline.add(connection, record.tenant_id, EntryKind.DECISION, decision.why)
        deployment = await asyncio.to_thread(self.state.deployment, record.stack_name)
        if deployment and deployment.get("resources"):
            if _is_protected(deployment):
                await self._operate(
                    held, Operation.UP, OperationKind.UNPROTECT, spec, platform, f"{decision.why} (1 of 2)"
                )
            if offboarding is not None and deletion is not None:
                await offboarding.purge(held, record, deletion, platform)
                await offboarding.ready_to_destroy(record, deletion, platform)
            elif record.outputs is not None:
                await self.purge(TenantOutputs.model_validate(record.outputs), platform)
        if deployment is not None:
            await self._operate(
                held, Operation.DESTROY, OperationKind.DESTROY, spec, platform, f"{decision.why} (2 of 2)"
            )
        waiting: list[Waiting] = []
        if offboarding is not None and deletion is not None:
            waiting = await offboarding.finish(held, record, deletion, platform)
        async with self.pool.connection() as connection:
            await held.require(connection)
            if offboarding is not None and deletion is not None:
                await offboarding.certify(connection, record, deletion, waiting)
            await placements.delete(connection, record.tenant_id)
            await tenants.record_destroyed(connection, record.tenant_id, since=decision.decided_at)
        log.info("tenant.destroyed", generation=record.generation)

    async def _operate(
        self,
        held: Held,
        operation: Operation,
        kind: OperationKind,
        spec: TenantSpec,
        platform: PlatformOutputs,
        reason: str,
    ) -> OperationResult:
        inputs = stack_request.of_tenant(spec, platform, self.app_schema)
        return await self.operator.run(held, operation, kind, inputs, tenant_id=spec.tenant_id, reason=reason)

    # Failing

    async def _fail(self, tenant_id: str, error: TenantryError, held: Held | None = None) -> Outcome:
        stack = None if held is None else held.stack_name
        version = None if stack is None else await asyncio.to_thread(self.state.checkpoint_version, stack)
        retried = await failures.record(
            self.pool, tenant_id, error, held, policy_version=self.policy_version, checkpoint_version=version
        )
        return Outcome.RETRY if retried else Outcome.OPERATOR

    async def _again(self, tenant_id: str, seconds: float) -> None:
        async with self.pool.connection() as connection:
            await tenants.plan_attempt(connection, tenant_id, datetime.now(UTC) + timedelta(seconds=seconds))

    async def _clear_failure(self, record: TenantRecord) -> None:
        if record.failure is not None or record.next_attempt_at is not None:
            async with self.pool.connection() as connection:
                await tenants.clear_failure(connection, record.tenant_id)


def _no_such(tenant_id: str) -> NotFound:
    return NotFound(f"there is no tenant {tenant_id}", hint="`tenantry tenants list` shows all")


def standing(record: TenantRecord) -> Standing:
    return Standing(
        tenant_id=record.tenant_id,
        generation=record.generation,
        cell=record.cell,
        epoch=record.epoch,
        state=TenantState(record.state),
        plan=record.plan,
        spec=record.tenant_spec,
        retain_until=record.retain_until,
        destruction_authorised=record.destruction is not None,
    )


def _needs_no_stack(record: TenantRecord, decision: Decision) -> bool:
    """Whether the registry may say the new access before the stack is touched: it takes something away, or the stack
    that stands gives it already."""
    if decision.spec is None or record.outputs is None:
        return not decision.access.serves
    order = list(Access)
    return order.index(decision.access) >= order.index(Access(record.access)) or _stack_gives(record, decision)


def _stack_gives(record: TenantRecord, decision: Decision) -> bool:
    """Whether the stack that stands enforces just what was decided. What a failed operation left is unknown."""
    if decision.course is not Course.CONVERGE or decision.spec is None or record.outputs is None:
        return False
    if record.fingerprint is None:
        return False
    return bool(record.outputs["access"] == decision.spec.access)


def entitlement_of(decision: Decision, history: PaymentHistory) -> Entitlement:
    subscription = decision.subscription
    return Entitlement(
        subscription_id=subscription.subscription_id if subscription else None,
        subscription_status=subscription.status.value if subscription else None,
        plan=decision.plan,
        tier=decision.placed_tier,
        pending_graduation=decision.pending_graduation,
        features=list(decision.entitled.features),
        limits=dict(decision.entitled.limits),
        retain_until=decision.retain_until,
        rates=[dict(rate) for rate in decision.entitled.rates],
        soft_limits=list(decision.entitled.soft_limits),
        review_at=decision.review_at,
        seats=decision.verdict.seats,
        billing=billing_facts(decision.verdict, history),
    )


def recorded_entitlement(record: TenantRecord) -> Entitlement:
    return Entitlement(
        subscription_id=record.subscription_id,
        subscription_status=record.subscription_status,
        plan=record.plan,
        tier=None if record.tier is None else Tier(record.tier),
        pending_graduation=None if record.pending_graduation is None else Tier(record.pending_graduation),
        features=record.features,
        limits=record.limits,
        retain_until=record.retain_until,
        rates=record.rates,
        soft_limits=record.soft_limits,
        review_at=record.review_at,
        seats=record.seats,
        billing=record.billing,
    )


def _kind(record: TenantRecord, decision: Decision) -> OperationKind:
    if record.outputs is None:
        return OperationKind.PROVISION
    assert decision.spec is not None
    before, after = Access(record.outputs["access"]), decision.spec.access
    if before is after:
        return OperationKind.UPDATE
    order = list(Access)
    if order.index(after) < order.index(before):
        return OperationKind.RESUME
    return _WITHDRAWALS[after]


_WITHDRAWALS = {
    Access.READ_ONLY: OperationKind.RESTRICT,
    Access.SUSPENDED: OperationKind.SUSPEND,
    Access.HIBERNATED: OperationKind.HIBERNATE,
}


def _is_protected(deployment: dict[str, Any]) -> bool:
    """Whether a destroy would be refused: protection, or the cloud's own deletion protection."""
    return any(
        resource.get("protect") or (resource.get("outputs") or {}).get("deletionProtection") is True
        for resource in deployment.get("resources") or []
    )
