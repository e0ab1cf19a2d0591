"""From Stripe's objects to what the control plane decides on. Pure: documents in, frozen values out.

A subscription is read in the shape of API version 2026-10-28.endive, with its customer expanded; items carry the
billing period. What can't be understood or trusted is ``Quarantined`` with the reason, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn

from components.spec import validate_tenant_id
from provisioner.billing.catalogue import Catalogue, Plan
from provisioner.billing.webhooks import END_OF_TIME, WebhookEvent
from provisioner.errors import Quarantined

TENANT_KEY = "tenant_id"
#: On a price: the plan it sold before its lookup key was transferred to a successor. Its subscribers keep it.
PLAN_KEY = "tenantry_plan"
MAX_QUANTITY = 100_000_000  #: the sum of a subscription's twenty items is then a PostgreSQL integer
NO_PLAN = ""  #: of an ended subscription whose plan can't be told


class SubscriptionStatus(StrEnum):
    """https://docs.stripe.com/api/subscriptions/object#subscription_object-status"""

    INCOMPLETE = "incomplete"
    INCOMPLETE_EXPIRED = "incomplete_expired"
    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    CANCELED = "canceled"
    UNPAID = "unpaid"
    PAUSED = "paused"

    @property
    def ended(self) -> bool:
        """Whether the subscription can never come back to life."""
        return self in (SubscriptionStatus.CANCELED, SubscriptionStatus.INCOMPLETE_EXPIRED)


class CollectionPause(StrEnum):
    """What becomes of invoices while collection is paused: ``void`` stands for "no service", the others for free.

    https://docs.stripe.com/billing/subscriptions/pause-payment
    """

    KEEP_AS_DRAFT = "keep_as_draft"
    MARK_UNCOLLECTIBLE = "mark_uncollectible"
    VOID = "void"


@dataclass(frozen=True)
class SubscriptionItemState:
    lookup_key: str | None  #: None for a price whose key moved on; its plan is in its metadata
    price_id: str
    quantity: int | None  #: None for metered prices
    current_period_end: int
    current_period_start: int = 0


@dataclass(frozen=True)
class SubscriptionState:
    """A subscription as it is now. Times are Unix seconds."""

    subscription_id: str
    customer_id: str
    tenant_id: str
    status: SubscriptionStatus
    plan: str
    items: tuple[SubscriptionItemState, ...]
    created: int
    current_period_end: int  #: the earliest of the items'
    cancel_at: int | None
    cancel_at_period_end: bool
    canceled_at: int | None
    ended_at: int | None
    trial_end: int | None
    collection_paused: CollectionPause | None
    livemode: bool
    resumes_at: int | None = None  #: when a pause of the collection ends by itself
    period_start: int = 0  #: the earliest of the items'
    test_clock: str | None = None  #: the customer's, in test mode: its time is what counts


class Refetch(StrEnum):
    """What an event asks to be loaded again."""

    SUBSCRIPTION = "subscription"
    CUSTOMER = "customer"  #: all of its subscriptions
    DISPUTE = "dispute"
    CHARGE = "charge"  #: and what was refunded of it
    NOTHING = "nothing"  #: recorded and acknowledged, no job


@dataclass(frozen=True)
class ReconcileHint:
    refetch: Refetch
    object_id: str | None = None


_NOTHING = ReconcileHint(Refetch.NOTHING)


def hint_of(event: WebhookEvent) -> ReconcileHint:
    """Which object an event says has changed. Unknown types ask for nothing; ``Quarantined`` for a known one without
    the id of what changed."""
    if event.type.startswith("customer.subscription."):
        return ReconcileHint(Refetch.SUBSCRIPTION, _needed(event, event.subscription_id))
    if event.type.startswith("invoice."):
        # An invoice may have no subscription, and `invoice.upcoming` has no id: then nothing of ours changed.
        return ReconcileHint(Refetch.SUBSCRIPTION, event.subscription_id) if event.subscription_id else _NOTHING
    if event.type in ("customer.updated", "customer.deleted"):
        return ReconcileHint(Refetch.CUSTOMER, _needed(event, event.customer_id))
    if event.type == "entitlements.active_entitlement_summary.updated":
        return ReconcileHint(Refetch.CUSTOMER, _needed(event, event.customer_id))
    if event.type.startswith("charge.dispute."):
        return ReconcileHint(Refetch.DISPUTE, _needed(event, event.object_id))
    if event.type == "charge.refunded":
        return ReconcileHint(Refetch.CHARGE, _needed(event, event.object_id))
    if event.type.startswith("refund."):
        return ReconcileHint(Refetch.CHARGE, _needed(event, event.charge_id))
    if event.type.startswith("subscription_schedule."):
        # A schedule may not have begun its subscription yet, or be rid of it.
        return ReconcileHint(Refetch.SUBSCRIPTION, event.subscription_id) if event.subscription_id else _NOTHING
    if event.type == "checkout.session.completed":
        return ReconcileHint(Refetch.SUBSCRIPTION, event.subscription_id) if event.subscription_id else _NOTHING
    return _NOTHING


def _needed(event: WebhookEvent, identifier: str | None) -> str:
    if identifier is None:
        _quarantine(
            "unreadable_object",
            f"event {event.id} ({event.type}) does not say which object changed",
            "Look at the event in Stripe's dashboard",
        )
    return identifier


def subscription_state(
    document: Mapping[str, Any], catalogue: Catalogue, *, expected_livemode: bool
) -> SubscriptionState:
    """Read a subscription. ``Quarantined`` has one of these codes: ``unreadable_object``, ``livemode_mismatch``,
    ``tenant_missing``, ``tenant_illegal``, ``unknown_price``, ``ambiguous_plan``."""
    identifier = _text(document, "id", "subscription")
    what = f"subscription {identifier}"
    if document.get("object") != "subscription":
        _unreadable(what, "it is no subscription")
    livemode = document.get("livemode")
    if not isinstance(livemode, bool):
        _unreadable(what, "`livemode` is no boolean")
    if livemode != expected_livemode:
        mode = "live" if livemode else "test"
        _quarantine(
            "livemode_mismatch",
            f"{what} is a {mode} mode object, and this installation's key is for the other mode",
            "Point the webhook endpoint and TENANTRY_STRIPE_API_KEY at the same mode",
        )
    try:
        status = SubscriptionStatus(_text(document, "status", what))
    except ValueError:
        _unreadable(what, f"its status {str(document.get('status'))[:40]!r} is unknown")
    customer_id, customer = _customer(document, what)
    tenant_id = _tenant(document, customer, what)
    items = _items(document, what)
    plan = _plan([price for _, price in items], catalogue, what)
    states = tuple(item for item, _ in items)
    pause, resumes_at = _pause(document, what)
    return SubscriptionState(
        subscription_id=identifier,
        customer_id=customer_id,
        tenant_id=tenant_id,
        status=status,
        plan=plan.name,
        items=states,
        created=_time(document, "created", what),
        current_period_end=min(item.current_period_end for item in states),
        cancel_at=_optional_time(document, "cancel_at", what),
        cancel_at_period_end=document.get("cancel_at_period_end") is True,
        canceled_at=_optional_time(document, "canceled_at", what),
        ended_at=_optional_time(document, "ended_at", what),
        trial_end=_optional_time(document, "trial_end", what),
        collection_paused=pause,
        livemode=livemode,
        resumes_at=resumes_at,
        period_start=min(item.current_period_start for item in states),
        test_clock=_reference(customer.get("test_clock")),
    )


def ended_state(document: Mapping[str, Any], tenant_id: str) -> SubscriptionState | None:
    """Of a cancelled subscription that ``subscription_state`` can't read, as when its plan left the catalogue: what
    the retention of its tenant's data depends on, with no plan and no items. ``tenant_id`` is its customer's; None if
    it names another one, has not been cancelled or is no subscription at all."""
    if document.get("object") != "subscription" or document.get("status") != SubscriptionStatus.CANCELED.value:
        return None
    try:
        if tenant_of(document) != tenant_id:
            return None
    except Quarantined as problem:
        if problem.code not in ("tenant_missing", "tenant_illegal"):
            return None
    try:
        what = f"subscription {_text(document, 'id', 'subscription')}"
        customer_id, customer = _customer(document, what)
        return SubscriptionState(
            subscription_id=_text(document, "id", what),
            customer_id=customer_id,
            tenant_id=tenant_id,
            status=SubscriptionStatus.CANCELED,
            plan=NO_PLAN,
            items=(),
            created=_time(document, "created", what),
            current_period_end=0,
            cancel_at=None,
            cancel_at_period_end=False,
            canceled_at=_optional_time(document, "canceled_at", what),
            ended_at=_optional_time(document, "ended_at", what),
            trial_end=None,
            collection_paused=None,
            livemode=document.get("livemode") is True,
            test_clock=_reference(customer.get("test_clock")),
        )
    except Quarantined:
        return None


def tenant_of(document: Mapping[str, Any]) -> str:
    """The tenant a subscription (customer expanded) belongs to. ``Quarantined``: ``tenant_missing``/``_illegal``."""
    what = f"subscription {_text(document, 'id', 'subscription')}"
    return _tenant(document, _customer(document, what)[1], what)


def is_paid(state: SubscriptionState) -> bool:
    """Whether nothing better can be said of a subscription by its own state."""
    if state.status is SubscriptionStatus.ACTIVE:
        return state.collection_paused is not CollectionPause.VOID
    return state.status is SubscriptionStatus.TRIALING


def _customer(document: Mapping[str, Any], what: str) -> tuple[str, Mapping[str, Any]]:
    value = document.get("customer")
    if isinstance(value, str) and value:
        return value, {}
    if isinstance(value, Mapping):
        return _text(value, "id", f"the customer of {what}"), value
    _unreadable(what, "it has no customer")


def _tenant(document: Mapping[str, Any], customer: Mapping[str, Any], what: str) -> str:
    for holder in (document, customer):
        metadata = holder.get("metadata")
        value = metadata.get(TENANT_KEY) if isinstance(metadata, Mapping) else None
        if value is None or value == "":
            continue
        if not isinstance(value, str):
            _quarantine("tenant_illegal", f"{what}: metadata.{TENANT_KEY} is no text", _TENANT_FIX)
        try:
            return validate_tenant_id(value)
        except ValueError as error:
            _quarantine(
                "tenant_illegal", f"{what}: metadata.{TENANT_KEY} {value[:60]!r} is illegal: {error}", _TENANT_FIX
            )
    _quarantine("tenant_missing", f"{what} has no metadata.{TENANT_KEY}, and its customer neither", _TENANT_FIX)


_TENANT_FIX = "Let your backend set metadata.tenant_id on the subscription, then: tenantry events retry"


def _items(document: Mapping[str, Any], what: str) -> list[tuple[SubscriptionItemState, Mapping[str, Any]]]:
    listing = document.get("items")
    data = listing.get("data") if isinstance(listing, Mapping) else None
    if not isinstance(data, list) or not data:
        _unreadable(what, "it has no items")
    found = []
    for item in data:
        if not isinstance(item, Mapping) or not isinstance(item.get("price"), Mapping):
            _unreadable(what, "an item of it has no price")
        price: Mapping[str, Any] = item["price"]
        lookup_key, quantity = price.get("lookup_key"), item.get("quantity")
        if lookup_key is not None and not isinstance(lookup_key, str):
            _unreadable(what, "a price's lookup key is no text")
        if quantity is not None and (
            not isinstance(quantity, int) or isinstance(quantity, bool) or not 0 <= quantity <= MAX_QUANTITY
        ):
            _unreadable(what, f"an item's quantity is no number from 0 to {MAX_QUANTITY}")
        start, end = _time(item, "current_period_start", what), _time(item, "current_period_end", what)
        state = SubscriptionItemState(lookup_key, _text(price, "id", f"a price of {what}"), quantity, end, start)
        found.append((state, price))
    return found


def _pause(document: Mapping[str, Any], what: str) -> tuple[CollectionPause | None, int | None]:
    pause = document.get("pause_collection")
    if pause is None:
        return None, None
    if not isinstance(pause, Mapping):
        _unreadable(what, "`pause_collection` is no object")
    try:
        behavior = CollectionPause(str(pause.get("behavior")))
    except ValueError:
        _unreadable(what, f"its pause_collection.behavior {str(pause.get('behavior'))[:40]!r} is unknown")
    return behavior, _optional_time(pause, "resumes_at", what)


def _reference(value: Any) -> str | None:
    """The id of what is expanded or not."""
    if isinstance(value, Mapping):
        value = value.get("id")
    return value if isinstance(value, str) and value else None


def _plan(prices: list[Mapping[str, Any]], catalogue: Catalogue, what: str) -> Plan:
    plans = {}
    for price in prices:
        plan = _plan_of(price, catalogue)
        if plan is None:
            key = price.get("lookup_key")
            named = f"lookup key {str(key)[:100]!r}" if key else "no lookup key"
            _quarantine(
                "unknown_price",
                f"{what}: no plan in {catalogue.source} has its price {str(price.get('id'))[:100]} ({named})",
                f"Add the lookup key to a plan, or set metadata.{PLAN_KEY} on the price; then: tenantry events retry",
            )
        plans[plan.name] = plan
    if len(plans) > 1:
        _quarantine(
            "ambiguous_plan",
            f"{what} has prices of several plans: {', '.join(sorted(plans))}",
            "Leave one plan's prices on the subscription; then: tenantry events retry",
        )
    return next(iter(plans.values()))


def _plan_of(price: Mapping[str, Any], catalogue: Catalogue) -> Plan | None:
    key = price.get("lookup_key")
    if isinstance(key, str) and (plan := catalogue.plan_of_price(key)) is not None:
        return plan
    metadata = price.get("metadata")
    name = metadata.get(PLAN_KEY) if isinstance(metadata, Mapping) else None
    return catalogue.plans.get(name) if isinstance(name, str) else None


def _text(document: Mapping[str, Any], key: str, what: str) -> str:
    value = document.get(key)
    if not isinstance(value, str) or not value:
        _unreadable(what, f"`{key}` is no text")
    return value


def _time(document: Mapping[str, Any], key: str, what: str) -> int:
    value = _optional_time(document, key, what)
    if value is None:
        _unreadable(what, f"`{key}` is missing")
    return value


def _optional_time(document: Mapping[str, Any], key: str, what: str) -> int | None:
    value = document.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < END_OF_TIME:
        _unreadable(what, f"`{key}` is no timestamp")
    return value


def _unreadable(what: str, reason: str) -> NoReturn:
    _quarantine(
        "unreadable_object",
        f"{what} can't be read: {reason}",
        "Check that the object has the shape of API version 2026-10-28.endive; then: tenantry events retry",
    )


def _quarantine(code: str, message: str, hint: str) -> NoReturn:
    error = Quarantined(message, hint=hint)
    error.code = code
    raise error
