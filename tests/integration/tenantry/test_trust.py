"""What a client says is never a placement: an id is looked up on the server, or names nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import psycopg
import pytest

from tenantry import AsyncTenantry, TenantMiddleware, UnknownTenant, current_tenant
from tests.integration.tenantry.conftest import Driver
from tests.integration.tenantry.world import World, wait_until

STRANGE = [
    "Acme",
    "acme ",
    " acme",
    "acme\n",
    "acme\0",
    "acme;globex",
    "acme' OR '1'='1",
    "acme%",
    "../acme",
    "\ud800acme",
    "аcme",  # noqa: RUF001 - the first letter is Cyrillic
    "a" * 100_000,
    "acme--globex",
    "-acme",
    "platform/acme",
]


@pytest.mark.parametrize("tenant", STRANGE, ids=range(len(STRANGE)))
def test_what_is_no_tenants_id_reaches_neither_server_nor_broker(
    driver_of: Callable[..., Driver], world: World, tenant: str
) -> None:
    sdk = driver_of(database_url="host=127.0.0.1 port=1", api_url="http://127.0.0.1:1", listen=False)
    with pytest.raises(UnknownTenant):
        sdk.query(tenant, "SELECT 1")
    assert sdk.total() == 0


def test_a_well_formed_id_of_nobody_is_looked_up_once_and_then_believed(
    driver_of: Callable[..., Driver], world: World
) -> None:
    sdk = driver_of(unknown_ttl=3600.0, listen=False)
    with pytest.raises(UnknownTenant):
        sdk.query("nobody", "SELECT 1")
    world.add_pool("nobody")
    with pytest.raises(UnknownTenant):
        sdk.query("nobody", "SELECT 1")
    assert driver_of(listen=False).query("nobody", "SELECT 1") == [(1,)]


def test_a_new_tenant_is_heard_of_though_it_was_unknown(driver_of: Callable[..., Driver], world: World) -> None:
    sdk = driver_of(unknown_ttl=3600.0)
    with pytest.raises(UnknownTenant):
        sdk.query("newcomer", "SELECT 1")
    wait_until(sdk.listening)
    world.add_pool("newcomer")

    def stands() -> bool:
        try:
            return sdk.listening() and sdk.query("newcomer", "SELECT 1") == [(1,)]
        except UnknownTenant:
            return False

    wait_until(stands)


def test_routing_to_another_tenants_schema_shows_nothing_to_the_login(sdk: Driver, world: World) -> None:
    sdk.query("initech", "SELECT 1")
    world.placement("initech", db_schema=f"t_umbrella_{world.suffix}", epoch=2)
    with pytest.raises(psycopg.errors.UndefinedTable):  # the search path has nothing that the login may see
        sdk.query("initech", "SELECT * FROM note")


async def application(scope: Any, receive: Any, send: Any) -> None:
    sdk: AsyncTenantry = scope["state"]["sdk"]
    async with sdk.session() as session:
        rows = await (await session.execute("SELECT DISTINCT tenant_id FROM note")).fetchall()
    body = f"{current_tenant()}:{sorted(tenant for (tenant,) in rows)}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


SESSIONS = {"cookie-of-acme": "acme", "cookie-of-globex": "globex"}


def by_cookie(scope: Any) -> str | None:
    headers = dict(scope["headers"])
    return SESSIONS.get(headers.get(b"x-session", b"").decode())


def test_a_header_that_names_a_tenant_changes_nothing(world: World) -> None:
    """The middleware believes the application's resolver alone; requests run side by side and never meet."""

    async def requests() -> list[httpx.Response]:
        async with AsyncTenantry(world.config()) as sdk:
            for tenant in ("acme", "globex"):
                async with sdk.session(tenant) as session:
                    await session.execute("INSERT INTO note (tenant_id, body) VALUES (%s, 'x')", (tenant,))

            async def with_state(scope: Any, receive: Any, send: Any) -> None:
                await application({**scope, "state": {"sdk": sdk}}, receive, send)

            transport = httpx.ASGITransport(TenantMiddleware(with_state, resolve=by_cookie))
            async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
                claims = {"x-tenant": "globex", "x-tenant-id": "globex", "tenant_id": "globex"}
                return list(
                    await asyncio.gather(
                        *(
                            client.get("/?tenant_id=globex", headers={**claims, "x-session": f"cookie-of-{tenant}"})
                            for _ in range(10)
                            for tenant in ("acme", "globex")
                        ),
                        client.get("/", headers=claims),
                    )
                )

    *answers, stranger = asyncio.run(requests())
    assert [each.text for each in answers] == ["acme:['acme']", "globex:['globex']"] * 10
    assert stranger.status_code == 403
    assert stranger.json()["error"]["code"] == "no_tenant"
