"""Stripe's documents, whole, sparse and malformed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.notifications import reading
from provisioner.notifications.facts import Card, Recipient

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def test_a_customer_says_whom_to_write_to_and_how() -> None:
    customer = {
        "email": "ada@example.com",
        "name": "Ada\0",
        "preferred_locales": ["de-AT", 7, "en"],
        "address": {"country": "AT"},
        "metadata": {"tz": "Europe/Vienna"},
    }
    found = reading.recipient_of(customer)
    assert found == Recipient("ada@example.com", "Ada", ("de-AT", "en"), "AT", "Europe/Vienna")
    assert reading.recipient_from(reading.recipient_document(found)) == found


@pytest.mark.parametrize("customer", [None, "cus_1", {"id": "cus_1", "deleted": True}])
def test_who_is_gone_is_nobody(customer: Any) -> None:
    assert reading.recipient_of(customer) is None


def test_the_subscriptions_own_payment_method_comes_first() -> None:
    customer = {"invoice_settings": {"default_payment_method": "pm_customer"}}
    assert reading.default_payment_method({"customer": customer}) == "pm_customer"
    assert (
        reading.default_payment_method({"customer": customer, "default_payment_method": {"id": "pm_own"}}) == "pm_own"
    )
    assert reading.default_payment_method({"customer": "cus_1"}) is None


def test_a_card_is_named_as_people_know_it() -> None:
    card = {"brand": "american_express", "last4": "0005", "exp_month": 1, "exp_year": 2030}
    assert reading.card_of({"card": card}) == Card("American Express", "0005", 1, 2030)
    assert reading.card_of({"type": "sepa_debit"}) is None


@pytest.mark.parametrize(("status", "waits"), [("requires_action", True), ("requires_payment_method", False)])
def test_a_bank_that_waits_for_its_customer(status: str, waits: bool) -> None:
    assert reading.waits_for_customer([{"payment": {"payment_intent": {"status": status}}}]) is waits


@given(JUNK, st.dictionaries(st.sampled_from(["card", "customer", "items", "metadata", "address"]), JUNK))
def test_nothing_that_stripe_could_send_is_an_error(junk: Any, document: dict[str, Any]) -> None:
    reading.recipient_of(junk)
    reading.recipient_of({**document, "preferred_locales": junk, "email": junk, "name": junk})
    reading.recipient_from(document)
    reading.card_of({"card": junk})
    reading.card_of({"card": {"exp_month": junk, "exp_year": 2030, "last4": junk}})
    reading.default_payment_method({**document, "default_payment_method": junk})
    reading.has_source(document)
    reading.waits_for_customer([document, {"payment": junk}])
    assert reading._interval({"items": {"data": [{"price": {"recurring": {"interval": 7}}}]}}) is None
