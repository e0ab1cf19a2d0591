"""The API fails as networks and servers do, and the unmodified library sees what it would see of Stripe."""

from __future__ import annotations

import time
from typing import Any

import pytest
import stripe

from tests.integration.localcloud.stripe.world import Shop, client_of, close


def faults(shop: Shop, **more: Any) -> None:
    shop.control("POST", "/_local/api_faults", more)


def test_no_answer_is_a_connection_error_whatever_was_done(own_shop: Shop) -> None:
    faults(own_shop, outage="refuse")
    with pytest.raises(stripe.APIConnectionError):
        own_shop.v1.customers.create({"name": "Nobody"})
    faults(own_shop, lose_next=1)
    with pytest.raises(stripe.APIConnectionError):
        own_shop.v1.customers.create({"name": "Ada"})
    assert [customer.name for customer in own_shop.v1.customers.list().data] == ["Ada"]
    retrying = client_of(own_shop.url, retries=2)
    faults(own_shop, lose_next=1)
    made = retrying.v1.customers.create({"name": "Grace"})
    close(retrying)
    names = {customer.name: customer.id for customer in own_shop.v1.customers.list().data}
    assert names == {"Ada": names["Ada"], "Grace": made.id}, "the library's own retry made no second one"


@pytest.mark.parametrize(("kind", "status"), [("error_500", 500), ("error_503", 503)])
def test_an_outage_can_answer(own_shop: Shop, kind: str, status: int) -> None:
    faults(own_shop, outage=kind)
    with pytest.raises(stripe.APIError) as failed:
        own_shop.v1.customers.list()
    assert failed.value.http_status == status
    faults(own_shop, rate_limit=1)
    with pytest.raises(stripe.RateLimitError):
        own_shop.v1.customers.list()


def test_a_hanging_outage_keeps_its_clients_waiting_until_it_ends(own_shop: Shop) -> None:
    faults(own_shop, outage="hang", outage_s=0.6)
    began = time.monotonic()
    with pytest.raises(stripe.APIConnectionError):
        own_shop.v1.customers.list()
    assert time.monotonic() - began >= 0.4
    assert own_shop.v1.customers.list().data == []
    faults(own_shop, latency_s=0.3)
    began = time.monotonic()
    own_shop.v1.customers.list()
    assert time.monotonic() - began >= 0.3
