"""Stripe's test cards: each says whether it can be attached to a customer and whether it can be charged."""

from __future__ import annotations

from dataclasses import dataclass

from localcloud.stripe.store import Object


@dataclass(frozen=True)
class Card:
    brand: str
    last4: str
    attaches: bool = True
    charges: bool = True
    decline_code: str = "generic_decline"


#: https://docs.stripe.com/testing, the ones for billing
TEST_CARDS = {
    "pm_card_visa": Card("visa", "4242"),
    "pm_card_mastercard": Card("mastercard", "4444"),
    "pm_card_amex": Card("amex", "8431"),
    "pm_card_chargeCustomerFail": Card("visa", "0341", charges=False),
    "pm_card_visa_chargeDeclined": Card("visa", "0002", attaches=False),
    "pm_card_chargeDeclined": Card("visa", "0002", attaches=False),
    "pm_card_chargeDeclinedInsufficientFunds": Card("visa", "9995", attaches=False, decline_code="insufficient_funds"),
}


def card_of(method: Object) -> Card:
    """How the card behind a payment method behaves."""
    for card in TEST_CARDS.values():
        if card.last4 == method["card"]["last4"]:
            return card
    return TEST_CARDS["pm_card_visa"]
