from __future__ import annotations

import asyncio
from typing import Any

import pytest

from provisioner.billing import catalogue_file
from provisioner.billing.account_check import missing_prices
from provisioner.billing.fake import FakeGateway, price_document
from provisioner.errors import StripeUnavailable

PLANS = catalogue_file.parse(
    """
    [plans.team]
    tier = "bridge"
    [[plans.team.prices]]
    lookup_key = "team_monthly"
    interval = "month"
    [[plans.team.prices]]
    lookup_key = "team_annual"
    interval = "year"
    """,
    "plans.toml",
)
MONTHLY, ANNUAL = "plans.team.prices[0].lookup_key", "plans.team.prices[1].lookup_key"


def yearly(**changes: Any) -> dict[str, Any]:
    return price_document("team_annual", recurring={"interval": "year", "interval_count": 1}, **changes)


def check(*prices: dict[str, Any]) -> list[tuple[str, str, str]]:
    gateway = FakeGateway()
    for price in prices:
        gateway.put_price(price)
    return asyncio.run(missing_prices(gateway, PLANS))


def test_a_catalogue_that_stripe_sells_has_no_problem() -> None:
    assert check(price_document("team_monthly"), yearly()) == []


def test_a_price_that_is_missing_is_named_with_its_fix() -> None:
    ((key, message, fix),) = check(price_document("team_monthly"))
    assert key == ANNUAL
    assert "'team_annual'" in message
    assert "tenantry stripe seed" in fix


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recurring": {"interval": "year", "interval_count": 1}}, "not billed once a month"),
        ({"recurring": {"interval": "month", "interval_count": 3}}, "not billed once a month"),
        ({"recurring": None}, "not billed once a month"),
        ({"active": False}, "archived"),
        ({"product": {"id": "prod_1", "object": "product", "active": False, "metadata": {}}}, "archived"),
    ],
)
def test_a_price_that_does_not_sell_the_plan_is_named(changes: dict[str, Any], message: str) -> None:
    ((key, said, fix),) = check(price_document("team_monthly", "price_9", **changes), yearly())
    assert key == MONTHLY
    assert "price_9" in said
    assert message in said
    assert fix


def test_all_problems_are_told_at_once() -> None:
    found = check(price_document("team_monthly", active=False, recurring=None))
    assert [key for key, _, _ in found] == [MONTHLY, MONTHLY, ANNUAL]


def test_a_stripe_that_is_away_is_no_verdict() -> None:
    gateway = FakeGateway()
    gateway.unavailable = True
    with pytest.raises(StripeUnavailable):
        asyncio.run(missing_prices(gateway, PLANS))
