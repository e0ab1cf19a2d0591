"""Who pays a price, what another would cost them, and the requests that move them to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from provisioner.billing.catalogue import Catalogue
from provisioner.billing.gateway import Document
from provisioner.billing.stripe_catalogue.api import CatalogueApi, content_key, part
from provisioner.billing.stripe_catalogue.snapshot import plan_of
from provisioner.billing.stripe_catalogue.wanted import LOOKUP_KEY
from provisioner.billing.translate import tenant_of
from provisioner.errors import NotFound, OperatorNeeded, Quarantined, Reject

#: Statuses in which a subscription will be billed again.
MOVABLE = ("active", "trialing", "past_due", "unpaid", "paused")
ENDED = ("canceled", "incomplete_expired")


class Effective(StrEnum):
    NOW = "now"
    RENEWAL = "renewal"  #: what is paid for lasts; the next period has the new price


class Proration(StrEnum):
    """https://docs.stripe.com/billing/subscriptions/prorations"""

    NONE = "none"  #: the new price counts from the next invoice on
    CREATE_PRORATIONS = "create_prorations"
    ALWAYS_INVOICE = "always_invoice"


@dataclass(frozen=True)
class Subscriber:
    """One subscription that pays a price. ``skip``: why it can't be moved now; None: it can."""

    subscription_id: str
    item_id: str
    tenant_id: str | None
    created: int
    schedule_id: str | None
    skip: str | None


@dataclass(frozen=True)
class Quote:
    """The next invoice as it stands and as it would be; amounts in the currency's smallest unit. ``error``: Stripe
    has no next invoice to show."""

    currency: str = ""
    present: int = 0
    new: int = 0
    error: str | None = None


def subscribers(api: CatalogueApi, price: str) -> list[Subscriber]:
    """Oldest first; those that have ended don't count."""
    listed = api.list("/v1/subscriptions", {"price": price, "expand": ["data.customer"]})
    found = [subscriber_of(document, price) for document in listed if document["status"] not in ENDED]
    return sorted(found, key=lambda each: (each.created, each.subscription_id))


def load(api: CatalogueApi, subscription_id: str, price: str) -> Subscriber | None:
    """As it is now; None when it doesn't pay the price any more."""
    path = f"/v1/subscriptions/{part(subscription_id)}"
    document = api.get(path, {"expand": ["customer"]})
    pays = any(item["price"]["id"] == price for item in document["items"]["data"])
    return subscriber_of(document, price) if pays else None


def subscriber_of(document: Document, price: str) -> Subscriber:
    """Pure: what a subscription (customer expanded) with an item of ``price`` says."""
    item = next(each for each in document["items"]["data"] if each["price"]["id"] == price)
    try:
        tenant, problem = tenant_of(document), None
    except Quarantined as error:
        tenant, problem = None, error.message
    schedule = document.get("schedule")
    if document["status"] not in MOVABLE:
        problem = f"it is {document['status']}"
    elif document.get("cancel_at_period_end") or document.get("cancel_at"):
        problem = "it ends by itself"
    elif schedule is not None:
        problem = f"schedule {schedule} changes it already"
    return Subscriber(
        document["id"],
        item["id"],
        tenant,
        document["created"],
        None if schedule is None else str(schedule),
        problem,
    )


def successor(prices: list[Document], catalogue: Catalogue, old: str, new: str | None) -> tuple[Document, Document]:
    """(the price to leave, the price to go to). ``old``: a price's id; ``new``: an id or lookup key, by default the
    holder of the lookup key that the old one had. ``NotFound``; ``Reject`` if the two don't sell the same plan."""
    by_id = {each["id"]: each for each in prices}
    by_key = {each["lookup_key"]: each for each in prices if each["lookup_key"] is not None}
    leaving = by_id.get(old)
    if leaving is None:
        raise NotFound(f"there is no price {old}", hint="See: tenantry catalogue prices")
    plan = plan_of(leaving)
    if plan is None:
        raise Reject(f"price {old} isn't the catalogue's", hint="tenantry catalogue push --adopt makes it its own")
    wanted = new or (leaving["metadata"] or {}).get(LOOKUP_KEY)
    if wanted is None:
        raise Reject(f"price {old} doesn't say which lookup key it had", hint="Name the new price: --to LOOKUP_KEY")
    going = by_key.get(wanted) or by_id.get(wanted)
    if going is None:
        raise NotFound(f"there is no price {wanted}", hint="tenantry catalogue push creates it")
    sold = catalogue.plan_of_price(str(going["lookup_key"]))
    if sold is None or not going["active"]:
        raise Reject(
            f"price {going['id']} isn't sold by {catalogue.source}", hint="Name one that the catalogue has: --to"
        )
    if going["id"] == leaving["id"]:
        raise Reject(
            f"{old} is the present price of {wanted} itself",
            hint="A superseded price is what subscribers are moved from: tenantry catalogue prices lists them",
        )
    for what, theirs, ours in (
        ("plan", plan, sold.name),
        ("currency", leaving["currency"], going["currency"]),
        ("interval", _terms(leaving), _terms(going)),
    ):
        if theirs != ours:
            raise Reject(
                f"price {leaving['id']} and price {going['id']} differ in {what}: {theirs} and {ours}",
                hint="A migration keeps the plan, the currency and the interval; name another price: --to",
            )
    return leaving, going


def _terms(price: Document) -> str:
    recurring = price["recurring"] or {}
    meter = f" by meter {recurring['meter']}" if recurring.get("meter") else ""
    return f"{recurring.get('interval_count', 1)} {recurring.get('interval')}{meter}"


def quote(api: CatalogueApi, subscriber: Subscriber, price: str, effective: Effective, proration: Proration) -> Quote:
    """What the subscriber would pay with its next invoice, and what with ``price``. Changes nothing."""
    behaviour = Proration.NONE if effective is Effective.RENEWAL else proration
    path, of = "/v1/invoices/create_preview", {"subscription": subscriber.subscription_id}
    changed = {
        "subscription_details": {
            "items": [{"id": subscriber.item_id, "price": price}],
            "proration_behavior": behaviour.value,
        }
    }
    try:
        present, new = api.post(path, of), api.post(path, {**of, **changed})
    except (OperatorNeeded, NotFound) as error:  # nothing will be billed, for example
        return Quote(error=error.message)
    return Quote(str(new["currency"]), int(present["total"]), int(new["total"]))


def set_active(api: CatalogueApi, price: str, active: bool) -> None:
    api.post(f"/v1/prices/{part(price)}", {"active": active})


def move_now(api: CatalogueApi, subscriber: Subscriber, price: str, proration: Proration, *, move: str) -> None:
    """``move``: which move it is: the same one sent twice changes once."""
    path = f"/v1/subscriptions/{part(subscriber.subscription_id)}"
    params = {"items": [{"id": subscriber.item_id, "price": price}], "proration_behavior": proration.value}
    api.post(path, params, idempotency_key=content_key("migrate", move, path, params))


def begin_schedule(api: CatalogueApi, subscriber: Subscriber, *, move: str) -> str:
    """A schedule that goes on as the subscription does; returns its id. The same move gets the same one."""
    params = {"from_subscription": subscriber.subscription_id}
    path = "/v1/subscription_schedules"
    return str(api.post(path, params, idempotency_key=content_key("migrate", move, path, params))["id"])


def finish_schedule(api: CatalogueApi, schedule_id: str, old: str, new: str) -> int:
    """Have it change the price when the present period ends, and then let go of the subscription. Returns when that
    is, in Unix seconds."""
    path = f"/v1/subscription_schedules/{part(schedule_id)}"
    schedule = api.get(path)
    present = _present(schedule)
    unchanged = _phase(present) | {"start_date": present["start_date"], "end_date": present["end_date"]}
    swapped = [{**item, "price": new} if item["price"] == old else item for item in unchanged["items"]]
    following = {
        **{key: value for key, value in unchanged.items() if key not in ("start_date", "end_date", "trial_end")},
        "items": swapped,
        "proration_behavior": Proration.NONE.value,
        "duration": {"interval": _interval(api, new), "interval_count": 1},
    }
    params = {"end_behavior": "release", "phases": [unchanged, following]}
    api.post(path, params)
    return int(present["end_date"])


def _present(schedule: Document) -> Document:
    current = schedule.get("current_phase")
    phases: list[Document] = schedule["phases"]
    if current is None:
        return phases[0]
    return next((phase for phase in phases if phase["start_date"] == current["start_date"]), phases[0])


def _interval(api: CatalogueApi, price: str) -> str:
    return str(api.get(f"/v1/prices/{part(price)}")["recurring"]["interval"])


def _phase(phase: Mapping[str, Any]) -> dict[str, Any]:
    """A phase as it is set, from a phase as it is shown: what isn't repeated is lost."""
    kept: dict[str, Any] = {"items": [_phase_item(item) for item in phase["items"]]}
    for key in ("collection_method", "currency", "default_payment_method", "description", "trial_end"):
        if phase.get(key) is not None:
            kept[key] = _identifier(phase[key])
    if phase.get("metadata"):
        kept["metadata"] = phase["metadata"]
    if (phase.get("automatic_tax") or {}).get("enabled"):
        kept["automatic_tax"] = {"enabled": True}
    if phase.get("default_tax_rates"):
        kept["default_tax_rates"] = [_identifier(rate) for rate in phase["default_tax_rates"]]
    if discounts := _discounts(phase):
        kept["discounts"] = discounts
    return kept


def _phase_item(item: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {"price": _identifier(item["price"])}
    if item.get("quantity") is not None:
        kept["quantity"] = item["quantity"]
    if item.get("metadata"):
        kept["metadata"] = item["metadata"]
    if item.get("tax_rates"):
        kept["tax_rates"] = [_identifier(rate) for rate in item["tax_rates"]]
    if discounts := _discounts(item):
        kept["discounts"] = discounts
    return kept


def _discounts(holder: Mapping[str, Any]) -> list[dict[str, str]]:
    """Each by what it is known by: a discount that runs goes on, a coupon or code is used anew."""
    found = []
    for each in holder.get("discounts") or ():
        key = next((key for key in ("discount", "promotion_code", "coupon") if each.get(key)), None)
        if key is not None:
            found.append({key: str(_identifier(each[key]))})
    return found


def _identifier(value: Any) -> Any:
    return value["id"] if isinstance(value, Mapping) else value
