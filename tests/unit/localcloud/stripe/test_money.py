"""Whatever happens in whatever order, no request fails inside and no money appears or is lost."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.localcloud.stripe.shop import DAY, Object, Shop

ACTIONS = (
    "subscribe", "subscribe", "change", "change", "seats", "cancel", "cancel_later", "uncancel", "coupon",
    "no_coupon", "good_card", "bad_card", "wait", "wait", "wait", "trial", "end_trial", "pause_collection",
    "collect", "pause", "resume", "refund", "dispute", "win", "lose", "pay", "void", "uncollectible", "credit",
    "schedule", "release", "preview", "use", "portal", "reset_anchor",
)  # fmt: skip
STEPS = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 10**6)), max_size=30)


class Life(Shop):
    """One customer to whom things happen. A request may be refused; a failure of the server's own is an error."""

    def __init__(self) -> None:
        super().__init__()
        tiers = [{"up_to": 3, "unit_amount": 700, "flat_amount": 50}, {"up_to": "inf", "unit_amount_decimal": "333.3"}]
        meter = self.post(
            "/v1/billing/meters", display_name="C", event_name="calls", default_aggregation={"formula": "sum"}
        )["id"]
        self.prices = [
            self.monthly,
            self.dear,
            self.price(billing_scheme="tiered", tiers_mode="graduated", tiers=tiers),
            self.price(billing_scheme="tiered", tiers_mode="volume", tiers=tiers),
            self.price(unit_amount=36500, recurring={"interval": "year"}),
            self.price(unit_amount=3, recurring={"interval": "month", "usage_type": "metered", "meter": meter}),
        ]
        self.coupons = [
            self.post("/v1/coupons", **terms)["id"]
            for terms in (
                {"percent_off": 100, "duration": "repeating", "duration_in_months": 2},
                {"percent_off": 33.3, "duration": "forever"},
                {"amount_off": 1234, "currency": "usd"},
            )
        ]
        self.owner = self.customer(address={"country": "DE"})
        self.given = 0  #: what was put on the customer's balance by hand

    def attempt(self, method: str, path: str, **params: Any) -> Object | None:
        answer = self.stripe.request(method, path, params)
        assert answer.status < 500, answer.document
        return answer.document if answer.status == 200 else None

    def one(self, path: str, number: int, **params: Any) -> Object | None:
        found = self.all(path, **params)
        return found[number % len(found)] if found else None

    def step(self, action: str, number: int) -> None:
        if action == "wait":
            self.wait((number % 40) * DAY + number % 86400)
        elif action in ("good_card", "bad_card"):
            self.pay_with(self.owner, "pm_card_visa" if action == "good_card" else "pm_card_chargeCustomerFail")
        elif action == "credit":
            amount = number % 5000 - 2500
            path = f"/v1/customers/{self.owner}/balance_transactions"
            if self.attempt("POST", path, amount=amount, currency="usd") is not None:
                self.given += amount
        elif action == "subscribe":
            more: dict[str, Any] = {"trial_period_days": number % 9} if number % 3 == 0 else {}
            if number % 4 == 0:
                more["discounts"] = [{"coupon": self.coupons[number % 3]}]
            item = {"price": self.prices[number % 6], "quantity": None if number % 6 == 5 else number % 7}
            tax = {"enabled": number % 2 == 0}
            self.attempt("POST", "/v1/subscriptions", customer=self.owner, items=[item], automatic_tax=tax, **more)
        elif action == "use":
            payload = {"stripe_customer_id": self.owner, "value": str(number % 1000)}
            self.attempt("POST", "/v1/billing/meter_events", event_name="calls", payload=payload)
        elif action in ("pay", "void", "uncollectible"):
            invoice = self.one("/v1/invoices", number, customer=self.owner)
            name = "mark_uncollectible" if action == "uncollectible" else action
            if invoice is not None:
                self.attempt("POST", f"/v1/invoices/{invoice['id']}/{name}")
        elif action in ("refund", "dispute"):
            charge = self.one("/v1/charges", number, customer=self.owner)
            if charge is not None and action == "refund":
                self.attempt("POST", "/v1/refunds", charge=charge["id"], amount=1 + number % 4000)
            elif charge is not None and charge["paid"] and not (charge["disputed"] or charge["refunded"]):
                self.control("/_local/disputes", charge=charge["id"])
        elif action in ("win", "lose"):
            dispute = self.one("/v1/disputes", number)
            if dispute is not None and dispute["status"] not in ("won", "lost"):
                self.control(f"/_local/disputes/{dispute['id']}", status="won" if action == "win" else "lost")
        else:
            subscription = self.one("/v1/subscriptions", number, customer=self.owner, status="all")
            if subscription is not None:
                self.change_one(action, number, subscription)

    def change_one(self, action: str, number: int, subscription: Object) -> None:
        path = f"/v1/subscriptions/{subscription['id']}"
        behavior = ("create_prorations", "always_invoice", "none")[number % 3]
        item = {"id": subscription["items"]["data"][0]["id"]}
        now = int(self.now)
        match action:
            case "change":
                price = {**item, "price": self.prices[number % 6]}
                self.attempt("POST", path, items=[price], proration_behavior=behavior)
            case "seats":
                self.attempt("POST", path, items=[{**item, "quantity": number % 9}], proration_behavior=behavior)
            case "cancel":
                self.attempt("DELETE", path, prorate=number % 2 == 0, invoice_now=number % 4 == 0)
            case "cancel_later" | "uncancel":
                self.attempt("POST", path, cancel_at_period_end=action == "cancel_later")
            case "coupon":
                self.attempt("POST", path, discounts=[{"coupon": self.coupons[number % 3]}])
            case "no_coupon":
                self.attempt("DELETE", f"{path}/discount")
            case "trial":
                self.attempt("POST", path, trial_end=now + DAY * (1 + number % 20))
            case "end_trial":
                self.attempt("POST", path, trial_end="now")
            case "pause_collection":
                kind = ("void", "keep_as_draft", "mark_uncollectible")[number % 3]
                self.attempt("POST", path, pause_collection={"behavior": kind})
            case "collect":
                self.attempt("POST", path, pause_collection="")
            case "pause":
                self.attempt("POST", f"{path}/pause", type="subscription")
            case "resume":
                self.attempt("POST", f"{path}/resume")
            case "reset_anchor":
                self.attempt("POST", path, billing_cycle_anchor={"type": "now"}, proration_behavior=behavior)
            case "schedule":
                self.schedule(number, subscription)
            case "release":
                if subscription["schedule"]:
                    self.attempt("POST", f"/v1/subscription_schedules/{subscription['schedule']}/release")
            case "preview":
                change = {"items": [{**item, "price": self.prices[number % 6]}], "proration_behavior": behavior}
                self.attempt(
                    "POST", "/v1/invoices/create_preview", subscription=subscription["id"], subscription_details=change
                )
            case "portal":
                session = self.attempt("POST", "/v1/billing_portal/sessions", customer=self.owner)
                assert session is not None

    def schedule(self, number: int, subscription: Object) -> None:
        made = self.attempt("POST", "/v1/subscription_schedules", from_subscription=subscription["id"])
        if made is None:
            return
        now = made["phases"][0]
        kept = [{name: item[name] for name in ("price", "quantity") if name in item} for item in now["items"]]
        present = {"items": kept, "start_date": now["start_date"], "end_date": now["end_date"]}
        following = {"items": [{"price": self.prices[number % 5], "quantity": number % 5}]}
        self.attempt("POST", f"/v1/subscription_schedules/{made['id']}", phases=[present, following])

    def check(self) -> None:
        invoices = self.all("/v1/invoices", customer=self.owner, expand=["data.payments"])
        charges = {charge["id"]: charge for charge in self.all("/v1/charges", customer=self.owner)}
        balance = self.given
        for invoice in invoices:
            self.check_invoice(invoice)
            if invoice["status"] != "draft" and invoice["status"] != "void" and invoice["ending_balance"] is not None:
                balance += invoice["ending_balance"] - invoice["starting_balance"]
        assert self.get(f"/v1/customers/{self.owner}")["balance"] == balance
        taken = sum(charge["amount"] for charge in charges.values() if charge["paid"])
        paid = sum(payment["amount_paid"] or 0 for invoice in invoices for payment in invoice["payments"]["data"])
        assert taken == paid == sum(invoice["amount_paid"] for invoice in invoices)
        for charge in charges.values():
            refunds = self.all("/v1/refunds", charge=charge["id"])
            assert sum(refund["amount"] for refund in refunds) == charge["amount_refunded"] <= charge["amount"]
            assert charge["refunded"] == (charge["paid"] and charge["amount_refunded"] == charge["amount"])

    def check_invoice(self, invoice: Object) -> None:
        lines = invoice["lines"]["data"]
        off = sum(entry["amount"] for line in lines for entry in line["discount_amounts"])
        added = sum(
            entry["amount"] for line in lines for entry in line["taxes"] if entry["tax_behavior"] == "exclusive"
        )
        assert invoice["subtotal"] == sum(line["amount"] for line in lines)
        assert off == sum(entry["amount"] for entry in invoice["total_discount_amounts"])
        assert invoice["total"] == invoice["subtotal"] - off + added
        assert invoice["amount_due"] == invoice["amount_paid"] + invoice["amount_remaining"] >= 0
        for line in lines:
            assert sum(entry["amount"] for entry in line["discount_amounts"]) <= max(0, line["amount"])
        if invoice["ending_balance"] is not None:
            assert invoice["ending_balance"] == invoice["starting_balance"] + invoice["total"] - invoice["amount_due"]


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_money_is_conserved_through_any_life(steps: list[tuple[str, int]]) -> None:
    life = Life()
    for action, number in steps:
        life.step(action, number)
    life.check()
    life.wait(40 * DAY)
    life.check()
