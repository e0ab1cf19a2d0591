"""Stripe's test cards: each says whether it can be attached to a customer and whether it can be charged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from localcloud.stripe.store import Object


@dataclass(frozen=True)
class Refusal:
    """Why a card did not pay: Stripe's error code and the decline code beside it."""

    decline_code: str
    code: str = "card_declined"

    @property
    def message(self) -> str:
        return {
            "expired_card": "Your card has expired.",
            "insufficient_funds": "Your card has insufficient funds.",
            "authentication_required": "Your card was declined. This transaction requires authentication.",
        }.get(self.decline_code, "Your card was declined.")


@dataclass(frozen=True)
class Card:
    brand: str
    last4: str
    attaches: bool = True
    refusal: Refusal | None = None
    #: what the bank says after a charge that succeeded: the reason of a dispute
    dispute: str | None = None


#: https://docs.stripe.com/testing, the ones for billing
TEST_CARDS = {
    "pm_card_visa": Card("visa", "4242"),
    "pm_card_mastercard": Card("mastercard", "4444"),
    "pm_card_amex": Card("amex", "8431"),
    "pm_card_chargeCustomerFail": Card("visa", "0341", refusal=Refusal("generic_decline")),
    "pm_card_visa_chargeDeclined": Card("visa", "0002", attaches=False, refusal=Refusal("generic_decline")),
    "pm_card_chargeDeclined": Card("visa", "0002", attaches=False, refusal=Refusal("generic_decline")),
    "pm_card_chargeDeclinedInsufficientFunds": Card(
        "visa", "9995", attaches=False, refusal=Refusal("insufficient_funds")
    ),
    "pm_card_chargeDeclinedExpiredCard": Card(
        "visa", "0069", attaches=False, refusal=Refusal("expired_card", "expired_card")
    ),
    "pm_card_authenticationRequired": Card(
        "visa", "3184", refusal=Refusal("authentication_required", "authentication_required")
    ),
    "pm_card_createDispute": Card("visa", "0259", dispute="fraudulent"),
    "pm_card_createDisputeProductNotReceived": Card("visa", "2685", dispute="product_not_received"),
}
_BY_LAST4 = {card.last4: card for card in TEST_CARDS.values()}


def card_of(method: Object) -> Card:
    """How the card behind a payment method behaves."""
    return _BY_LAST4.get(method["card"]["last4"], TEST_CARDS["pm_card_visa"])


def refusal_of(method: Object, at: datetime) -> Refusal | None:
    """Why a charge of this payment method fails at ``at``; None: it succeeds.

    What a control route said of the method counts more than its number; a card ends with its month.
    """
    told = method.get("_decline_code", "")
    if told:
        return Refusal(told, told if told in ("expired_card", "authentication_required") else "card_declined")
    refusal = card_of(method).refusal if told == "" else None
    if refusal is None and (method["card"]["exp_year"], method["card"]["exp_month"]) < (at.year, at.month):
        return Refusal("expired_card", "expired_card")
    return refusal
