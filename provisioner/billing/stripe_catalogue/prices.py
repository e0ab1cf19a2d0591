"""How a price of Stripe differs from the catalogue's. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from provisioner.billing.pricing import PlanPrice, PriceTier, PricingModel, TaxBehavior
from provisioner.billing.stripe_catalogue.wanted import decimal, has_amounts


def differences(price: PlanPrice, document: Mapping[str, Any], meter: str | None) -> list[str]:
    """For people, each "what: theirs -> ours"; empty if it sells the same. ``meter``: the id of the price's meter.

    What can be changed on a price (``tax_behavior`` while it is unspecified) is not among them."""
    found: list[str] = []

    def compare(what: str, theirs: object, ours: object) -> None:
        if theirs != ours:
            found.append(f"{what}: {theirs} -> {ours}")

    recurring = document.get("recurring") or {}
    interval = recurring.get("interval")
    count = recurring.get("interval_count", 1)
    compare("interval", interval if count == 1 else f"{count} {interval}s", price.interval)
    compare("currency", document.get("currency"), price.currency)
    compare("usage", recurring.get("usage_type", "licensed"), "metered" if price.metered else "licensed")
    if price.metered:
        compare("meter", recurring.get("meter"), meter)
    if has_amounts(price):
        compare("amount", described(document), describe(price.unit_amount, price.tiers, price.model.value))
    theirs = document.get("tax_behavior") or TaxBehavior.UNSPECIFIED.value
    if price.tax_behavior is not TaxBehavior.UNSPECIFIED and theirs != TaxBehavior.UNSPECIFIED:
        compare("tax", theirs, price.tax_behavior.value)
    return found


def tax_to_set(price: PlanPrice, document: Mapping[str, Any]) -> str | None:
    """Stripe lets it be said later, once."""
    theirs = document.get("tax_behavior") or TaxBehavior.UNSPECIFIED.value
    ours = price.tax_behavior.value
    return ours if theirs == TaxBehavior.UNSPECIFIED and ours != theirs else None


def describe(unit_amount: Decimal | None, tiers: tuple[PriceTier, ...], model: str) -> str:
    """An amount as one line that two prices share only if they cost the same."""
    if not PricingModel(model).tiered:
        return "none" if unit_amount is None else decimal(unit_amount)
    steps = []
    for tier in tiers:
        flat = f" + {decimal(tier.flat_amount)}" if tier.flat_amount else ""
        end = "beyond" if tier.up_to is None else f"to {tier.up_to}"
        steps.append(f"{end}: {decimal(tier.unit_amount)}{flat}")
    return f"{model} ({', '.join(steps)})"


def described(document: Mapping[str, Any]) -> str:
    """``describe`` of a price of Stripe; says what the catalogue has no words for, which then differs."""
    if document.get("custom_unit_amount"):
        return "chosen by the customer"
    each = "" if not document.get("transform_quantity") else f" per {document['transform_quantity']['divide_by']} units"
    if document.get("billing_scheme") == "tiered":
        return describe(None, tiers_of(document), str(document["tiers_mode"])) + each
    amount = amount_of(document, "unit_amount")
    return describe(amount, (), PricingModel.FLAT.value) + each


def tiers_of(document: Mapping[str, Any]) -> tuple[PriceTier, ...]:
    return tuple(
        PriceTier(
            tier["up_to"],
            amount_of(tier, "unit_amount") or Decimal(0),
            amount_of(tier, "flat_amount") or Decimal(0),
        )
        for tier in document.get("tiers") or ()
    )


def amount_of(document: Mapping[str, Any], key: str) -> Decimal | None:
    """Stripe gives the exact one as ``<key>_decimal``; ``<key>`` is null for fractions."""
    exact = document.get(f"{key}_decimal")
    value = exact if exact is not None else document.get(key)
    return None if value is None else Decimal(str(value))
