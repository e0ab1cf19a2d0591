"""Charges, refunds, disputes and the cards behind them."""

from __future__ import annotations

import pytest

from localcloud.stripe.errors import ApiError
from tests.unit.localcloud.stripe.shop import DAY, HOUR, MONTH, Shop


def test_a_paid_invoice_has_its_intent_charge_and_payment(shop: Shop) -> None:
    subscription = shop.subscribe()
    told = shop.types()
    order = [kind for kind in told if kind.startswith(("payment_intent", "charge", "invoice"))]
    assert order == [
        "invoice.created",
        "payment_intent.created",
        "invoice.finalized",
        "charge.succeeded",
        "payment_intent.succeeded",
        "invoice_payment.paid",
        "invoice.paid",
        "invoice.payment_succeeded",
    ]
    invoice = shop.get(f"/v1/invoices/{subscription['latest_invoice']}", expand=["payments"])
    (payment,) = invoice["payments"]["data"]
    assert (payment["status"], payment["amount_paid"]) == ("paid", 3100)
    intent = shop.get(f"/v1/payment_intents/{payment['payment']['payment_intent']}", expand=["latest_charge"])
    charge = intent["latest_charge"]
    assert (intent["status"], intent["amount_received"]) == ("succeeded", 3100)
    assert (charge["paid"], charge["amount"], charge["customer"]) == (True, 3100, subscription["customer"])
    by_intent = {"payment": {"type": "payment_intent", "payment_intent": intent["id"]}}
    (found,) = shop.all("/v1/invoice_payments", **by_intent)
    assert found["invoice"] == invoice["id"]
    assert [item["id"] for item in shop.all("/v1/charges", customer=subscription["customer"])] == [charge["id"]]


def test_a_failed_attempt_is_a_failed_charge(shop: Shop) -> None:
    customer = shop.customer()
    subscription = shop.subscribe(customer)
    method = shop.pay_with(customer, "pm_card_visa")
    shop.control(f"/_local/payment_methods/{method}", decline_code="insufficient_funds")
    shop.until(MONTH + HOUR)
    charge = shop.charge(customer)
    assert (charge["status"], charge["failure_code"]) == ("failed", "card_declined")
    assert charge["outcome"]["reason"] == "insufficient_funds"
    assert shop.subscription(subscription["id"])["status"] == "past_due"
    with pytest.raises(ApiError) as refused:
        shop.post(f"/v1/invoices/{shop.latest(subscription['id'])['id']}/pay")
    assert (refused.value.status, refused.value.decline_code) == (402, "insufficient_funds")
    shop.control(f"/_local/payment_methods/{method}", decline_code=None)
    shop.wait(5 * DAY)
    assert shop.subscription(subscription["id"])["status"] == "active"
    (intent,) = {charge["payment_intent"] for charge in shop.all("/v1/charges", customer=customer)[1:]}
    assert [item["status"] for item in shop.all("/v1/charges", payment_intent=intent)] == [
        "failed",
        "failed",
        "succeeded",
    ]


def test_an_expired_card_is_declined_until_the_bank_sends_a_new_date(shop: Shop) -> None:
    customer = shop.customer()
    subscription = shop.subscribe(customer)
    method = shop.get(f"/v1/customers/{customer}")["invoice_settings"]["default_payment_method"]
    shop.post(f"/v1/payment_methods/{method}", card={"exp_month": 2, "exp_year": 2027})
    assert shop.previous("payment_method.updated") == {"card": {"exp_month": 8, "exp_year": 2035}}
    shop.until(MONTH + HOUR)
    assert shop.latest(subscription["id"])["status"] == "paid", "28 February is in its last month"
    shop.until(MONTH + 32 * DAY)
    assert shop.charge(customer)["failure_code"] == "expired_card"
    shop.control(f"/_local/payment_methods/{method}", exp_month=2, exp_year=2031)
    assert shop.previous("payment_method.automatically_updated") == {"card": {"exp_year": 2027}}
    shop.wait(3 * DAY)
    assert shop.latest(subscription["id"])["status"] == "paid"
    with pytest.raises(ApiError, match="expiration month"):
        shop.post(f"/v1/payment_methods/{method}", card={"exp_month": 13})


def test_a_card_that_wants_its_owner_leaves_the_first_payment_open(shop: Shop) -> None:
    customer = shop.customer("pm_card_authenticationRequired")
    subscription = shop.subscribe(customer)
    assert subscription["status"] == "incomplete"
    assert "invoice.payment_action_required" in shop.types()
    intent = shop.all("/v1/payment_intents", customer=customer)[0]
    assert (intent["status"], shop.all("/v1/charges", customer=customer)) == ("requires_action", [])
    shop.pay_with(customer, "pm_card_visa")
    shop.post(f"/v1/invoices/{subscription['latest_invoice']}/pay")
    assert shop.subscription(subscription["id"])["status"] == "active"


def test_a_voided_or_otherwise_settled_invoice_needs_its_intent_no_longer(shop: Shop) -> None:
    customer = shop.customer("pm_card_chargeCustomerFail")
    first, second = shop.subscribe(customer), shop.subscribe(customer)
    shop.post(f"/v1/invoices/{first['latest_invoice']}/void")
    shop.post(f"/v1/invoices/{second['latest_invoice']}/pay", paid_out_of_band=True)
    assert [intent["status"] for intent in shop.all("/v1/payment_intents", customer=customer)] == ["canceled"] * 2
    payments = shop.all("/v1/invoice_payments", invoice=first["latest_invoice"])
    assert [payment["status"] for payment in payments] == ["canceled"]


def test_refunds_in_parts_and_never_too_much(shop: Shop) -> None:
    customer = shop.subscribe()["customer"]
    charge = shop.charge(customer)
    shop.types()
    part = shop.post("/v1/refunds", charge=charge["id"], amount=1000, reason="requested_by_customer")
    assert shop.previous("charge.refunded") == {"amount_refunded": 0}
    assert shop.types() == ["refund.created", "charge.refunded"]
    assert (part["status"], part["amount"], part["charge"]) == ("succeeded", 1000, charge["id"])
    with pytest.raises(ApiError) as refused:
        shop.post("/v1/refunds", charge=charge["id"], amount=2101)
    assert refused.value.code == "amount_too_large"
    rest = shop.post("/v1/refunds", payment_intent=charge["payment_intent"])
    assert rest["amount"] == 2100
    found = shop.get(f"/v1/charges/{charge['id']}", expand=["refunds"])
    assert (found["refunded"], found["amount_refunded"]) == (True, 3100)
    assert [refund["id"] for refund in found["refunds"]["data"]] == [rest["id"], part["id"]]
    with pytest.raises(ApiError) as again:
        shop.post("/v1/refunds", charge=charge["id"])
    assert again.value.code == "charge_already_refunded"
    for params in ({"charge": "ch_none"}, {}, {"payment_intent": "pi_none"}):
        with pytest.raises(ApiError) as unknown:
            shop.post("/v1/refunds", **params)
        assert unknown.value.status == 400


def test_a_refund_that_the_bank_sends_back_has_not_happened(shop: Shop) -> None:
    charge = shop.charge(shop.subscribe()["customer"])
    refund = shop.post("/v1/refunds", charge=charge["id"])
    shop.control(f"/_local/refunds/{refund['id']}/fail", reason="lost_or_stolen_card")
    assert shop.previous("refund.failed") == {"status": "succeeded", "failure_reason": None}
    found = shop.get(f"/v1/charges/{charge['id']}")
    assert (found["refunded"], found["amount_refunded"]) == (False, 0)


def test_a_dispute_that_is_won_and_one_that_is_lost(shop: Shop) -> None:
    for status in ("won", "lost"):
        charge = shop.charge(shop.subscribe()["customer"])
        shop.types()
        dispute = shop.control("/_local/disputes", charge=charge["id"], reason="fraudulent")
        assert shop.types() == ["charge.updated", "charge.dispute.created", "charge.dispute.funds_withdrawn"]
        assert (dispute["status"], dispute["amount"]) == ("needs_response", 3100)
        assert shop.get(f"/v1/charges/{charge['id']}")["disputed"] is True
        with pytest.raises(ApiError) as refused:
            shop.post("/v1/refunds", charge=charge["id"])
        assert refused.value.code == "charge_disputed"
        answered = shop.post(f"/v1/disputes/{dispute['id']}", evidence={"product_description": "A team plan"})
        assert (answered["status"], answered["evidence_details"]["submission_count"]) == ("under_review", 1)
        shop.types()
        shop.control(f"/_local/disputes/{dispute['id']}", status=status)
        expected = ["charge.dispute.closed"] + ["charge.dispute.funds_reinstated"] * (status == "won")
        assert shop.types() == expected
        assert [found["status"] for found in shop.all("/v1/disputes", charge=charge["id"])] == [status]
        with pytest.raises(ApiError, match="already closed"):
            shop.post(f"/v1/disputes/{dispute['id']}/close")


def test_a_test_card_disputes_by_itself(shop: Shop) -> None:
    customer = shop.subscribe(shop.customer("pm_card_createDispute"))["customer"]
    (dispute,) = shop.all("/v1/disputes", charge=shop.charge(customer)["id"])
    assert dispute["reason"] == "fraudulent"
    assert shop.post(f"/v1/disputes/{dispute['id']}/close")["status"] == "lost"
