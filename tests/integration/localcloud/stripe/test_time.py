"""Time moves: renewals, trials, dunning, on test clocks and on the account's own clock."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
import stripe

from tests.integration.localcloud.stripe.world import API_KEY, DAY, FAILING, GOOD, START, Shop

HOUR = 3600


def renewals(shop: Shop, subscription: str) -> list[stripe.Invoice]:
    """Oldest first, the first invoice left out."""
    found = shop.v1.invoices.list({"subscription": subscription, "limit": 100}).data[::-1]
    return [invoice for invoice in found if invoice.billing_reason == "subscription_cycle"]


def test_a_year_of_renewals_keeps_the_day_of_the_month(shop: Shop) -> None:
    clock = shop.clock()
    subscription = shop.subscribe(shop.customer(clock).id)
    shop.advance(clock, to=START + 366 * DAY)
    found = renewals(shop, subscription.id)
    assert len(found) == 12
    assert {invoice.status for invoice in found} == {"paid"}
    starts = [line.period.start for invoice in found for line in invoice.lines.data]
    days = [(start - START) // DAY for start in starts]
    assert days == [28, 59, 89, 120, 150, 181, 212, 242, 273, 303, 334, 365]
    assert all((start - START) % DAY == 0 for start in starts)


def test_a_renewal_is_a_draft_for_an_hour(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(clock)
    subscription = shop.subscribe(customer.id)
    shop.advance(clock, to=START + 28 * DAY + HOUR - 1)
    assert [invoice.status for invoice in renewals(shop, subscription.id)] == ["draft"]
    shop.advance(clock, to=START + 28 * DAY + HOUR)
    assert [invoice.status for invoice in renewals(shop, subscription.id)] == ["paid"]


def test_events_carry_the_moment_they_happened_at(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(clock)
    shop.subscribe(customer.id)
    shop.advance(clock, to=START + 30 * DAY - 1)
    moments = [event["created"] for event in shop.events(customer.id, "invoice.created")]
    assert moments == [START, START + 28 * DAY]


def test_a_trial_ends_in_a_paid_period(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(clock)
    subscription = shop.subscribe(customer.id, trial_period_days=14)
    end = START + 14 * DAY
    assert (subscription.status, subscription.trial_end) == ("trialing", end)
    assert shop.item(subscription).current_period_end == end
    shop.advance(clock, to=START + 11 * DAY)
    notices = shop.events(customer.id, "customer.subscription.trial_will_end")
    assert [event["created"] for event in notices] == [START + 11 * DAY]
    shop.advance(clock, to=end + HOUR)
    active = shop.subscription(subscription.id)
    assert active.status == "active"
    assert shop.item(active).current_period_start == end
    assert [(invoice.status, invoice.total) for invoice in renewals(shop, subscription.id)] == [("paid", 3100)]
    assert len(shop.events(customer.id, "customer.subscription.trial_will_end")) == 1


def test_a_short_trial_gives_notice_at_once(shop: Shop) -> None:
    customer = shop.customer(shop.clock())
    shop.subscribe(customer.id, trial_period_days=2)
    assert len(shop.events(customer.id, "customer.subscription.trial_will_end")) == 1


@pytest.mark.parametrize(
    ("behavior", "status"), [("pause", "paused"), ("cancel", "canceled"), ("create_invoice", "past_due")]
)
def test_a_trial_without_a_card_ends_as_its_settings_say(shop: Shop, behavior: str, status: str) -> None:
    clock = shop.clock()
    customer = shop.customer(clock, card=None)
    subscription = shop.subscribe(
        customer.id,
        trial_period_days=5,
        trial_settings={"end_behavior": {"missing_payment_method": behavior}},
    )
    shop.advance(clock, to=START + 5 * DAY + HOUR)
    assert shop.subscription(subscription.id).status == status


def test_a_trial_that_ends_paused_sends_no_entitlement_event(shop: Shop) -> None:
    product = shop.v1.products.create({"name": "Pro"}).id
    feature = shop.v1.entitlements.features.create({"lookup_key": f"f_{product}", "name": "F"})
    shop.v1.products.features.create(product, {"entitlement_feature": feature.id})
    clock = shop.clock()
    customer = shop.customer(clock, card=None)
    shop.subscribe(
        customer.id,
        shop.price(product, 100),
        trial_period_days=5,
        trial_settings={"end_behavior": {"missing_payment_method": "pause"}},
    )
    kind = "entitlements.active_entitlement_summary.updated"
    before = len(shop.events(customer.id, kind))
    shop.advance(clock, to=START + 5 * DAY)
    assert shop.v1.entitlements.active_entitlements.list({"customer": customer.id}).data == []
    assert len(shop.events(customer.id, kind)) == before == 1


def test_a_trial_can_be_ended_now_and_started_again(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(clock)
    subscription = shop.subscribe(customer.id, trial_period_days=14)
    ended = shop.v1.subscriptions.update(subscription.id, {"trial_end": "now", "expand": ["latest_invoice"]})
    invoice: Any = ended.latest_invoice
    assert (ended.status, invoice.status, invoice.total) == ("active", "paid", 3100)
    again = shop.v1.subscriptions.update(subscription.id, {"trial_end": START + 9 * DAY, "proration_behavior": "none"})
    assert (again.status, again.trial_end) == ("trialing", START + 9 * DAY)
    with pytest.raises(stripe.InvalidRequestError, match="in the future"):
        shop.v1.subscriptions.update(subscription.id, {"trial_end": START - 1})


def failing_renewal(shop: Shop) -> tuple[str, str, str]:
    """clock, customer and subscription at the first failed attempt of a renewal."""
    clock = shop.clock()
    customer = shop.customer(clock)
    subscription = shop.subscribe(customer.id)
    shop.pay_with(customer.id, FAILING)
    shop.advance(clock, to=START + 28 * DAY + HOUR)
    return clock, customer.id, subscription.id


def test_dunning_tries_again_and_cancels_in_the_end(shop: Shop) -> None:
    clock, customer, subscription = failing_renewal(shop)
    first = START + 28 * DAY + HOUR
    assert shop.subscription(subscription).status == "past_due"
    invoice = renewals(shop, subscription)[0]
    assert (invoice.attempt_count, invoice.next_payment_attempt) == (1, first + 3 * DAY)
    shop.advance(clock, to=first + 3 * DAY)
    assert renewals(shop, subscription)[0].attempt_count == 2
    shop.advance(clock, to=first + 15 * DAY)
    ended = shop.subscription(subscription)
    assert ended.status == "canceled"
    assert ended.cancellation_details is not None
    assert ended.cancellation_details.reason == "payment_failed"
    failures = shop.events(customer, "invoice.payment_failed")
    assert [event["created"] - first for event in failures] == [0, 3 * DAY, 8 * DAY, 15 * DAY]


def test_a_new_card_ends_dunning(shop: Shop) -> None:
    clock, customer, subscription = failing_renewal(shop)
    shop.pay_with(customer, GOOD)
    shop.advance(clock, to=START + 28 * DAY + HOUR + 3 * DAY)
    assert shop.subscription(subscription).status == "active"
    assert [invoice.status for invoice in renewals(shop, subscription)] == ["paid"]


def test_paying_the_invoice_by_hand_ends_dunning(shop: Shop) -> None:
    _, customer, subscription = failing_renewal(shop)
    method = shop.v1.payment_methods.attach(GOOD, {"customer": customer})
    paid = shop.v1.invoices.pay(renewals(shop, subscription)[0].id, {"payment_method": method.id})
    assert paid.status == "paid"
    assert shop.subscription(subscription).status == "active"


def test_a_failed_change_is_tried_again_too(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(clock)
    subscription = shop.subscribe(customer.id)
    shop.pay_with(customer.id, FAILING)
    shop.advance(clock, to=START + 10 * DAY)
    changed = shop.v1.subscriptions.update(
        subscription.id,
        {"items": [{"id": shop.item(subscription).id, "price": shop.dear}], "proration_behavior": "always_invoice"},
    )
    assert changed.status == "past_due"
    shop.pay_with(customer.id, GOOD)
    shop.advance(clock, to=START + 13 * DAY)
    assert shop.subscription(subscription.id).status == "active"


@pytest.mark.parametrize(("then", "status"), [("mark_unpaid", "unpaid"), ("leave", "past_due")])
def test_what_follows_dunning_is_a_setting(own_shop: Shop, then: str, status: str) -> None:
    own_shop.control("POST", "/_local/settings", {"dunning": {"retry_days": [1], "then": then}})
    clock, _, subscription = failing_renewal(own_shop)
    own_shop.advance(clock, to=START + 32 * DAY)
    assert own_shop.subscription(subscription).status == status


def test_an_unpaid_subscription_makes_drafts_and_comes_back_when_paid(own_shop: Shop) -> None:
    own_shop.control("POST", "/_local/settings", {"dunning": {"retry_days": [1], "then": "mark_unpaid"}})
    clock, customer, subscription = failing_renewal(own_shop)
    own_shop.advance(clock, to=START + 62 * DAY)
    assert [invoice.status for invoice in renewals(own_shop, subscription)] == ["open", "draft"]
    own_shop.pay_with(customer, GOOD)
    latest = renewals(own_shop, subscription)[-1]
    assert own_shop.v1.invoices.pay(latest.id).status == "paid"
    assert own_shop.subscription(subscription).status == "active"


def test_clocks_only_go_forward_and_take_their_customers_with_them(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(clock)
    subscription = shop.subscribe(customer.id)
    with pytest.raises(stripe.InvalidRequestError, match="later time"):
        shop.v1.test_helpers.test_clocks.advance(clock, {"frozen_time": START})
    shop.v1.test_helpers.test_clocks.delete(clock)
    for retrieve in (
        lambda: shop.v1.customers.retrieve(customer.id),
        lambda: shop.v1.subscriptions.retrieve(subscription.id),
        lambda: shop.v1.invoices.retrieve(str(subscription.latest_invoice)),
        lambda: shop.v1.test_helpers.test_clocks.retrieve(clock),
    ):
        with pytest.raises(stripe.InvalidRequestError) as gone:
            retrieve()
        assert gone.value.http_status == 404


def test_one_clock_does_not_move_another(shop: Shop) -> None:
    clocks = [shop.clock(), shop.clock()]
    subscriptions = [shop.subscribe(shop.customer(clock).id).id for clock in clocks]
    shop.advance(clocks[0], to=START + 29 * DAY)
    assert [len(renewals(shop, subscription)) for subscription in subscriptions] == [1, 0]


def test_the_accounts_own_time_can_be_moved(own_shop: Shop) -> None:
    customer = own_shop.customer()
    subscription = own_shop.subscribe(customer.id)
    before = own_shop.control("GET", "/_local/clock")
    answer = own_shop.control("POST", "/_local/clock/advance", {"seconds": 32 * DAY})
    assert answer["offset"] == 32 * DAY
    assert 0 <= answer["now"] - before["now"] - 32 * DAY <= 60
    assert answer["steps"] == 3, "notice of the renewal, the renewal, and its payment an hour later"
    assert [invoice.status for invoice in renewals(own_shop, subscription.id)] == ["paid"]
    assert own_shop.v1.customers.create({}).created >= answer["now"]


@pytest.mark.parametrize("seconds", [0, -5, 1.5, "60", True, None, 10**12])
def test_the_accounts_time_moves_by_whole_positive_seconds(shop: Shop, seconds: Any) -> None:
    with pytest.raises(AssertionError, match="seconds must be an integer"):
        shop.control("POST", "/_local/clock/advance", {"seconds": seconds})


def test_the_date_header_of_every_answer_is_the_accounts_time(own_shop: Shop) -> None:
    own_shop.control("POST", "/_local/clock/advance", {"seconds": 400 * DAY})
    headers = {"Authorization": f"Bearer {API_KEY}"}
    for path, status in (
        ("/v1/customers", 200),
        ("/v1/none", 404),
        ("/_local/clock", 200),
        ("/_local/deliveries", 200),
    ):
        answer = httpx.get(own_shop.url + path, headers=headers, trust_env=False)
        assert answer.status_code == status
        told = parsedate_to_datetime(answer.headers.get_list("date")[0]).timestamp()
        assert len(answer.headers.get_list("date")) == 1
        assert 0 <= told - time.time() - 400 * DAY + 1 <= 60
