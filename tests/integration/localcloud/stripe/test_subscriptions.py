"""Subscriptions: created, changed, cancelled, paused, resumed, and what they bill."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.integration.localcloud.stripe.world import DAY, DECLINED, FAILING, GOOD, START, Shop

UPDATED = "customer.subscription.updated"


def test_a_paid_subscription_is_active_at_once(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(clock)
    subscription = shop.subscribe(customer.id, metadata={"tenant_id": "acme"}, expand=["latest_invoice"])
    item, invoice = shop.item(subscription), subscription.latest_invoice
    assert isinstance(invoice, stripe.Invoice)
    assert (subscription.status, subscription.metadata.to_dict()) == ("active", {"tenant_id": "acme"})
    assert (item.current_period_start, item.current_period_end) == (START, START + 28 * DAY), (
        "31 January to 28 February"
    )
    assert (invoice.status, invoice.billing_reason, invoice.amount_paid) == ("paid", "subscription_create", 3100)
    assert [kind for kind in shop.types(customer.id) if kind.startswith(("invoice", "customer.subscription"))] == [
        "customer.subscription.created",
        "invoice.created",
        "invoice.finalized",
        "invoice.paid",
        "invoice.payment_succeeded",
        UPDATED,
    ]
    created = shop.events(customer.id, "customer.subscription.created")[0]
    assert created["data"]["object"]["status"] == "incomplete"
    assert shop.events(customer.id, UPDATED)[0]["data"]["previous_attributes"]["status"] == "incomplete"


def test_without_a_way_to_pay_there_is_no_subscription(shop: Shop) -> None:
    customer = shop.customer(card=None)
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source") as refused:
        shop.subscribe(customer.id)
    assert refused.value.code == "resource_missing"
    assert shop.v1.subscriptions.list({"customer": customer.id, "status": "all"}).data == []


def test_a_declined_card_can_not_be_attached(shop: Shop) -> None:
    customer = shop.customer(card=None)
    with pytest.raises(stripe.CardError) as declined:
        shop.v1.payment_methods.attach(DECLINED, {"customer": customer.id})
    assert (declined.value.http_status, declined.value.code) == (402, "card_declined")
    assert shop.v1.payment_methods.list({"customer": customer.id}).data == []


def test_a_first_payment_that_fails_leaves_it_incomplete_until_paid(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(clock, FAILING)
    subscription = shop.subscribe(customer.id)
    assert subscription.status == "incomplete"
    invoice = shop.v1.invoices.retrieve(str(subscription.latest_invoice))
    assert (invoice.status, invoice.attempt_count, invoice.next_payment_attempt) == ("open", 1, None)
    with pytest.raises(stripe.CardError) as declined:
        shop.v1.invoices.pay(invoice.id)
    assert (declined.value.http_status, declined.value.code) == (402, "card_declined")
    assert shop.v1.invoices.retrieve(invoice.id).attempt_count == 2, "an attempt that failed is an attempt"
    assert len(shop.events(customer.id, "invoice.payment_failed")) == 2
    shop.pay_with(customer.id, GOOD)
    assert shop.v1.invoices.pay(invoice.id).status == "paid"
    assert shop.subscription(subscription.id).status == "active"


def test_an_incomplete_subscription_expires_after_23_hours(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(clock, FAILING)
    subscription = shop.subscribe(customer.id)
    shop.advance(clock, to=START + 23 * 3600 - 1)
    assert shop.subscription(subscription.id).status == "incomplete"
    shop.advance(clock, to=START + 23 * 3600)
    assert shop.subscription(subscription.id).status == "incomplete_expired"
    assert shop.v1.invoices.retrieve(str(subscription.latest_invoice)).status == "void"


def test_error_if_incomplete_refuses_and_leaves_nothing(shop: Shop) -> None:
    customer = shop.customer(card=FAILING)
    with pytest.raises(stripe.CardError):
        shop.subscribe(customer.id, payment_behavior="error_if_incomplete")
    assert shop.v1.subscriptions.list({"customer": customer.id, "status": "all"}).data == []
    assert shop.events(customer.id, "customer.subscription.created") == []


def test_a_plan_change_prorates_on_the_next_invoice(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(clock)
    subscription = shop.subscribe(customer.id)
    shop.advance(clock, to=START + 14 * DAY)  # half of 28 days
    changed = shop.v1.subscriptions.update(
        subscription.id, {"items": [{"id": shop.item(subscription).id, "price": shop.dear}]}
    )
    assert shop.item(changed).price.id == shop.dear
    assert shop.item(changed).id == shop.item(subscription).id
    previous = shop.events(customer.id, UPDATED)[-1]["data"]["previous_attributes"]
    assert previous["items"]["data"][0]["price"]["id"] == shop.monthly
    shop.advance(clock, to=START + 28 * DAY)
    invoice: Any = shop.v1.subscriptions.retrieve(subscription.id, {"expand": ["latest_invoice"]}).latest_invoice
    assert [line.amount for line in invoice.lines.data] == [-1550, 31000, 62000]
    assert (invoice.status, invoice.billing_reason) == ("draft", "subscription_cycle")


def test_always_invoice_bills_a_change_now(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(clock)
    subscription = shop.subscribe(customer.id)
    shop.advance(clock, to=START + 14 * DAY)
    changed = shop.v1.subscriptions.update(
        subscription.id,
        {
            "items": [{"id": shop.item(subscription).id, "price": shop.dear}],
            "proration_behavior": "always_invoice",
            "expand": ["latest_invoice"],
        },
    )
    invoice: Any = changed.latest_invoice
    assert (invoice.total, invoice.status, invoice.billing_reason) == (29450, "paid", "subscription_update")


def test_a_change_that_can_not_be_paid_is_refused_or_leaves_it_past_due(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(clock)
    subscription = shop.subscribe(customer.id)
    shop.pay_with(customer.id, FAILING)
    shop.advance(clock, to=START + 14 * DAY)
    change: Any = {
        "items": [{"id": shop.item(subscription).id, "price": shop.dear}],
        "proration_behavior": "always_invoice",
    }
    with pytest.raises(stripe.CardError):
        shop.v1.subscriptions.update(subscription.id, change | {"payment_behavior": "error_if_incomplete"})
    unchanged = shop.subscription(subscription.id)
    assert (unchanged.status, shop.item(unchanged).price.id) == ("active", shop.monthly)
    changed = shop.v1.subscriptions.update(subscription.id, change)
    assert (changed.status, shop.item(changed).price.id) == ("past_due", shop.dear)


def test_another_interval_starts_a_new_cycle(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(clock)
    subscription = shop.subscribe(customer.id)
    now = START + 14 * DAY
    shop.advance(clock, to=now)
    changed = shop.v1.subscriptions.update(
        subscription.id,
        {"items": [{"id": shop.item(subscription).id, "price": shop.yearly}], "expand": ["latest_invoice"]},
    )
    item, invoice = shop.item(changed), changed.latest_invoice
    assert isinstance(invoice, stripe.Invoice)
    assert (item.current_period_start, item.current_period_end) == (now, now + 365 * DAY)
    assert (invoice.total, invoice.status) == (36500 - 1550, "paid")


def test_the_anchor_can_be_reset(shop: Shop) -> None:
    clock = shop.clock()
    subscription = shop.subscribe(shop.customer(clock).id)
    shop.advance(clock, to=START + 14 * DAY)
    changed = shop.v1.subscriptions.update(subscription.id, {"billing_cycle_anchor": {"type": "now"}})
    assert changed.billing_cycle_anchor == shop.item(changed).current_period_start == START + 14 * DAY
    old: Any = {"billing_cycle_anchor": "now"}  # the form of earlier versions
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.subscriptions.update(subscription.id, old)


def test_a_future_anchor_bills_the_part_until_it(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(clock)
    subscription = shop.subscribe(customer.id, billing_cycle_anchor=START + 14 * DAY, expand=["latest_invoice"])
    invoice: Any = subscription.latest_invoice
    assert shop.item(subscription).current_period_end == START + 14 * DAY
    assert invoice.total == round(3100 * 14 / 31)
    with pytest.raises(stripe.InvalidRequestError, match="natural billing date"):
        shop.subscribe(customer.id, billing_cycle_anchor=START + 60 * DAY)


def test_cancelling_now_ends_it(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(clock)
    subscription = shop.subscribe(customer.id)
    ended = shop.v1.subscriptions.cancel(
        subscription.id, {"cancellation_details": {"comment": "too dear", "feedback": "too_expensive"}}
    )
    assert (ended.status, ended.ended_at, ended.canceled_at) == ("canceled", START, START)
    assert ended.cancellation_details is not None
    assert ended.cancellation_details.to_dict()["reason"] == "cancellation_requested"
    assert ended.cancellation_details.comment == "too dear"
    deleted = shop.events(customer.id, "customer.subscription.deleted")
    assert [event["data"]["object"]["status"] for event in deleted] == ["canceled"]
    with pytest.raises(stripe.InvalidRequestError) as again:
        shop.v1.subscriptions.cancel(subscription.id)
    assert again.value.http_status == 404
    with pytest.raises(stripe.InvalidRequestError, match="canceled subscription can only update"):
        shop.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": False})
    assert shop.v1.subscriptions.list({"customer": customer.id}).data == [], "ended ones are shown when asked for"


def test_a_cancellation_can_credit_unused_time(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(clock)
    subscription = shop.subscribe(customer.id)
    shop.advance(clock, to=START + 14 * DAY)
    shop.v1.subscriptions.cancel(subscription.id, {"prorate": True, "invoice_now": True})
    assert [invoice.total for invoice in shop.v1.invoices.list({"subscription": subscription.id})] == [-1550, 3100]


def test_cancelling_at_the_period_end_lets_it_run_out(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(clock)
    subscription = shop.subscribe(customer.id)
    leaving = shop.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    end = START + 28 * DAY
    assert (leaving.status, leaving.cancel_at, leaving.cancel_at_period_end) == ("active", end, True)
    stays = shop.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": False})
    assert (stays.cancel_at, stays.canceled_at, stays.cancel_at_period_end) == (None, None, False)
    shop.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    shop.advance(clock, to=end - 1)
    assert shop.subscription(subscription.id).status == "active"
    shop.advance(clock, to=end)
    ended = shop.subscription(subscription.id)
    assert (ended.status, ended.ended_at) == ("canceled", end)
    assert len(shop.v1.invoices.list({"subscription": subscription.id}).data) == 1


@pytest.mark.parametrize(
    ("given", "expected"), [(START + 5 * DAY, START + 5 * DAY), ("min_period_end", START + 28 * DAY)]
)
def test_a_subscription_can_be_born_with_its_end(shop: Shop, given: int | str, expected: int) -> None:
    clock = shop.clock()
    subscription = shop.subscribe(shop.customer(clock).id, cancel_at=given)
    assert (subscription.cancel_at, subscription.canceled_at) == (expected, START)
    shop.advance(clock, to=expected)
    assert shop.subscription(subscription.id).status == "canceled"


def test_items_are_added_changed_and_removed(shop: Shop) -> None:
    clock = shop.clock()
    subscription = shop.subscribe(shop.customer(clock).id)
    seats = shop.price(shop.product, 100)
    added = shop.v1.subscription_items.create({"subscription": subscription.id, "price": seats, "quantity": 3})
    assert added.current_period_end == shop.item(subscription).current_period_end
    assert shop.v1.subscription_items.update(added.id, {"quantity": 5}).quantity == 5
    listed = shop.v1.subscription_items.list({"subscription": subscription.id}).data
    assert [(item.price.id, item.quantity) for item in listed] == [(shop.monthly, 1), (seats, 5)]
    assert shop.v1.subscription_items.retrieve(added.id).quantity == 5
    with pytest.raises(stripe.InvalidRequestError, match="same plan"):
        shop.v1.subscription_items.create({"subscription": subscription.id, "price": seats})
    moved = shop.v1.subscription_items.update(added.id, {"price": shop.dear})
    assert moved.quantity == 1, "another price starts with one"
    assert shop.v1.subscription_items.delete(added.id).deleted is True
    with pytest.raises(stripe.InvalidRequestError, match="at least one active plan"):
        shop.v1.subscription_items.delete(shop.item(subscription).id)
    assert len(shop.subscription(subscription.id)["items"].data) == 1


def test_collection_can_be_paused_and_goes_on_by_itself(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(clock)
    subscription = shop.subscribe(customer.id)
    resumes = START + 40 * DAY
    paused = shop.v1.subscriptions.update(
        subscription.id, {"pause_collection": {"behavior": "void", "resumes_at": resumes}}
    )
    assert paused.status == "active", "only the collection is paused"
    shop.advance(clock, to=START + 29 * DAY)
    assert [invoice.status for invoice in shop.v1.invoices.list({"subscription": subscription.id})] == ["void", "paid"]
    shop.advance(clock, to=resumes)
    assert shop.subscription(subscription.id).pause_collection is None


def test_a_paused_subscription_bills_nothing_until_it_is_resumed(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(clock)
    subscription = shop.subscribe(customer.id)
    shop.advance(clock, to=START + 14 * DAY)
    paused = shop.v1.subscriptions.pause(subscription.id)
    assert paused.status == "paused"
    assert paused.status_details is not None
    assert paused.status_details.to_dict()["paused"]["subscription"] == {"type": "pause_requested"}
    now = START + 28 * DAY + 3600
    shop.advance(clock, to=now)
    assert len(shop.v1.invoices.list({"subscription": subscription.id}).data) == 1
    resumed = shop.v1.subscriptions.resume(subscription.id, {"expand": ["latest_invoice"]})
    invoice: Any = resumed.latest_invoice
    assert (resumed.status, resumed.status_details) == ("active", None)
    assert shop.item(resumed).current_period_start == now
    assert (invoice.total, invoice.status) == (3100 - 1550, "paid")
    kinds = [kind for kind in shop.types(customer.id) if kind.endswith(("paused", "resumed"))]
    assert kinds == ["customer.subscription.paused", "customer.subscription.resumed"]
    with pytest.raises(stripe.InvalidRequestError, match="status `paused`"):
        shop.v1.subscriptions.resume(subscription.id)


def test_a_resumption_that_waits_for_payment_expires(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(clock)
    subscription = shop.subscribe(customer.id)
    shop.v1.subscriptions.pause(subscription.id, {"bill_for": {"unused_time_from": {"type": "none"}}})
    waiting = shop.v1.subscriptions.resume(subscription.id, {"payment_behavior": "resume_on_payment_success"})
    assert waiting.status == "paused"
    shop.advance(clock, to=START + 23 * 3600)
    assert shop.v1.invoices.retrieve(str(waiting.latest_invoice)).status == "void"
    assert shop.subscription(subscription.id).status == "paused"
    waiting = shop.v1.subscriptions.resume(subscription.id, {"payment_behavior": "resume_on_payment_success"})
    shop.v1.invoices.pay(str(waiting.latest_invoice))
    assert shop.subscription(subscription.id).status == "active"


def test_a_resumption_whose_card_fails_is_past_due(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(clock)
    subscription = shop.subscribe(customer.id)
    shop.v1.subscriptions.pause(subscription.id, {"bill_for": {"unused_time_from": {"type": "none"}}})
    shop.pay_with(customer.id, FAILING)
    shop.advance(clock, to=START + 3 * DAY)
    assert shop.v1.subscriptions.resume(subscription.id).status == "past_due"


def test_invoices_can_be_finalized_voided_and_written_off(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(clock)
    subscription = shop.subscribe(customer.id)
    shop.pay_with(customer.id, FAILING)
    shop.advance(clock, to=START + 28 * DAY)  # the renewal is a draft for an hour
    draft = shop.v1.invoices.list({"subscription": subscription.id, "status": "draft"}).data[0]
    changed = shop.v1.invoices.update(draft.id, {"description": "thanks", "metadata": {"a": "b"}})
    assert changed.description == "thanks"
    opened = shop.v1.invoices.finalize_invoice(draft.id)
    assert (opened.status, opened.number is not None) == ("open", True)
    with pytest.raises(stripe.InvalidRequestError, match="already finalized"):
        shop.v1.invoices.finalize_invoice(draft.id)
    assert shop.v1.invoices.mark_uncollectible(draft.id).status == "uncollectible"
    assert shop.v1.invoices.void_invoice(draft.id).status == "void"
    with pytest.raises(stripe.InvalidRequestError, match="can't be paid"):
        shop.v1.invoices.pay(draft.id)
    assert shop.v1.invoices.line_items.list(draft.id).data[0].amount == 3100


def test_an_invoice_that_is_sent_is_due_later(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(clock, card=None)
    with pytest.raises(stripe.InvalidRequestError, match="days_until_due"):
        shop.subscribe(customer.id, collection_method="send_invoice")
    subscription = shop.subscribe(customer.id, collection_method="send_invoice", days_until_due=10)
    assert subscription.status == "active"
    shop.advance(clock, to=START + 3600)
    invoice = shop.v1.invoices.retrieve(str(subscription.latest_invoice))
    assert (invoice.status, invoice.due_date) == ("open", START + 3600 + 10 * DAY)
    paid = shop.v1.invoices.pay(invoice.id, {"paid_out_of_band": True})
    assert paid.status == "paid"


def test_subscriptions_are_filtered(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(clock)
    active, ended = shop.subscribe(customer.id), shop.subscribe(customer.id, shop.dear)
    shop.v1.subscriptions.cancel(ended.id)

    def ids(**params: Any) -> list[str]:
        filters: Any = {"customer": customer.id, **params}
        return [found.id for found in shop.v1.subscriptions.list(filters)]

    assert ids() == ids(status="active") == [active.id]
    assert ids(status="ended") == ids(status="canceled") == [ended.id]
    assert ids(status="all") == [ended.id, active.id]
    assert ids(status="all", price=shop.dear) == [ended.id]
    assert ids(status="all", current_period_end={"gt": START + 40 * DAY}) == []
    assert [found.id for found in shop.v1.subscriptions.list({"test_clock": clock, "status": "all"})] == [
        ended.id,
        active.id,
    ]
