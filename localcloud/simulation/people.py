"""What customers, and the seller's staff in the dashboard, do over the years: seeded, and each in its own rhythm."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from localcloud.simulation.clock import DAY, VirtualClock
from localcloud.stripe.errors import ApiError
from localcloud.stripe.inprocess import InProcess

GOOD, BAD = "pm_card_visa", "pm_card_chargeCustomerFail"
#: Days between two things that somebody does, on average.
PATIENCE_DAYS = 60.0
ENDED = ("canceled", "incomplete_expired")


@dataclass
class Person:
    """A customer, and when it will do something next (Unix seconds)."""

    tenant_id: str
    customer: str
    next_at: int
    trial_had: bool = False
    disputes: list[str] = field(default_factory=list)  #: open ones


@dataclass
class People:
    """``prices``: lookup key -> price id, monthly and annual, of the plans on sale."""

    stripe: InProcess
    clock: VirtualClock
    chance: random.Random
    prices: dict[str, str]
    everybody: list[Person] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)  #: what Stripe did not let them do, by its code

    def arrive(self, tenant_id: str) -> None:
        """A new customer with a card, good or bad, or without one if it only tries."""
        customer = self._call("POST", "/v1/customers", {"name": tenant_id, "metadata": {"tenant_id": tenant_id}})
        assert customer is not None
        person = Person(tenant_id, customer["id"], self._later())
        self.everybody.append(person)
        kind = self.chance.choices(("good", "bad", "none"), (80, 8, 12))[0]
        if kind != "none":
            self._set_card(person, GOOD if kind == "good" else BAD)
        self._subscribe(person, trial=kind == "none" or self.chance.random() < 0.3)

    def act(self) -> None:
        """Everybody whose time has come does one thing."""
        for person in self.everybody:
            if person.next_at <= self.clock.now:
                person.next_at = self._later()
                self._one(person)

    def _later(self) -> int:
        return self.clock.now + int(self.chance.expovariate(1 / (PATIENCE_DAYS * DAY)))

    def _one(self, person: Person) -> None:
        alive = self._alive(person)
        if not alive:
            if self.chance.random() < 0.35:
                self._come_back(person)
            return
        subscription = alive[-1]
        action = self.chance.choices(*zip(*ACTIONS, strict=True))[0]
        self.done[action.__name__.strip("_")] += 1
        action(self, person, subscription)

    # -- what they do

    def _come_back(self, person: Person) -> None:
        self.done["come_back"] += 1
        self._set_card(person, GOOD)
        self._subscribe(person, trial=False)

    def _change_plan(self, person: Person, subscription: dict[str, Any]) -> None:
        item = subscription["items"]["data"][0]
        price = self.prices[self.chance.choice(sorted(self.prices))]
        self._call("POST", f"/v1/subscriptions/{subscription['id']}", {"items": [{"id": item["id"], "price": price}]})

    def _change_seats(self, person: Person, subscription: dict[str, Any]) -> None:
        item = subscription["items"]["data"][0]
        quantity = self.chance.randint(1, 40)
        self._call(
            "POST", f"/v1/subscriptions/{subscription['id']}", {"items": [{"id": item["id"], "quantity": quantity}]}
        )

    def _lose_card(self, person: Person, subscription: dict[str, Any]) -> None:
        self._set_card(person, BAD)

    def _mend_card(self, person: Person, subscription: dict[str, Any]) -> None:
        """As the portal does: a new card pays what is open."""
        self._set_card(person, GOOD)
        for invoice in self.stripe.account.store.where("invoice", "customer", person.customer):
            if invoice["status"] == "open":
                self._call("POST", f"/v1/invoices/{invoice['id']}/pay", {})
        if subscription["status"] == "paused":
            self._call("POST", f"/v1/subscriptions/{subscription['id']}/resume", {"billing_cycle_anchor": "now"})

    def _leave_at_period_end(self, person: Person, subscription: dict[str, Any]) -> None:
        self._call("POST", f"/v1/subscriptions/{subscription['id']}", {"cancel_at_period_end": True})

    def _stay_after_all(self, person: Person, subscription: dict[str, Any]) -> None:
        self._call("POST", f"/v1/subscriptions/{subscription['id']}", {"cancel_at_period_end": False})

    def _leave_now(self, person: Person, subscription: dict[str, Any]) -> None:
        self._call("DELETE", f"/v1/subscriptions/{subscription['id']}", {})

    def _cross(self, person: Person, subscription: dict[str, Any]) -> None:
        """A second subscription before the first one ends, as a careless checkout makes it."""
        if len(self._alive(person)) < 2:
            self._subscribe(person, trial=False)
            if self.chance.random() < 0.7:
                self._leave_now(person, subscription)

    def _pause_collection(self, person: Person, subscription: dict[str, Any]) -> None:
        behavior = self.chance.choice(("void", "keep_as_draft", "mark_uncollectible"))
        pause: dict[str, Any] = {"behavior": behavior}
        if self.chance.random() < 0.5:
            pause["resumes_at"] = self.clock.now + self.chance.randint(5, 60) * DAY
        self._call("POST", f"/v1/subscriptions/{subscription['id']}", {"pause_collection": pause})

    def _go_on_collecting(self, person: Person, subscription: dict[str, Any]) -> None:
        self._call("POST", f"/v1/subscriptions/{subscription['id']}", {"pause_collection": ""})

    def _dispute(self, person: Person, subscription: dict[str, Any]) -> None:
        charge = self._last_charge(person)
        if charge is not None and not charge["disputed"]:
            try:
                opened = self.stripe.control("POST", "/_local/disputes", {"charge": charge["id"]})
            except ApiError as error:
                self.refused[str(error.code)] += 1
                return
            person.disputes.append(opened["id"])

    def _decide_dispute(self, person: Person, subscription: dict[str, Any]) -> None:
        if person.disputes:
            verdict = self.chance.choice(("won", "lost"))
            self.stripe.control("POST", f"/_local/disputes/{person.disputes.pop()}", {"status": verdict})

    def _refund(self, person: Person, subscription: dict[str, Any]) -> None:
        charge = self._last_charge(person)
        if charge is not None and not charge["disputed"]:
            params: dict[str, Any] = {"charge": charge["id"]}
            if self.chance.random() < 0.4:
                params["amount"] = max(1, charge["amount"] // 3)
            self._call("POST", "/v1/refunds", params)

    def _extend_trial(self, person: Person, subscription: dict[str, Any]) -> None:
        if subscription["status"] == "trialing":
            self._call(
                "POST",
                f"/v1/subscriptions/{subscription['id']}",
                {"trial_end": self.clock.now + 10 * DAY, "proration_behavior": "none"},
            )

    # -- how

    def _subscribe(self, person: Person, *, trial: bool) -> None:
        params: dict[str, Any] = {
            "customer": person.customer,
            "items": [{"price": self.prices[self.chance.choice(sorted(self.prices))]}],
            "metadata": {"tenant_id": person.tenant_id},
        }
        if trial and not person.trial_had:
            person.trial_had = True
            end = self.chance.choice(("cancel", "pause", "create_invoice"))
            params |= {
                "trial_period_days": 14,
                "trial_settings": {"end_behavior": {"missing_payment_method": end}},
            }
        if self.chance.random() < 0.2:
            params["payment_behavior"] = "default_incomplete"
        else:
            params["payment_behavior"] = "allow_incomplete"
        self._call("POST", "/v1/subscriptions", params)

    def _set_card(self, person: Person, card: str) -> None:
        method = self._call("POST", f"/v1/payment_methods/{card}/attach", {"customer": person.customer})
        if method is not None:
            self._call(
                "POST",
                f"/v1/customers/{person.customer}",
                {"invoice_settings": {"default_payment_method": method["id"]}},
            )

    def _alive(self, person: Person) -> list[dict[str, Any]]:
        found = self.stripe.account.store.where("subscription", "customer", person.customer)
        return [each for each in found if each["status"] not in ENDED]

    def _last_charge(self, person: Person) -> dict[str, Any] | None:
        charges = self.stripe.account.store.where("charge", "customer", person.customer)
        paid = [each for each in charges if each["paid"] and not each["refunded"]]
        return paid[-1] if paid else None

    def _call(self, method: str, path: str, params: dict[str, Any]) -> dict[str, Any] | None:
        """None if Stripe refuses it, as when a card is declined: people go on living."""
        try:
            return self.stripe.call(method, path, params)
        except ApiError as error:
            self.refused[str(error.code or error.message)] += 1
            return None


Action = Callable[[People, Person, dict[str, Any]], None]
#: What they do, and how often in comparison.
ACTIONS: Sequence[tuple[Action, int]] = (
    (People._change_plan, 14),
    (People._change_seats, 10),
    (People._lose_card, 14),
    (People._mend_card, 16),
    (People._leave_at_period_end, 6),
    (People._stay_after_all, 5),
    (People._leave_now, 4),
    (People._cross, 4),
    (People._pause_collection, 3),
    (People._go_on_collecting, 3),
    (People._dispute, 3),
    (People._decide_dispute, 6),
    (People._refund, 3),
    (People._extend_trial, 3),
)
