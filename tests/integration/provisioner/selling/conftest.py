"""The service's routes for applications, on a real registry and the local Stripe."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from psycopg_pool import AsyncConnectionPool
from pydantic import SecretStr

from components.spec import Environment
from localcloud.stripe.server import LocalStripe
from provisioner.billing import catalogue as catalogues
from provisioner.billing.storefront import Storefront
from provisioner.operate import Pool
from provisioner.registry.migrate import migrate
from provisioner.settings import Settings
from provisioner.web import make_web
from tests.unit.provisioner.selling.plans import PLANS

TOKEN = "app_token"
ORIGIN = "https://app.example.com"
PAGES = {"success_url": f"{ORIGIN}/welcome?s={{CHECKOUT_SESSION_ID}}", "cancel_url": f"{ORIGIN}/plans"}


@pytest.fixture
def plans(tmp_path: Path) -> Path:
    path = tmp_path / "plans.toml"
    path.write_text(PLANS)
    return path


@pytest.fixture
def stripe() -> Iterator[LocalStripe]:
    with LocalStripe() as running:
        yield running


@dataclass
class Shop:
    """The service with its application's token, and its Stripe account."""

    client: httpx.AsyncClient
    stripe: LocalStripe
    front: Storefront
    settings: Settings

    @property
    def database_url(self) -> str:
        return self.settings.database_url.get_secret_value()

    async def ask(self, route: str, tenant_id: str = "acme", **body: Any) -> httpx.Response:
        return await self.client.post(f"/v1/billing/{route}", json={"tenant_id": tenant_id, **body})

    async def told(self, route: str, tenant_id: str = "acme", **body: Any) -> Any:
        """The answer's JSON; fails for a refusal."""
        answer = await self.ask(route, tenant_id, **body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refused(self, route: str, tenant_id: str = "acme", **body: Any) -> tuple[int, str]:
        answer = await self.ask(route, tenant_id, **body)
        assert answer.status_code != 200, answer.text
        return answer.status_code, answer.json()["error"]["code"]

    async def pay(self, session_id: str, card: str = "pm_card_visa") -> dict[str, Any]:
        """The customer fills the checkout page in."""
        return self.control(f"checkout/{session_id}/complete", {"payment_method": card})

    async def sign_up(self, tenant_id: str = "acme", plan: str = "basic", **body: Any) -> dict[str, Any]:
        """Sign up and pay; the completed session."""
        given = {"email": f"ada@{tenant_id}.example.net", **PAGES, **body}
        opened = await self.told("sign-up", tenant_id, plan=plan, **given)
        return await self.pay(opened["session_id"])

    async def subscription(self, tenant_id: str = "acme") -> Any:
        return (await self.told("subscription", tenant_id))["subscription"]

    def control(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """What happens in Stripe without us: the customer acts, time passes."""
        return self.api("POST", f"/_local/{path}", json=body)

    def advance(self, days: float) -> None:
        self.control("clock/advance", {"seconds": int(days * 86400)})

    def api(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.stripe.api_key}"}
        answer = httpx.request(
            method, f"{self.stripe.url}{path}", headers=headers, trust_env=False, timeout=30, **arguments
        )
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def lose_the_card(self, tenant_id: str = "acme") -> None:
        """From now on nothing can be charged."""
        customer = self.front.pay_with(tenant_id, "pm_card_chargeCustomerFail")
        method = customer["invoice_settings"]["default_payment_method"]
        for subscription in self.subscriptions():
            if subscription["customer"] == customer["id"]:
                self.api("POST", f"/v1/subscriptions/{subscription['id']}", data={"default_payment_method": method})

    def subscriptions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api("GET", "/v1/subscriptions?status=all&limit=100")["data"]
        return found

    def customers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api("GET", "/v1/customers?limit=100")["data"]
        return found


def shop_settings(database_url: str, stripe: LocalStripe, plans: Path, **changes: Any) -> Settings:
    fields: dict[str, Any] = {
        "database_url": SecretStr(database_url),
        "environment": Environment.DEVELOPMENT,
        "stripe_api_key": SecretStr(stripe.api_key),
        "stripe_api_base": stripe.url,
        "stripe_webhook_secrets": (SecretStr("whsec_test"),),
        "operator_tokens": (SecretStr("op_token"),),
        "application_tokens": (SecretStr(TOKEN),),
        "return_urls": (ORIGIN,),
        "catalogue": plans,
    }
    return Settings(**{**fields, **changes})


@contextlib.asynccontextmanager
async def open_shop(database_url: str, stripe: LocalStripe, plans: Path, **changes: Any) -> AsyncIterator[Shop]:
    """On a database that has the schema already."""
    settings = shop_settings(database_url, stripe, plans, **changes)
    app = make_web(settings)
    front = Storefront(stripe.api_key, stripe.url, catalogues.load(plans))
    try:
        _put_on_sale(stripe, catalogues.load(plans))
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app),
                base_url="http://tenantry",
                headers={"Authorization": f"Bearer {TOKEN}"},
                timeout=30,
            ) as client,
        ):
            yield Shop(client, stripe, front, settings)
    finally:
        front.close()


def _put_on_sale(stripe: LocalStripe, catalogue: catalogues.Catalogue) -> None:
    """Products, meters and prices of the catalogue, as a push makes them."""

    def post(path: str, data: dict[str, Any]) -> str:
        headers = {"Authorization": f"Bearer {stripe.api_key}"}
        answer = httpx.post(f"{stripe.url}/v1/{path}", data=data, headers=headers, trust_env=False)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    meters = {
        name: post(
            "billing/meters",
            {"event_name": name, "display_name": meter.title, "default_aggregation[formula]": meter.aggregation.value},
        )
        for name, meter in catalogue.meters.items()
    }
    for plan in catalogue.plans.values():
        product = post("products", {"name": plan.title, "metadata[tenantry_plan]": plan.name})
        for price in plan.prices:
            data: dict[str, Any] = {
                "product": product,
                "currency": price.currency,
                "unit_amount": int(price.unit_amount or 0),
                "recurring[interval]": price.interval,
                "lookup_key": price.lookup_key,
                "metadata[tenantry_plan]": plan.name,
            }
            if price.meter is not None:
                data |= {"recurring[usage_type]": "metered", "recurring[meter]": meters[price.meter]}
            post("prices", data)


@pytest.fixture
def registry(database: str) -> str:
    """URL of a database with the control plane's schema."""
    migrate(database, database)
    return database


@contextlib.asynccontextmanager
async def pool_of(database_url: str) -> AsyncIterator[Pool]:
    pool: Pool
    async with AsyncConnectionPool(database_url, min_size=1, max_size=2, open=False) as pool:
        yield pool
