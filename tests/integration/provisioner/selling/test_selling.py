"""Selling through the API: what a tenant's application asks for, and what then stands in Stripe."""

from __future__ import annotations

import asyncio
from pathlib import Path

from localcloud.stripe.server import LocalStripe
from tests.integration.provisioner.selling.conftest import open_shop


def test_first(registry: str, stripe: LocalStripe, plans: Path) -> None:
    async def work() -> None:
        async with open_shop(registry, stripe, plans) as shop:
            session = await shop.sign_up()
            assert session["status"] == "complete"
            assert (await shop.subscription())["plan"] == "basic"

    asyncio.run(work())
