"""The comparison itself: pure. Everything that was read goes in, findings come out, in a fixed order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog

from components.spec import Access
from provisioner import payments
from provisioner.audit.findings import Finding, FindingKind, Remedy
from provisioner.billing.catalogue import Catalogue
from provisioner.billing.translate import TENANT_KEY, SubscriptionState, is_paid, subscription_state
from provisioner.desired import Course, Decision, Installation, decide
from provisioner.errors import Quarantined
from provisioner.lifecycle import TenantState
from provisioner.reconcile import entitlement_of, recorded_entitlement, standing
from provisioner.registry.payment_cases import PaymentCase
from provisioner.registry.placements import PlacementRecord
from provisioner.registry.tenants import TenantRecord
from provisioner.subscriptions import bought

log = structlog.get_logger(__name__)

EVENT_BOUND = timedelta(minutes=15)  #: an event is handled in seconds, and queued again by a sweep after minutes
PLATFORM_STACK = "platform"


@dataclass(frozen=True)
class Event:
    event_id: str
    type: str
    status: str
    reason: str | None
    received_at: datetime


@dataclass(frozen=True)
class Resource:
    """Of AWS, by its tags."""

    arn: str
    tenant_id: str
    generation: str


@dataclass(frozen=True)
class Picture:
    """What was read of all three. ``unreachable``: what could not be, and why."""

    now: datetime  #: billing time
    read_at: datetime  #: this machine's
    livemode: bool
    documents: Mapping[str, Sequence[Mapping[str, Any]]]  #: customer -> its subscriptions
    records: Sequence[TenantRecord]
    placements: Mapping[str, PlacementRecord]
    versions: Mapping[str, str]  #: stack -> version of its checkpoint
    running: frozenset[str] = frozenset()  #: tenants that are being changed, or were while the others were read
    clocks: Mapping[str, datetime] = field(default_factory=dict)  #: customers with a time of their own (test clocks)
    cases: Sequence[PaymentCase] = ()
    events: Sequence[Event] = ()
    resources: Sequence[Resource] = ()
    unreachable: Mapping[str, str] = field(default_factory=dict)


def compare(picture: Picture, catalogue: Catalogue, installation: Installation) -> list[Finding]:
    found = [
        *_of_tenants(picture, catalogue, installation),
        *_of_subscriptions(picture, catalogue),
        *_of_stacks(picture),
        *_of_resources(picture),
        *_of_cases(picture),
        *_of_events(picture),
        *(
            Finding(FindingKind.NOT_AUDITED, what, why, "mend the cause, then: tenantry audit")
            for what, why in sorted(picture.unreachable.items())
        ),
    ]
    order = list(FindingKind)
    return sorted(found, key=lambda each: (order.index(each.kind), each.tenant_id or "", each.subject))


def _of_tenants(picture: Picture, catalogue: Catalogue, installation: Installation) -> Iterator[Finding]:
    for record in picture.records:
        if record.tenant_id in picture.running:
            continue
        try:
            yield from list(_of_tenant(picture, record, catalogue, installation))
        except Exception as error:  # one that can't be judged must not keep the others from being audited
            log.error("audit.tenant_unreadable", tenant_id=record.tenant_id, exc_info=error)
            yield Finding(
                FindingKind.NOT_AUDITED,
                record.tenant_id,
                f"judging it failed with {type(error).__name__}",
                "the log has the traceback; with its cause mended: tenantry audit",
                tenant_id=record.tenant_id,
            )


def _of_tenant(
    picture: Picture, record: TenantRecord, catalogue: Catalogue, installation: Installation
) -> Iterator[Finding]:
    documents = picture.documents.get(record.stripe_customer_id or "", ())
    what = bought(record.tenant_id, documents, catalogue, expected_livemode=picture.livemode)
    if what.unreadable:
        yield Finding(
            FindingKind.SUBSCRIPTION_UNREADABLE,
            record.tenant_id,
            "; ".join(sorted(problem.message for problem in what.unreadable)),
            what.unreadable[0].hint,
            tenant_id=record.tenant_id,
        )
    history = payments.remembered(record)
    now = picture.clocks.get(record.stripe_customer_id or "", picture.now)
    decision = decide(standing(record), what.states, catalogue, installation, now, history)
    if what.unreadable and not (any(map(is_paid, what.states)) and decision.verdict.access.serves):
        return  # as in a reconcile, nothing is concluded
    yield from _of_decision(picture, record, decision)
    yield from _doubled(record, what.states)
    if not documents and record.stripe_customer_id is not None and _failed_with(record, "customer_missing"):
        yield Finding(
            FindingKind.CUSTOMER_MISSING,
            record.stripe_customer_id,
            f"tenant {record.tenant_id} is bound to it, and Stripe does not know it",
            "check that TENANTRY_STRIPE_API_KEY is of the account and mode that the customer belongs to",
            tenant_id=record.tenant_id,
        )


def _of_decision(picture: Picture, record: TenantRecord, decision: Decision) -> Iterator[Finding]:
    placement = picture.placements.get(record.tenant_id)
    wanted = decision.access
    waits = record.next_attempt_at is not None or record.failure is not None
    has = Access(placement.access) if placement is not None else None
    order = list(Access)
    tried = f" ({record.failure['code']}: it is {record.shown_state})" if record.failure is not None else ""
    if wanted.serves and (has is None or order.index(has) > order.index(wanted)):
        yield _tenant_finding(
            FindingKind.PAID_NOT_PROVISIONED,
            record,
            f"{decision.why}; it is {record.state} with access {has or 'to nothing'}{tried}",
        )
    elif has is not None and order.index(has) < order.index(wanted):
        yield _tenant_finding(
            FindingKind.PROVISIONED_NOT_PAID,
            record,
            f"{decision.why}; its access is {has}{tried}",
        )
    elif decision.course is Course.DESTROY and not waits:
        yield _tenant_finding(FindingKind.PROVISIONED_NOT_PAID, record, f"{decision.why}; it still stands")
    elif has is not None and (has.value != record.access or not _stack_agrees(record, wanted)):
        enforced = (record.outputs or {}).get("access")
        yield _tenant_finding(
            FindingKind.ACCESS_DRIFT,
            record,
            f"the registry says {record.access}, the placement {has}, the stack enforces {enforced}{tried}",
        )
    if decision.course is Course.DESTROY:
        return
    before, after = recorded_entitlement(record), entitlement_of(decision, payments.remembered(record))
    drift = [
        f"{name} is {getattr(before, name)!r}, should be {getattr(after, name)!r}"
        for name in ("plan", "subscription_id", "subscription_status", "features", "limits", "seats", "retain_until")
        if getattr(before, name) != getattr(after, name)
    ]
    if drift:
        yield _tenant_finding(FindingKind.ENTITLEMENT_DRIFT, record, "; ".join(drift))
    if decision.course is Course.CONVERGE and not waits and record.stands and record.fingerprint is None:
        yield _tenant_finding(FindingKind.STACK_BEHIND, record, "its last operation did not end, and none is planned")


def _stack_agrees(record: TenantRecord, wanted: Access) -> bool:
    if record.outputs is None:
        return False
    enforced = Access(record.outputs["access"])
    closed = (Access.SUSPENDED, Access.HIBERNATED)  # only an instance of a tenant's own sleeps
    return enforced is wanted.enforced or (enforced in closed and wanted.enforced in closed)


def _doubled(record: TenantRecord, states: Sequence[SubscriptionState]) -> Iterator[Finding]:
    paid = sorted(state.subscription_id for state in states if is_paid(state))
    if len(paid) > 1:
        yield Finding(
            FindingKind.TWO_SUBSCRIPTIONS,
            ", ".join(paid),
            f"tenant {record.tenant_id} pays for {len(paid)} subscriptions; {record.subscription_id} counts",
            "cancel the one that is not wanted in Stripe, and refund what was paid twice",
            tenant_id=record.tenant_id,
        )


def _of_subscriptions(picture: Picture, catalogue: Catalogue) -> Iterator[Finding]:
    """Customers whose subscriptions belong to nobody, or to several."""
    bound = {record.stripe_customer_id: record.tenant_id for record in picture.records}
    owner = {record.tenant_id: record.stripe_customer_id for record in picture.records}
    for customer, documents in picture.documents.items():
        tenants: dict[str, list[str]] = defaultdict(list)
        for document in documents:
            try:
                state = subscription_state(document, catalogue, expected_livemode=picture.livemode)
            except Quarantined as problem:
                if customer not in bound and document.get("status") in ("active", "trialing", "past_due"):
                    yield Finding(
                        FindingKind.UNKNOWN_SUBSCRIPTION,
                        str(document.get("id")),
                        f"of customer {customer}: {problem.message}",
                        problem.hint,
                    )
                continue
            if not state.status.ended:
                tenants[state.tenant_id].append(state.subscription_id)
        ours = bound.get(customer)
        for tenant_id, names in sorted(tenants.items()):
            taken = owner.get(tenant_id)
            if len(tenants) > 1 or (ours is not None and tenant_id != ours) or taken not in (None, customer):
                yield Finding(
                    FindingKind.SHARED_CUSTOMER,
                    ", ".join(sorted(names)),
                    f"customer {customer} pays for {', '.join(sorted(tenants))}"
                    + (f", and is bound to {ours}" if ours else "")
                    + (f"; {tenant_id} is customer {taken}'s" if taken not in (None, customer) else ""),
                    f"correct metadata.{TENANT_KEY} in Stripe, or give each tenant a customer of its own",
                    tenant_id=tenant_id,
                )
            elif ours is None and taken is None:
                yield Finding(
                    FindingKind.UNKNOWN_SUBSCRIPTION,
                    names[0],
                    f"customer {customer} pays for tenant {tenant_id}, which nobody has told us of",
                    "tenantry audit --fix adopts it",
                    Remedy.ADOPT,
                    tenant_id,
                )


def _of_stacks(picture: Picture) -> Iterator[Finding]:
    known = {record.stack_name: record for record in picture.records}
    for stack in sorted(picture.versions):
        if stack == PLATFORM_STACK or stack.startswith(f"{PLATFORM_STACK}."):
            continue
        record = known.get(stack)
        if record is not None and record.tenant_id in picture.running:
            continue
        if record is None or (record.state == TenantState.DESTROYED and record.spec is None):
            yield Finding(
                FindingKind.ORPHANED_STACK,
                stack,
                "its state is kept, and the registry has no tenant that stands in it",
                f"look at it: pulumi stack -s {stack}; if nobody needs it: pulumi destroy -s {stack} --remove",
                tenant_id=None if record is None else record.tenant_id,
            )


def _of_resources(picture: Picture) -> Iterator[Finding]:
    standing_now = {
        (record.tenant_id, str(record.generation))
        for record in picture.records
        if record.spec is not None or record.tenant_id in picture.running
    }
    for resource in picture.resources:
        if resource.tenant_id != PLATFORM_STACK and (resource.tenant_id, resource.generation) not in standing_now:
            yield Finding(
                FindingKind.ORPHANED_RESOURCE,
                resource.arn,
                f"has the tags of tenant {resource.tenant_id}, generation {resource.generation}, which does not stand",
                "make sure that nobody needs it, then delete it in AWS",
                tenant_id=resource.tenant_id,
            )


def _of_cases(picture: Picture) -> Iterator[Finding]:
    recorded: dict[str, Mapping[str, Any]] = {}
    owners: dict[str, str] = {}
    for record in picture.records:
        for row in record.payment_cases or ():
            recorded[row["case_id"]] = row
        if record.stripe_customer_id is not None:
            owners[record.stripe_customer_id] = record.tenant_id
    for case in picture.cases:
        tenant_id = owners.get(case.customer_id)
        before = recorded.get(case.case_id)
        known = "none" if before is None else before["status"]  # a refund that failed is none that should be known
        if tenant_id is None or known == case.status:
            continue
        news = "is not recorded" if before is None else f"is recorded as {before['status']}"
        yield Finding(
            FindingKind.PAYMENT_CASE_UNKNOWN,
            case.case_id,
            f"the {case.kind} of customer {case.customer_id} is {case.status} in Stripe and {news}",
            "tenantry audit --fix records it",
            Remedy.RECORD_CASE,
            tenant_id,
        )


def _of_events(picture: Picture) -> Iterator[Finding]:
    for event in picture.events:
        if event.status == "quarantined":
            yield Finding(
                FindingKind.EVENT_QUARANTINED,
                event.event_id,
                f"{event.type}: {event.reason}",
                f"tenantry events show {event.event_id}; with its cause mended: tenantry events retry {event.event_id}",
            )
        elif picture.read_at - event.received_at > EVENT_BOUND:
            yield Finding(
                FindingKind.EVENT_STUCK,
                event.event_id,
                f"{event.type} was received at {event.received_at:%Y-%m-%d %H:%M} UTC and is not handled",
                "is a worker running? tenantry audit --fix queues it again",
                Remedy.REQUEUE_EVENT,
            )


def _tenant_finding(kind: FindingKind, record: TenantRecord, what: str) -> Finding:
    command = f"tenantry tenants reconcile {record.tenant_id}"
    if record.failure is not None and record.failure.get("class") == "operator":
        hint = str(record.failure.get("hint") or "correct what its failure names").rstrip(".")
        return Finding(kind, record.tenant_id, what, f"{hint}; then: {command}", tenant_id=record.tenant_id)
    return Finding(kind, record.tenant_id, what, command, Remedy.RECONCILE, record.tenant_id)


def _failed_with(record: TenantRecord, code: str) -> bool:
    return record.failure is not None and record.failure.get("code") == code
