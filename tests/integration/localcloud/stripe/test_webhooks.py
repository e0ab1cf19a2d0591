"""Deliveries: signed, retried with backoff, and on request duplicated, delayed, reordered, dropped."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
import stripe

from provisioner.billing import webhooks
from provisioner.errors import SignatureInvalid
from tests.integration.localcloud.stripe.receiver import Delivery, Receiver
from tests.integration.localcloud.stripe.world import Shop, eventually


def listen(shop: Shop, receiver: Receiver, *types: Any) -> str:
    """The secret of an endpoint for the types."""
    made = shop.v1.webhook_endpoints.create({"url": receiver.url, "enabled_events": list(types or ("*",))})
    return str(made.secret)


def state_of(shop: Shop, event: str) -> str:
    return str(shop.control("GET", f"/_local/deliveries?event={event}")["data"][0]["state"])


def names(shop: Shop, count: int) -> list[str]:
    return [shop.v1.customers.create({"name": f"customer {number}"}).id for number in range(count)]


def subject(delivery: Delivery) -> str:
    return str(delivery.event["data"]["object"]["id"])


def test_a_delivery_verifies_with_the_library_and_with_our_verification(own_shop: Shop, receiver: Receiver) -> None:
    secret = listen(own_shop, receiver)
    customer = own_shop.customer(own_shop.clock(), metadata={"tenant_id": "acme"})
    subscription = own_shop.subscribe(customer.id, metadata={"tenant_id": "acme"})
    (delivery,) = receiver.wait_for("customer.subscription.created")
    assert delivery.content_type == "application/json; charset=utf-8"
    theirs = stripe.Webhook.construct_event(delivery.body, delivery.signature, secret)
    assert theirs.data.object["id"] == subscription.id
    ours = webhooks.verify(delivery.body, delivery.signature, [secret], now=time.time())
    assert (ours.id, ours.type, ours.subscription_id) == (delivery.id, delivery.type, subscription.id)
    assert (ours.customer_id, ours.livemode, ours.api_version) == (customer.id, False, "2026-10-28.endive")
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(delivery.body + b" ", delivery.signature, secret)
    with pytest.raises(SignatureInvalid):
        webhooks.verify(delivery.body, delivery.signature, ["whsec_other"], now=time.time())


def test_what_is_delivered_is_what_the_api_shows(own_shop: Shop, receiver: Receiver) -> None:
    listen(own_shop, receiver)
    own_shop.customer(card=None)
    (delivery,) = receiver.wait_for("customer.created")
    eventually(lambda: state_of(own_shop, delivery.id) == "delivered", "the event was not marked delivered")
    shown = own_shop.v1.events.retrieve(delivery.id).to_dict()
    assert shown.pop("pending_webhooks") == 0
    assert delivery.event["pending_webhooks"] == 1
    assert {name: value for name, value in delivery.event.items() if name != "pending_webhooks"} == shown


def test_an_endpoint_gets_the_types_it_asked_for(own_shop: Shop, receiver: Receiver) -> None:
    listen(own_shop, receiver, "customer.deleted")
    customer = own_shop.customer(card=None)
    own_shop.v1.customers.delete(customer.id)
    receiver.wait_for("customer.deleted")
    assert [delivery.type for delivery in receiver.deliveries] == ["customer.deleted"]


def test_a_failing_receiver_gets_it_again_later_and_later(own_shop: Shop, receiver: Receiver) -> None:
    listen(own_shop, receiver, "customer.created")
    own_shop.control("POST", "/_local/settings", {"retry": {"base_s": 0.1, "factor": 2, "cap_s": 60, "attempts": 16}})
    statuses = [500, 302, 404, 200]
    receiver.answer = lambda body: statuses[len(receiver.deliveries)]
    own_shop.customer(card=None)
    arrived = receiver.wait(lambda all_of_them: len(all_of_them) == 4, "it was not tried four times")
    assert [delivery.status for delivery in arrived] == statuses
    assert len({delivery.id for delivery in arrived}) == 1
    pauses = [later.at - earlier.at for earlier, later in itertools.pairwise(arrived)]
    for pause, least in zip(pauses, (0.1, 0.2, 0.4), strict=True):
        assert pause >= least
    eventually(lambda: state_of(own_shop, arrived[0].id) == "delivered", "it was not marked delivered")
    attempts = own_shop.control("GET", f"/_local/deliveries?event={arrived[0].id}")["data"][0]["attempts"]
    assert [attempt["status"] for attempt in attempts] == statuses


def test_each_attempt_is_signed_afresh(own_shop: Shop, receiver: Receiver) -> None:
    secret = listen(own_shop, receiver, "customer.created")
    own_shop.control("POST", "/_local/settings", {"retry": {"base_s": 1.1}})
    receiver.answer = lambda body: 200 if receiver.deliveries else 500
    own_shop.customer(card=None)
    first, second = receiver.wait(lambda arrived: len(arrived) == 2, "it was not tried again")
    assert first.body == second.body
    assert first.signature != second.signature
    for delivery in (first, second):
        webhooks.verify(delivery.body, delivery.signature, [secret], tolerance_s=60, now=time.time())


def test_retries_end(own_shop: Shop, receiver: Receiver) -> None:
    listen(own_shop, receiver, "customer.created")
    own_shop.control("POST", "/_local/settings", {"retry": {"base_s": 0.01, "attempts": 3}})
    receiver.answer = lambda body: 503
    own_shop.customer(card=None)
    arrived = receiver.wait(lambda all_of_them: len(all_of_them) == 3, "it was not tried three times")
    eventually(lambda: state_of(own_shop, arrived[0].id) == "failed", "it was not given up")
    undelivered = [event.id for event in own_shop.v1.events.list({"delivery_success": False})]
    assert undelivered == [arrived[0].id]
    receiver.answer = lambda body: 200
    assert len(own_shop.control("POST", f"/_local/redeliver/{arrived[0].id}")["deliveries"]) == 1
    receiver.wait_for("customer.created")
    eventually(lambda: state_of(own_shop, arrived[0].id) == "delivered", "the redelivery was not marked")
    assert own_shop.v1.events.list({"delivery_success": False}).data == []


def test_nobody_listening_is_tried_again_until_somebody_does(own_shop: Shop) -> None:
    own_shop.control("POST", "/_local/settings", {"retry": {"base_s": 0.05, "factor": 1}})
    with Receiver() as gone:
        endpoint = own_shop.v1.webhook_endpoints.create({"url": gone.url, "enabled_events": ["customer.created"]})
    customer = own_shop.customer(card=None)
    event = own_shop.events(customer.id, "customer.created")[0]["id"]

    def attempts() -> list[dict[str, Any]]:
        return list(own_shop.control("GET", f"/_local/deliveries?event={event}")["data"][0]["attempts"])

    eventually(lambda: len(attempts()) >= 2, "it was not tried twice")
    assert attempts()[0]["error"] == "ConnectionRefusedError"
    with Receiver() as here:
        own_shop.v1.webhook_endpoints.update(endpoint.id, {"url": here.url})
        assert here.wait_for("customer.created")[0].id == event


def test_a_slow_endpoint_delays_nobody_else(own_shop: Shop, receiver: Receiver) -> None:
    with Receiver() as slow:
        blocked: list[bytes] = []

        def hang(body: bytes) -> int:
            blocked.append(body)
            eventually(lambda: len(receiver.deliveries) >= 40, "the fast endpoint was held up")
            return 200

        slow.answer = hang
        listen(own_shop, slow, "customer.created")
        listen(own_shop, receiver, "customer.created")
        names(own_shop, 40)
        receiver.wait_for("customer.created", 40)
        assert blocked
        slow.wait_for("customer.created", 40)


def test_duplicates(own_shop: Shop, receiver: Receiver) -> None:
    listen(own_shop, receiver, "customer.created")
    own_shop.control("POST", "/_local/faults", {"duplicate": 2})
    made = names(own_shop, 3)
    arrived = receiver.wait(lambda all_of_them: len(all_of_them) >= 9, "there were no copies")
    assert sorted(subject(delivery) for delivery in arrived) == sorted(made * 3)
    assert len({delivery.id for delivery in arrived}) == 3


def test_copies_of_a_failing_delivery_stop_when_one_was_taken(own_shop: Shop, receiver: Receiver) -> None:
    listen(own_shop, receiver, "customer.created", "customer.deleted")
    own_shop.control("POST", "/_local/faults", {"duplicate": 1})
    own_shop.control("POST", "/_local/settings", {"retry": {"base_s": 0.2, "factor": 1}})
    receiver.answer = lambda body: 500 if len(receiver.deliveries) < 2 else 200
    customer = own_shop.customer(card=None)
    receiver.wait_for("customer.created")
    own_shop.control("POST", "/_local/faults", {"delay_s": 0.5})  # longer than the copy would wait
    own_shop.v1.customers.delete(customer.id)
    receiver.wait_for("customer.deleted")
    assert 3 <= len([delivery for delivery in receiver.deliveries if delivery.type == "customer.created"]) <= 4


def test_delays(own_shop: Shop, receiver: Receiver) -> None:
    listen(own_shop, receiver, "customer.created")
    own_shop.control("POST", "/_local/faults", {"delay_s": 0.6})
    began = time.monotonic()
    names(own_shop, 2)
    arrived = receiver.wait_for("customer.created", 2)
    assert min(delivery.at for delivery in arrived) - began >= 0.6


def test_what_comes_together_is_shuffled(own_shop: Shop, receiver: Receiver) -> None:
    listen(own_shop, receiver, "customer.created")
    own_shop.control("POST", "/_local/faults", {"reorder": True, "seed": 7})
    made = names(own_shop, 12)
    arrived = [subject(delivery) for delivery in receiver.wait_for("customer.created", 12)]
    assert sorted(arrived) == sorted(made), "nothing is lost or doubled"
    assert arrived != made


def test_drops(own_shop: Shop, receiver: Receiver) -> None:
    listen(own_shop, receiver, "customer.created")
    own_shop.control("POST", "/_local/faults", {"drop_next": 2})
    made = names(own_shop, 4)
    arrived = receiver.wait_for("customer.created", 2)
    assert {subject(delivery) for delivery in arrived} == set(made[2:])
    assert own_shop.control("GET", "/_local/faults")["drop_next"] == 0
    lost = own_shop.v1.events.list({"delivery_success": False}).data
    assert {event.to_dict()["data"]["object"]["id"] for event in lost} == set(made[:2])
    for event in lost:
        own_shop.control("POST", f"/_local/redeliver/{event.id}")
    receiver.wait_for("customer.created", 4)


def test_setting_faults_replaces_them(own_shop: Shop) -> None:
    own_shop.control("POST", "/_local/faults", {"duplicate": 3, "delay_s": 1})
    own_shop.control("POST", "/_local/faults", {"reorder": True})
    assert own_shop.control("GET", "/_local/faults") == {
        "duplicate": 0,
        "delay_s": 0.0,
        "reorder": True,
        "drop_next": 0,
        "seed": 0,
    }


def test_a_rolled_secret_may_keep_the_old_one_for_a_while(own_shop: Shop, receiver: Receiver) -> None:
    made = own_shop.v1.webhook_endpoints.create({"url": receiver.url, "enabled_events": ["customer.created"]})
    old, new = str(made.secret), "whsec_new"
    own_shop.control("POST", f"/_local/webhook_endpoints/{made.id}/roll_secret", {"secret": new, "keep_old": True})
    own_shop.customer(card=None)
    (both,) = receiver.wait_for("customer.created")
    for secret in (old, new):
        webhooks.verify(both.body, both.signature, [secret], now=time.time())
    own_shop.control("POST", f"/_local/webhook_endpoints/{made.id}/roll_secret", {"secret": new})
    own_shop.customer(card=None)
    after = receiver.wait_for("customer.created", 2)[1]
    with pytest.raises(SignatureInvalid):
        webhooks.verify(after.body, after.signature, [old], now=time.time())
    webhooks.verify(after.body, after.signature, [old, new], now=time.time())


def test_a_disabled_or_deleted_endpoint_gets_nothing_more(own_shop: Shop, receiver: Receiver) -> None:
    receiver.answer = lambda body: 500
    own_shop.control("POST", "/_local/settings", {"retry": {"base_s": 0.05, "factor": 1}})
    made = own_shop.v1.webhook_endpoints.create({"url": receiver.url, "enabled_events": ["customer.created"]})
    customer = own_shop.customer(card=None)
    receiver.wait(lambda arrived: len(arrived) >= 1, "the first attempt never came")
    own_shop.v1.webhook_endpoints.update(made.id, {"disabled": True})
    event = own_shop.events(customer.id, "customer.created")[0]["id"]
    eventually(lambda: state_of(own_shop, event) == "failed", "a delivery to a disabled endpoint goes on")
    own_shop.v1.webhook_endpoints.delete(made.id)
    assert own_shop.control("GET", "/_local/deliveries")["data"] == []


def test_redelivering_an_unknown_event_is_404(own_shop: Shop) -> None:
    with pytest.raises(AssertionError, match="No such event"):
        own_shop.control("POST", "/_local/redeliver/evt_none")
