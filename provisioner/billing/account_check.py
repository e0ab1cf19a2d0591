"""Whether Stripe sells what the catalogue promises."""

from __future__ import annotations

from provisioner.billing.catalogue import Catalogue
from provisioner.billing.gateway import BillingGateway


async def missing_prices(gateway: BillingGateway, catalogue: Catalogue) -> list[tuple[str, str, str]]:
    """(key in the file, what is wrong, fix) for every lookup key without an active, recurring price of its interval."""
    found = await gateway.prices(catalogue.lookup_keys)
    problems = []
    for plan in catalogue.plans.values():
        for index, wanted in enumerate(plan.prices):
            key = f"plans.{plan.name}.prices[{index}].lookup_key"
            price = found.get(wanted.lookup_key)
            if price is None:
                problems.append(
                    (
                        key,
                        f"Stripe has no price with lookup key {wanted.lookup_key!r}",
                        "create it: tenantry catalogue push (locally: tenantry stripe seed), or Stripe's dashboard",
                    )
                )
                continue
            recurring = price.get("recurring") or {}
            if recurring.get("interval") != wanted.interval or recurring.get("interval_count", 1) != 1:
                problems.append(
                    (
                        key,
                        f"price {price['id']} is not billed once a {wanted.interval}",
                        "correct the interval here, or move the lookup key to the right price",
                    )
                )
            if not price.get("active") or not price["product"].get("active", True):
                problems.append(
                    (key, f"price {price['id']} or its product is archived", "activate it, or move the lookup key")
                )
    return problems
