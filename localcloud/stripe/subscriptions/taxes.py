"""Stripe Tax on a laptop: one rate a country, from the setting ``tax``.

{"percentage": "20", "countries": {"DE": "19", "US": "0"}}      # decimals as text; countries without one: the first
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.errors import invalid
from localcloud.stripe.store import Object
from localcloud.stripe.subscriptions.pricing import rounded

DEFAULT_TAX: dict[str, Any] = {"percentage": "20", "countries": {}}


def country_of(customer: Object) -> str | None:
    """Where a customer is taxed; None: not known."""
    address = customer["address"] or (customer["shipping"] or {}).get("address") or {}
    return address.get("country") or None


def check_location(customer: Object) -> None:
    """400 unless Stripe Tax could tell what to collect."""
    if country_of(customer) is None:
        raise invalid(
            "The customer's location isn't recognized. Set a valid customer address in order to automatically "
            "calculate tax.",
            param="automatic_tax",
            code="customer_tax_location_invalid",
        )


def apply(account: Account, invoice: Object, customer: Object) -> tuple[int, int]:
    """Write the taxes of an invoice's lines, after their discounts; (exclusive, inclusive) sums in whole units."""
    automatic = invoice["automatic_tax"]
    for line in invoice["lines"]["data"]:
        line["taxes"] = []
    invoice["total_taxes"] = []
    if not automatic["enabled"]:
        return 0, 0
    country = country_of(customer)
    if country is None:
        automatic["status"] = "requires_location_inputs"
        return 0, 0
    automatic.update(status="complete", provider="stripe")
    setting = account.setting("tax", DEFAULT_TAX)
    percentage = Decimal(setting["countries"].get(country, setting["percentage"]))
    exempt = customer["tax_exempt"]
    reason = {"exempt": "customer_exempt", "reverse": "reverse_charge"}.get(exempt, "standard_rated")
    sums: dict[str, Object] = {}
    for line in invoice["lines"]["data"]:
        price = account.find("price", line["pricing"]["price_details"]["price"])
        behavior = "inclusive" if price["tax_behavior"] == "inclusive" else "exclusive"
        net = line["amount"] - sum(entry["amount"] for entry in line["discount_amounts"])
        rate = Decimal(0) if exempt in ("exempt", "reverse") else percentage
        if behavior == "exclusive":
            amount, taxable = rounded(net * rate / 100), net
        else:
            amount = rounded(net * rate / (100 + rate))
            taxable = net - amount
        entry = {
            "amount": amount,
            "tax_behavior": behavior,
            "tax_rate_details": {"tax_rate": f"txr_local{country}"},
            "taxability_reason": reason,
            "taxable_amount": taxable,
            "type": "tax_rate_details",
        }
        line["taxes"].append(entry)
        total = sums.setdefault(behavior, {**entry, "amount": 0, "taxable_amount": 0})
        total["amount"] += amount
        total["taxable_amount"] += taxable
    invoice["total_taxes"] = [sums[behavior] for behavior in sorted(sums)]
    return sums.get("exclusive", {"amount": 0})["amount"], sums.get("inclusive", {"amount": 0})["amount"]
