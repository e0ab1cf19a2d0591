"""Customers, products, prices, entitlements, checkout, the portal, meters and events through the library."""

from __future__ import annotations

import asyncio
import re
import uuid
from typing import Any

import pytest
import stripe

from localcloud.stripe.render import ABSENT_IF_NULL
from tests.integration.localcloud.stripe.world import API_KEY, DAY, DECLINED, START, Shop, client_of, close

#: Fields that a class of the library has and the API shows only when they are asked for, to platforms, or when they
#: have a value.
NOT_SHOWN = {
    *("deleted", "account", "context", "sources", "subscriptions", "tax", "tax_ids", "cash_balance"),
    *("invoice_credit_balance", "currency_options", "tiers", "line_items", "confirmation_secret", "payments"),
    *(name for names in ABSENT_IF_NULL.values() for name in names),
    "billed_until",
}
#: The library's own httpx transport uses an argument of httpx that is deprecated.
LIBRARY_WARNS = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def fresh(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:12]}"


def assert_whole(found: stripe.StripeObject) -> None:
    """Every field of the library's class that Stripe always shows is there."""
    shown = found.to_dict()
    expected = {name for name in type(found).__annotations__ if name.islower() and not name.startswith("_")}
    assert {name for name in expected if name.rstrip("_") not in shown} <= NOT_SHOWN


def test_objects_have_the_shape_of_the_pinned_api_version(shop: Shop) -> None:
    customer = shop.customer(shop.clock())
    subscription = shop.subscribe(customer.id, expand=["latest_invoice", "customer"])
    invoice: Any = subscription.latest_invoice
    feature = shop.v1.entitlements.features.create({"lookup_key": fresh("f"), "name": "F"})
    link = shop.v1.products.features.create(shop.product, {"entitlement_feature": feature.id})
    session = shop.v1.checkout.sessions.create(
        {
            "mode": "subscription",
            "line_items": [{"price": shop.monthly, "quantity": 1}],
            "success_url": "https://a.test",
        }
    )
    found: list[stripe.StripeObject] = [
        customer,
        subscription,
        shop.item(subscription),
        invoice,
        invoice.lines.data[0],
        shop.v1.products.retrieve(shop.product),
        shop.v1.prices.retrieve(shop.monthly),
        feature,
        link,
        session,
        shop.v1.billing_portal.sessions.create({"customer": customer.id}),
        shop.v1.events.list({"limit": 1}).data[0],
        shop.v1.test_helpers.test_clocks.retrieve(str(customer.test_clock)),
    ]
    for each in found:
        assert_whole(each)
    assert subscription.billing_mode.type == "flexible"
    assert invoice.parent.subscription_details.subscription == subscription.id
    assert "current_period_end" not in subscription.to_dict(), "since basil a period belongs to an item"


def test_a_customer_is_created_changed_and_deleted(shop: Shop) -> None:
    customer = shop.v1.customers.create(
        {"name": "Acme", "email": "a@acme.test", "metadata": {"tenant_id": "acme", "x": "1"}}
    )
    changed = shop.v1.customers.update(customer.id, {"name": "Acme Ltd", "metadata": {"x": "", "y": "2"}})
    assert changed.metadata is not None
    assert (changed.name, changed.metadata.to_dict()) == ("Acme Ltd", {"tenant_id": "acme", "y": "2"})
    assert [found.id for found in shop.v1.customers.list({"email": "a@acme.test"})] == [customer.id]
    assert shop.v1.customers.delete(customer.id).deleted is True
    assert shop.v1.customers.retrieve(customer.id).to_dict() == {
        "id": customer.id,
        "object": "customer",
        "deleted": True,
    }
    assert customer.id not in [found.id for found in shop.v1.customers.list({"limit": 100}).auto_paging_iter()]
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.customers.update(customer.id, {"name": "again"})
    assert (refused.value.http_status, refused.value.code) == (404, "resource_missing")


def test_deleting_a_customer_ends_its_subscriptions(shop: Shop) -> None:
    customer = shop.customer()
    subscription = shop.subscribe(customer.id)
    shop.v1.customers.delete(customer.id)
    ended = shop.v1.subscriptions.retrieve(subscription.id, {"expand": ["customer"]})
    assert ended.status == "canceled"
    assert isinstance(ended.customer, stripe.Customer)
    assert ended.customer.to_dict() == {"id": customer.id, "object": "customer", "deleted": True}
    assert [found.id for found in shop.v1.subscriptions.list({"customer": customer.id, "status": "all"})] == [
        subscription.id
    ]


def test_prices_are_found_by_lookup_key_and_a_key_can_move(shop: Shop) -> None:
    key = fresh("team")
    old = shop.price(shop.product, 900, lookup_key=key)
    found = shop.v1.prices.list({"lookup_keys": [key], "expand": ["data.product"]}).data
    assert [price.id for price in found] == [old]
    assert isinstance(found[0].product, stripe.Product)
    with pytest.raises(stripe.InvalidRequestError) as taken:
        shop.price(shop.product, 1000, lookup_key=key)
    assert taken.value.code == "resource_already_exists"
    new = shop.price(shop.product, 1000, lookup_key=key, transfer_lookup_key=True)
    assert [price.id for price in shop.v1.prices.list({"lookup_keys": [key]})] == [new]
    assert shop.v1.prices.retrieve(old).lookup_key is None


def test_at_most_ten_lookup_keys_a_request(shop: Shop) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="up to 10 lookup keys"):
        shop.v1.prices.list({"lookup_keys": [f"k{number}" for number in range(11)]})


def test_an_archived_price_sells_nothing_new(shop: Shop) -> None:
    price = shop.price(shop.product, 500)
    shop.v1.prices.update(price, {"active": False})
    with pytest.raises(stripe.InvalidRequestError, match="inactive"):
        shop.subscribe(shop.customer().id, price)


def test_lists_are_newest_first_and_paged(shop: Shop) -> None:
    email = f"{fresh('p')}@acme.test"
    made = [shop.v1.customers.create({"email": email}).id for _ in range(7)]
    paged = [found.id for found in shop.v1.customers.list({"email": email, "limit": 3}).auto_paging_iter()]
    assert paged == made[::-1]
    first = shop.v1.customers.list({"email": email, "limit": 3})
    assert first.has_more is True
    before = shop.v1.customers.list({"email": email, "limit": 2, "ending_before": made[0]})
    assert [found.id for found in before] == [made[2], made[1]]
    assert before.has_more is True
    last = shop.v1.customers.list({"email": email, "limit": 3, "starting_after": made[2]})
    assert ([found.id for found in last], last.has_more) == ([made[1], made[0]], False)


def test_a_page_continues_behind_an_object_that_left_the_filter(shop: Shop) -> None:
    customer = shop.customer()
    made = [shop.subscribe(customer.id).id for _ in range(4)]
    first = shop.v1.subscriptions.list({"customer": customer.id, "status": "active", "limit": 2})
    shop.v1.subscriptions.cancel(made[2])  # the cursor of the next page
    rest = shop.v1.subscriptions.list(
        {"customer": customer.id, "status": "active", "limit": 2, "starting_after": first.data[-1].id}
    )
    assert [found.id for found in rest] == [made[1], made[0]]


def test_expansion_stops_after_four_levels(shop: Shop) -> None:
    customer = shop.customer()
    subscription = shop.subscribe(customer.id)
    item = shop.v1.subscriptions.retrieve(subscription.id, {"expand": ["items.data.price.product"]})["items"].data[0]
    assert item.price.product.name == "Team"
    with pytest.raises(stripe.InvalidRequestError, match="more than 4 levels"):
        shop.v1.subscriptions.list({"expand": ["data.items.data.price.product"]})
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        shop.v1.subscriptions.retrieve(subscription.id, {"expand": ["status"]})


def test_entitlements_follow_what_the_customer_subscribes_to(shop: Shop) -> None:
    product = shop.v1.products.create({"name": "Pro"}).id
    price = shop.price(product, 700)
    features = [
        shop.v1.entitlements.features.create({"lookup_key": fresh(name), "name": name}) for name in ("sso", "api")
    ]
    shop.v1.products.features.create(product, {"entitlement_feature": features[0].id})
    clock = shop.clock()
    customer = shop.customer(clock)

    def active() -> set[str]:
        found = shop.v1.entitlements.active_entitlements.list({"customer": customer.id})
        return {entitlement.lookup_key for entitlement in found}

    assert active() == set()
    subscription = shop.subscribe(customer.id, price)
    assert active() == {features[0].lookup_key}
    shop.v1.products.features.create(product, {"entitlement_feature": features[1].id})
    shop.v1.subscriptions.update(subscription.id, {"metadata": {"any": "change"}})
    assert active() == {features[0].lookup_key}, "a feature attached now is for the next period"
    shop.advance(clock, to=START + 29 * DAY)
    assert active() == {feature.lookup_key for feature in features}
    shop.v1.subscriptions.cancel(subscription.id)
    assert active() == set()
    summaries = shop.events(customer.id, "entitlements.active_entitlement_summary.updated")
    assert [len(event["data"]["object"]["entitlements"]["data"]) for event in summaries] == [1, 2, 0]


def test_a_checkout_that_is_completed_makes_customer_and_subscription(shop: Shop) -> None:
    session = shop.v1.checkout.sessions.create(
        {
            "mode": "subscription",
            "line_items": [{"price": shop.monthly, "quantity": 2}],
            "success_url": "https://app.test/done",
            "customer_email": "new@acme.test",
            "client_reference_id": "acme",
            "subscription_data": {"metadata": {"tenant_id": "acme"}, "trial_period_days": 7},
        }
    )
    assert (session.status, session.payment_status, session.amount_total) == ("open", "unpaid", 0), (
        "nothing is due in a trial"
    )
    assert re.match("https://checkout", str(session.url))
    shop.control("POST", f"/_local/checkout/{session.id}/complete", {"payment_method": "pm_card_visa"})
    done = shop.v1.checkout.sessions.retrieve(session.id, {"expand": ["subscription", "customer"]})
    assert (done.status, done.payment_status) == ("complete", "no_payment_required")
    subscription, customer = done.subscription, done.customer
    assert isinstance(subscription, stripe.Subscription)
    assert isinstance(customer, stripe.Customer)
    assert (subscription.status, subscription.metadata.to_dict()) == ("trialing", {"tenant_id": "acme"})
    assert customer.email == "new@acme.test"
    assert shop.v1.checkout.sessions.line_items.list(session.id).data[0].quantity == 2
    completed = shop.events(customer.id, "checkout.session.completed")
    assert completed[0]["data"]["object"]["subscription"] == subscription.id


def test_a_checkout_with_a_failing_card_stays_open(shop: Shop) -> None:
    session = shop.v1.checkout.sessions.create(
        {"mode": "subscription", "line_items": [{"price": shop.monthly}], "success_url": "https://app.test/done"}
    )
    with pytest.raises(AssertionError, match="card_declined"):
        shop.control("POST", f"/_local/checkout/{session.id}/complete", {"payment_method": DECLINED})
    assert shop.v1.checkout.sessions.retrieve(session.id).status == "open"
    assert shop.v1.checkout.sessions.expire(session.id).status == "expired"
    with pytest.raises(stripe.InvalidRequestError, match="expired, not open"):
        shop.v1.checkout.sessions.expire(session.id)


def test_the_portal_is_for_a_customer_that_exists(shop: Shop) -> None:
    customer = shop.customer(card=None)
    session = shop.v1.billing_portal.sessions.create({"customer": customer.id, "return_url": "https://app.test/"})
    assert session.url.startswith("https://billing.stripe.com/")
    for params, code in (({}, "parameter_missing"), ({"customer": "cus_none"}, "resource_missing")):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            shop.v1.billing_portal.sessions.create(params)  # type: ignore[arg-type]
        assert refused.value.code == code


def test_metered_usage_is_billed_after_the_period(shop: Shop) -> None:
    name = fresh("calls")
    meter = shop.v1.billing.meters.create(
        {"display_name": "Calls", "event_name": name, "default_aggregation": {"formula": "sum"}}
    )
    price = shop.v1.prices.create(
        {
            "product": shop.product,
            "currency": "usd",
            "unit_amount": 2,
            "recurring": {"interval": "month", "usage_type": "metered", "meter": meter.id},
        }
    ).id
    clock = shop.clock()
    customer = shop.customer(clock)
    subscription = shop.subscribe(customer.id, price)
    for identifier, value in (("a", "10"), ("b", "32"), ("wrong", "500")):
        shop.v1.billing.meter_events.create(
            {
                "event_name": name,
                "identifier": name + identifier,
                "payload": {"stripe_customer_id": customer.id, "value": value},
            }
        )
    shop.v1.billing.meter_event_adjustments.create(
        {"event_name": name, "type": "cancel", "cancel": {"identifier": f"{name}wrong"}}
    )
    with pytest.raises(stripe.InvalidRequestError) as twice:
        shop.v1.billing.meter_events.create(
            {
                "event_name": name,
                "identifier": f"{name}a",
                "payload": {"stripe_customer_id": customer.id, "value": "1"},
            }
        )
    assert twice.value.code == "duplicate_meter_event"
    with pytest.raises(stripe.InvalidRequestError) as late:
        shop.v1.billing.meter_events.create(
            {
                "event_name": name,
                "timestamp": START - 36 * DAY,
                "payload": {"stripe_customer_id": customer.id, "value": "1"},
            }
        )
    assert late.value.param == "timestamp"
    shop.advance(clock, to=START + 29 * DAY)
    amounts = [invoice.total for invoice in shop.v1.invoices.list({"subscription": subscription.id})]
    assert amounts == [84, 0]


def test_events_are_listed_by_type_and_time(shop: Shop) -> None:
    customer = shop.customer(card=None)
    shop.v1.customers.update(customer.id, {"name": "Other"})
    created = shop.events(customer.id, "customer.created")[0]
    updated = shop.events(customer.id, "customer.updated")[0]
    assert updated["data"]["previous_attributes"] == {"name": "Acme"}
    shown = shop.v1.events.retrieve(created["id"]).to_dict()
    assert shown["data"]["object"]["name"] == "Acme", "an event shows what was, not what is"
    since: Any = {"created": {"gte": created["created"]}, "limit": 100}
    by_pattern = [event.type for event in shop.v1.events.list(since | {"types": ["customer.u*"]}).auto_paging_iter()]
    assert set(by_pattern) == {"customer.updated"}
    by_type = [event.id for event in shop.v1.events.list(since | {"type": "customer.created"}).auto_paging_iter()]
    assert created["id"] in by_type
    assert updated["id"] not in by_type
    assert not shop.v1.events.list({"created": {"lt": 1}}).data
    with pytest.raises(stripe.InvalidRequestError, match="only specify one"):
        shop.v1.events.list({"type": "customer.created", "types": ["customer.updated"]})


def test_an_event_disappears_after_thirty_days_of_its_clock(shop: Shop) -> None:
    clock = shop.clock()
    customer = shop.customer(clock, card=None)
    event = shop.events(customer.id, "customer.created")[0]
    shop.advance(clock, to=START + 30 * DAY - 1)
    assert shop.v1.events.retrieve(event["id"]).id == event["id"]
    shop.advance(clock, to=START + 30 * DAY)
    with pytest.raises(stripe.InvalidRequestError) as gone:
        shop.v1.events.retrieve(event["id"])
    assert gone.value.http_status == 404


def test_webhook_endpoints_show_their_secret_once(shop: Shop) -> None:
    made = shop.v1.webhook_endpoints.create({"url": "http://127.0.0.1:9/hook", "enabled_events": ["invoice.paid"]})
    try:
        assert str(made.secret).startswith("whsec_")
        assert "secret" not in shop.v1.webhook_endpoints.retrieve(made.id)
        changed = shop.v1.webhook_endpoints.update(made.id, {"disabled": True, "enabled_events": ["*"]})
        assert (changed.status, changed.enabled_events) == ("disabled", ["*"])
        with pytest.raises(stripe.InvalidRequestError):
            shop.v1.webhook_endpoints.create({"url": "ftp://nowhere", "enabled_events": ["*"]})
        params: Any = {"url": "http://a.test/", "enabled_events": ["no.such.event"]}
        with pytest.raises(stripe.InvalidRequestError, match="must be one of"):
            shop.v1.webhook_endpoints.create(params)
    finally:
        assert shop.v1.webhook_endpoints.delete(made.id).deleted is True


@LIBRARY_WARNS
def test_the_library_works_asynchronously_too(stripe_url: str) -> None:
    async def work() -> tuple[str, list[str], str]:
        client = stripe.StripeClient(
            API_KEY, base_addresses={"api": stripe_url}, http_client=stripe.HTTPXClient(allow_sync_methods=True)
        )
        customers = await asyncio.gather(
            *(client.v1.customers.create_async({"email": f"{number}@async.test"}) for number in range(20))
        )
        found = await client.v1.customers.list_async({"limit": 7, "email": "3@async.test"})
        listed = [customer.id async for customer in found.auto_paging_iter()]
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await client.v1.customers.retrieve_async("cus_none")
        transport: Any = client._requestor._client
        await transport.close_async()
        transport.close()
        return customers[3].id, listed, str(refused.value.code)

    made, listed, code = asyncio.run(work())
    assert listed[0] == made
    assert code == "resource_missing"


@LIBRARY_WARNS
def test_concurrent_clients_lose_nothing(stripe_url: str) -> None:
    email = f"{fresh('c')}@acme.test"

    async def work() -> None:
        client = stripe.StripeClient(
            API_KEY, base_addresses={"api": stripe_url}, http_client=stripe.HTTPXClient(allow_sync_methods=True)
        )
        await asyncio.gather(*(client.v1.customers.create_async({"email": email}) for _ in range(60)))
        transport: Any = client._requestor._client
        await transport.close_async()
        transport.close()

    asyncio.run(work())
    client = client_of(stripe_url)
    try:
        found = [customer.id for customer in client.v1.customers.list({"email": email, "limit": 25}).auto_paging_iter()]
    finally:
        close(client)
    assert len(found) == len(set(found)) == 60
