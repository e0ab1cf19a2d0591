"""A tour of every operation, each request and each answer and each event held against Stripe's own description."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from localcloud.stripe import routing
from tests.integration.localcloud.stripe.openapi import Description
from tests.integration.provisioner.billing import stripe_mock
from tests.unit.localcloud.stripe.shop import DAY, HOUR, MONTH, START, Object, Shop


@pytest.fixture(scope="module")
def description() -> Description:
    return Description(stripe_mock.description())


class Judged(Shop):
    """A shop whose every request, answer and event is checked."""

    def __init__(self, description: Description) -> None:
        self.description = description
        self.seen: set[routing.Route] = set()
        self.wrong: list[str] = []
        super().__init__()

    def _take(self, delivery: Any) -> bool:
        taken = super()._take(delivery)
        event = self.events[-1]
        self._judge(lambda: self.description.check_object(event["data"]["object"], f"event {event['type']}"))
        return taken

    def _judge(self, check: Any) -> None:
        try:
            check()
        except AssertionError as error:
            self.wrong.append(str(error))

    def call(self, method: str, path: str, **params: Any) -> Object:
        found = routing.find(method, path)
        assert found is not None
        self.seen.add(found[0])
        self._judge(lambda: self.description.check_request(method, path, params))
        document = self.stripe.call(method, path, params)
        self._judge(lambda: self.description.check_answer(method, path, document))
        return document

    def get(self, path: str, **params: Any) -> Object:
        return self.call("GET", path, **params)

    def post(self, path: str, **params: Any) -> Object:
        return self.call("POST", path, **params)

    def delete(self, path: str, **params: Any) -> Object:
        return self.call("DELETE", path, **params)


@pytest.fixture
def tour(description: Description) -> Iterator[Judged]:
    shop = Judged(description)
    yield shop
    assert not shop.wrong, "\n\n".join(dict.fromkeys(shop.wrong))


def test_every_operation_answers_in_stripes_shapes(tour: Judged) -> None:
    for part in (_catalogue, _meters, _customers, _lives, _money, _schedules, _pages, _rest):
        part(tour)
    missing = {f"{route.method} {route.pattern.pattern}" for route in set(routing.routes()) - tour.seen}
    assert not missing, "operations that this tour leaves out"


def _catalogue(shop: Judged) -> None:
    tiers = [{"up_to": 5, "unit_amount": 900, "flat_amount": 5}, {"up_to": "inf", "unit_amount_decimal": "0.5"}]
    tiered = shop.price(billing_scheme="tiered", tiers_mode="volume", tiers=tiers, lookup_key="k", nickname="n")
    shop.get(f"/v1/prices/{tiered}", expand=["tiers", "product"])
    shop.post(f"/v1/prices/{tiered}", active=False, metadata={"a": "b"})
    shop.price(unit_amount=5, transform_quantity={"divide_by": 3, "round": "up"}, tax_behavior="exclusive")
    shop.all("/v1/prices", product=shop.product)
    product = shop.post("/v1/products", name="Gone", default_price_data={"currency": "usd", "unit_amount": 7})
    shop.get(f"/v1/products/{product['id']}", expand=["default_price"])
    shop.post(f"/v1/products/{product['id']}", description="d", active=False)
    shop.delete(f"/v1/products/{shop.post('/v1/products', name='Empty')['id']}")
    shop.all("/v1/products", active=True)
    feature = shop.post("/v1/entitlements/features", lookup_key="sso", name="SSO")["id"]
    path = f"/v1/products/{shop.product}/features"
    link = shop.post(path, entitlement_feature=feature)["id"]
    shop.get(f"{path}/{link}")
    shop.all(path)
    shop.get(f"/v1/entitlements/features/{feature}")
    shop.post(f"/v1/entitlements/features/{feature}", name="S")
    shop.all("/v1/entitlements/features")
    other = shop.post("/v1/entitlements/features", lookup_key="x", name="X")["id"]
    shop.delete(f"{path}/{shop.post(path, entitlement_feature=other)['id']}")
    coupon = shop.post("/v1/coupons", percent_off=12.5, duration="repeating", duration_in_months=3, name="Spring")["id"]
    shop.post("/v1/coupons", amount_off=100, currency="usd", id="TEN")
    shop.get(f"/v1/coupons/{coupon}", expand=["applies_to"])
    shop.post(f"/v1/coupons/{coupon}", name="May")
    shop.all("/v1/coupons")
    shop.delete("/v1/coupons/TEN")
    code = shop.post("/v1/promotion_codes", promotion={"type": "coupon", "coupon": coupon}, code="MAY")["id"]
    shop.get(f"/v1/promotion_codes/{code}", expand=["promotion.coupon"])
    shop.post(f"/v1/promotion_codes/{code}", metadata={"a": "b"})
    shop.all("/v1/promotion_codes", code="MAY")


def _meters(shop: Judged) -> None:
    meter = shop.post(
        "/v1/billing/meters", display_name="Calls", event_name="calls", default_aggregation={"formula": "sum"}
    )["id"]
    path = f"/v1/billing/meters/{meter}"
    shop.get(path)
    shop.post(path, display_name="API calls")
    shop.post(f"{path}/deactivate")
    shop.post(f"{path}/reactivate")
    shop.all("/v1/billing/meters")
    customer = shop.customer()
    price = shop.price(unit_amount=2, recurring={"interval": "month", "usage_type": "metered", "meter": meter})
    shop.subscribe(customer, price)
    payload = {"stripe_customer_id": customer, "value": "3"}
    for identifier in ("one", "two"):
        shop.post("/v1/billing/meter_events", event_name="calls", payload=payload, identifier=identifier)
    cancel = {"identifier": "two"}
    shop.post("/v1/billing/meter_event_adjustments", event_name="calls", type="cancel", cancel=cancel)
    bounds = {"start_time": START - START % 60, "end_time": START - START % 60 + 3600}
    if routing.find("GET", f"{path}/event_summaries") is not None:
        shop.get(f"{path}/event_summaries", customer=customer, **bounds)


def _customers(shop: Judged) -> None:
    customer = shop.customer(email="ada@example.com", address={"country": "DE"}, preferred_locales=["de"])
    shop.get(f"/v1/customers/{customer}", expand=["invoice_settings.default_payment_method"])
    shop.post(f"/v1/customers/{customer}", metadata={"tenant_id": "acme"})
    shop.all("/v1/customers", email="ada@example.com")
    shop.get("/v1/customers/search", query="metadata['tenant_id']:'acme'")
    path = f"/v1/customers/{customer}/balance_transactions"
    transaction = shop.post(path, amount=-50, currency="usd")["id"]
    shop.get(f"{path}/{transaction}")
    shop.all(path)
    method = shop.post("/v1/payment_methods", type="card", card={"token": "tok_visa"})["id"]
    shop.get(f"/v1/payment_methods/{method}")
    shop.post(f"/v1/payment_methods/{method}/attach", customer=customer)
    shop.post(f"/v1/payment_methods/{method}", card={"exp_month": 5, "exp_year": 2031})
    shop.all("/v1/payment_methods", customer=customer, type="card")
    shop.all(f"/v1/customers/{customer}/payment_methods")
    shop.post(f"/v1/payment_methods/{method}/detach")
    shop.delete(f"/v1/customers/{shop.customer(card=None)}")


def _lives(shop: Judged) -> None:
    coupon = shop.post("/v1/coupons", percent_off=10, duration="forever")["id"]
    customer = shop.customer(address={"country": "DE"})
    subscription = shop.subscribe(
        customer,
        automatic_tax={"enabled": True},
        discounts=[{"coupon": coupon}],
        expand=["discounts.source.coupon", "latest_invoice.discounts", "customer"],
    )
    path = f"/v1/subscriptions/{subscription['id']}"
    shop.get(path)
    shop.get("/v1/subscriptions/search", query="status:'active'")
    shop.all("/v1/subscriptions", customer=customer)
    shop.all("/v1/subscription_items", subscription=subscription["id"])
    item = subscription["items"]["data"][0]["id"]
    shop.get(f"/v1/subscription_items/{item}")
    shop.post(f"/v1/subscription_items/{item}", quantity=3)
    added = shop.post("/v1/subscription_items", subscription=subscription["id"], price=shop.dear)["id"]
    shop.delete(f"/v1/subscription_items/{added}")
    details = {"items": [{"id": item, "price": shop.dear}], "proration_behavior": "always_invoice"}
    shop.post("/v1/invoices/create_preview", subscription=subscription["id"], subscription_details=details)
    shop.all("/v1/entitlements/active_entitlements", customer=customer)
    held = shop.all("/v1/entitlements/active_entitlements", customer=customer)[0]["id"]
    shop.get(f"/v1/entitlements/active_entitlements/{held}", expand=["feature"])
    shop.post(path, pause_collection={"behavior": "void"}, cancellation_details={"feedback": "unused"})
    shop.post(path, pause_collection="")
    shop.post(f"{path}/pause", type="subscription")
    shop.post(f"{path}/resume")
    shop.delete(f"{path}/discount")
    trial = shop.subscribe(shop.customer(), trial_period_days=5)
    shop.post(f"/v1/subscriptions/{trial['id']}", cancel_at_period_end=True)
    shop.wait(MONTH + 2 * DAY)
    shop.delete(path, cancellation_details={"comment": "Bye"}, prorate=True, invoice_now=True)


def _money(shop: Judged) -> None:
    customer = shop.customer()
    subscription = shop.subscribe(customer)
    invoice = subscription["latest_invoice"]
    shop.get(f"/v1/invoices/{invoice}", expand=["payments", "customer", "lines"])
    shop.all(f"/v1/invoices/{invoice}/lines")
    shop.post(f"/v1/invoices/{invoice}", metadata={"a": "b"})
    shop.all("/v1/invoices", customer=customer)
    payment = shop.all("/v1/invoice_payments", invoice=invoice)[0]
    shop.get(f"/v1/invoice_payments/{payment['id']}", expand=["payment.payment_intent"])
    intent = payment["payment"]["payment_intent"]
    shop.get(f"/v1/payment_intents/{intent}", expand=["latest_charge"])
    shop.all("/v1/payment_intents", customer=customer)
    charge = shop.charge(customer)["id"]
    shop.post(f"/v1/charges/{charge}", description="d")
    refund = shop.post("/v1/refunds", charge=charge, amount=5, reason="duplicate")["id"]
    shop.get(f"/v1/charges/{charge}", expand=["refunds", "customer"])
    shop.get(f"/v1/refunds/{refund}", expand=["charge"])
    shop.post(f"/v1/refunds/{refund}", metadata={"a": "b"})
    shop.all("/v1/refunds", charge=charge)
    shop.control(f"/_local/refunds/{refund}/fail")
    dispute = shop.control("/_local/disputes", charge=charge)["id"]
    shop.get(f"/v1/disputes/{dispute}", expand=["charge"])
    shop.post(f"/v1/disputes/{dispute}", evidence={"customer_name": "Ada"}, submit=True)
    shop.all("/v1/disputes", charge=charge)
    shop.post(f"/v1/disputes/{dispute}/close")
    for card, end in (("pm_card_chargeCustomerFail", "mark_uncollectible"), ("pm_card_authenticationRequired", "void")):
        shop.pay_with(customer, card)
        shop.wait(32 * DAY)
        shop.post(f"/v1/invoices/{shop.latest(subscription['id'])['id']}/{end}")
    shop.pay_with(customer, "pm_card_visa")
    for operation in ("finalize", "pay"):
        while (draft := shop.latest(subscription["id"]))["status"] != "draft":
            shop.wait(HOUR)
        shop.post(f"/v1/invoices/{draft['id']}/{operation}")


def _schedules(shop: Judged) -> None:
    subscription = shop.subscribe()
    made = shop.post("/v1/subscription_schedules", from_subscription=subscription["id"])
    path = f"/v1/subscription_schedules/{made['id']}"
    bounds = {name: made["phases"][0][name] for name in ("start_date", "end_date")}
    phases = [
        {"items": [{"price": shop.monthly, "quantity": 1}], **bounds},
        {"items": [{"price": shop.dear, "quantity": 2}], "trial": True, "metadata": {"a": "b"}},
    ]
    shop.post(path, phases=phases, end_behavior="cancel")
    shop.get(path, expand=["subscription", "phases.items.price"])
    shop.all("/v1/subscription_schedules")
    shop.wait(65 * DAY)
    second = shop.post(
        "/v1/subscription_schedules", customer=subscription["customer"], phases=[{"items": [{"price": shop.monthly}]}]
    )
    shop.post(f"/v1/subscription_schedules/{second['id']}/release")
    third = shop.post("/v1/subscription_schedules", from_subscription=second["subscription"])
    shop.post(f"/v1/subscription_schedules/{third['id']}/cancel")


def _pages(shop: Judged) -> None:
    session = shop.post(
        "/v1/checkout/sessions",
        mode="subscription",
        success_url="https://example.com",
        allow_promotion_codes=True,
        line_items=[{"price": shop.monthly, "quantity": 1, "adjustable_quantity": {"enabled": True, "maximum": 4}}],
        subscription_data={"trial_period_days": 3},
        payment_method_collection="if_required",
    )["id"]
    path = f"/v1/checkout/sessions/{session}"
    shop.all(f"{path}/line_items")
    shop.control(f"/_local/checkout/{session}/complete", promotion_code="MAY", email="a@example.com")
    done = shop.get(path, expand=["subscription", "customer"])
    shop.all("/v1/checkout/sessions")
    items = [{"price": shop.monthly, "quantity": 1}]
    other = shop.post("/v1/checkout/sessions", mode="subscription", line_items=items, success_url="https://a.b")["id"]
    shop.post(f"/v1/checkout/sessions/{other}/expire")
    path = "/v1/billing_portal/configurations"
    product = {"product": shop.product, "prices": [shop.monthly, shop.dear]}
    update = {"enabled": True, "default_allowed_updates": ["price"], "products": [product]}
    features: Object = {
        "subscription_update": update,
        "subscription_cancel": {"enabled": True, "cancellation_reason": {"enabled": True, "options": ["unused"]}},
        "payment_method_update": {"enabled": True},
    }
    made = shop.post(path, features=features, business_profile={"headline": "H"})["id"]
    shop.get(f"{path}/{made}")
    shop.post(f"{path}/{made}", features={"invoice_history": {"enabled": True}})
    shop.all(path)
    flow = {"type": "subscription_cancel", "subscription_cancel": {"subscription": done["subscription"]["id"]}}
    portal = shop.post(
        "/v1/billing_portal/sessions", customer=done["customer"]["id"], configuration=made, flow_data=flow
    )["id"]
    shop.control(f"/_local/portal/{portal}", action="cancel", feedback="unused")


def _rest(shop: Judged) -> None:
    clock = shop.post("/v1/test_helpers/test_clocks", frozen_time=START)["id"]
    path = f"/v1/test_helpers/test_clocks/{clock}"
    shop.subscribe(shop.customer(test_clock=clock))
    shop.post(f"{path}/advance", frozen_time=START + 40 * DAY)
    shop.get(path)
    shop.all("/v1/test_helpers/test_clocks")
    shop.delete(path)
    endpoint = shop.post("/v1/webhook_endpoints", url="https://example.com/", enabled_events=["invoice.paid"])["id"]
    path = f"/v1/webhook_endpoints/{endpoint}"
    shop.get(path)
    shop.post(path, disabled=True)
    shop.all("/v1/webhook_endpoints")
    shop.delete(path)
    shop.get(f"/v1/events/{shop.all('/v1/events', type='invoice.paid')[0]['id']}")
    if routing.find("GET", "/v1/account") is not None:
        shop.get("/v1/account")


def test_the_judge_sees_a_wrong_request_answer_and_object(description: Description) -> None:
    """Else the tour would prove nothing."""
    for check in (
        lambda: description.check_request("POST", "/v1/customers", {"nme": "x"}),
        lambda: description.check_request("GET", "/v1/customers", {"nme": "x"}),
        lambda: description.check_answer("GET", "/v1/customers/cus_1", {"object": "customer", "id": 5}),
        lambda: description.check_object({"object": "refund", "id": "re_1"}, "event"),
        lambda: description.operation("GET", "/v1/nothing"),
    ):
        with pytest.raises(AssertionError):
            check()
