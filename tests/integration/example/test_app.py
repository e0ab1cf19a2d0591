"""The example application before tenants of every tier."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from example.app.files import MAX_BYTES
from example.app.main import create_app
from example.app.sign_in import LIFETIME, SignIn, User
from tests.integration.isolation.estate import Estate

KEY = "5e" * 32
ALL = ("acme", "globex", "initech", "hooli")
Clients = Callable[[str], httpx.AsyncClient]


def serve(estate: Estate, work: Callable[[Clients], Awaitable[Any]]) -> None:
    """``work`` gets a client signed in as the user ``ada`` of whichever tenant it names."""
    config = estate.config()
    environ = {
        "TENANTRY_DATABASE_URL": config.database_url,
        "TENANTRY_API_URL": config.api_url,
        "TENANTRY_APPLICATION_TOKEN": config.application_token,
        "TENANTRY_DATABASE_CA": str(config.database_ca),
        "EXAMPLE_SIGNING_KEY": KEY,
    }
    app = create_app(environ)

    def client(tenant: str) -> httpx.AsyncClient:
        token = SignIn(bytes.fromhex(KEY)).token(User(tenant, "ada"))
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://app",
            headers={"Authorization": f"Bearer {token}"} if tenant else {},
        )

    async def main() -> None:
        async with app.router.lifespan_context(app):
            await work(client)

    asyncio.run(main())


def settle(estate: Estate, tenant: str, features: list[str], limits: str) -> None:
    with estate.server.admin(estate.control) as admin:
        admin.execute(
            "UPDATE registry.tenant SET features = %s, limits = %s::jsonb WHERE tenant_id = %s",
            (features, limits, tenant),
        )


@pytest.fixture(autouse=True)
def plans(estate: Estate) -> None:
    for tenant in ALL:
        settle(estate, tenant, ["projects", "files"], '{"projects": 1000}')


@pytest.mark.parametrize("tenant", ALL)
def test_a_tenant_of_each_tier_keeps_projects_tasks_and_comments(estate: Estate, tenant: str) -> None:
    async def work(clients: Clients) -> None:
        async with clients(tenant) as client:
            project = (await client.post("/projects", json={"name": "Apollo"})).json()
            again = await client.post("/projects", json={"name": "Apollo"})
            assert again.status_code == 409
            task = (await client.post(f"/projects/{project['project_id']}/tasks", json={"title": "land"})).json()
            assert task["status"] == "open"
            said = await client.post(f"/tasks/{task['task_id']}/comments", json={"body": "soon"})
            assert (said.status_code, said.json()["author"]) == (201, "ada")
            assert [each["name"] for each in (await client.get("/projects")).json()] == ["Apollo"]
            assert [each["body"] for each in (await client.get(f"/tasks/{task['task_id']}/comments")).json()] == [
                "soon"
            ]
            (left,) = (await client.get("/open-tasks")).json()
            assert (left["title"], left["project"], left["comments"]) == ("land", "Apollo", 1)

    serve(estate, work)


def test_requests_of_many_tenants_at_once_never_meet(estate: Estate) -> None:
    async def work(clients: Clients) -> None:
        async def one(tenant: str, number: int) -> list[str]:
            async with clients(tenant) as client:
                made = await client.post("/projects", json={"name": f"{tenant} {number}"})
                assert made.status_code == 201, made.text
                return [each["name"] for each in (await client.get("/projects")).json()]

        seen = await asyncio.gather(*(one(tenant, number) for number in range(8) for tenant in ALL))
        for tenant, names in zip(ALL * 8, seen, strict=True):
            foreign = {each for each in names if each.split()[0] in ALL and each.split()[0] != tenant}
            assert foreign == set()
            assert any(each.startswith(tenant) for each in names)

    serve(estate, work)


def test_another_tenants_ids_are_ids_of_nothing(estate: Estate) -> None:
    async def work(clients: Clients) -> None:
        async with clients("globex") as globex, clients("acme") as acme:
            theirs = (await globex.post("/projects", json={"name": "secret"})).json()["project_id"]
            task = (await globex.post(f"/projects/{theirs}/tasks", json={"title": "hidden"})).json()["task_id"]
            assert (await acme.get(f"/projects/{theirs}/tasks")).json() == []
            assert (await acme.post(f"/projects/{theirs}/tasks", json={"title": "x"})).status_code == 404
            assert (await acme.get(f"/tasks/{task}/comments")).json() == []
            assert (await acme.post(f"/tasks/{task}/comments", json={"body": "x"})).status_code == 404
            assert len((await globex.get(f"/projects/{theirs}/tasks")).json()) == 1

    serve(estate, work)


@pytest.mark.parametrize("tenant", ["acme", "hooli"])
def test_files_are_the_tenants_own(estate: Estate, tenant: str) -> None:
    async def work(clients: Clients) -> None:
        async with clients(tenant) as client, clients("globex") as other:
            assert (await client.put("/files/reports/may.txt", content=b"good")).status_code == 204
            got = await client.get("/files/reports/may.txt")
            assert (got.content, got.headers["content-disposition"]) == (b"good", "attachment")
            assert (await client.get("/files")).json() == [{"name": "reports/may.txt", "size": 4}]
            assert (await other.get("/files")).json() == []
            assert (await other.get("/files/reports/may.txt")).status_code == 404
            assert (await other.get("/files/..%2Facme%2Freports%2Fmay.txt")).status_code in (400, 404)
            too_large = await client.put("/files/large", content=b"x" * (MAX_BYTES + 1))
            assert too_large.status_code == 413
            assert (await client.delete("/files/reports/may.txt")).status_code == 204
            assert (await client.get("/files/reports/may.txt")).status_code == 404

    serve(estate, work)


def test_the_plan_decides_over_features_and_limits(estate: Estate) -> None:
    settle(estate, "initech", ["projects"], '{"projects": 0}')

    async def work(clients: Clients) -> None:
        async with clients("initech") as client:
            assert (await client.get("/files")).status_code == 403
            refused = await client.post("/projects", json={"name": "one too many"})
            assert (refused.status_code, refused.json()["detail"]) == (403, "the plan allows 0 projects")
            me = (await client.get("/me")).json()
            assert (me["tenant"], me["features"], me["limits"]) == ("initech", ["projects"], {"projects": 0})

    serve(estate, work)


def test_nobody_gets_in_unsigned_and_no_header_picks_a_tenant(estate: Estate) -> None:
    forged = [
        {},
        {"X-Tenant-Id": "acme"},
        {"Authorization": "Bearer acme"},
        {"Authorization": "Bearer " + SignIn(b"another key" * 4).token(User("acme", "ada"))},
        {"Authorization": "Bearer " + SignIn(bytes.fromhex(KEY)).token(User("acme", "ada"), now=1_000_000 - LIFETIME)},
        {"Authorization": "Basic " + SignIn(bytes.fromhex(KEY)).token(User("acme", "ada"))},
        {"Authorization": "Bearer é.é"},
    ]

    async def work(clients: Clients) -> None:
        async with clients("") as client:
            for headers in forged:
                encoded = {name.encode(): value.encode() for name, value in headers.items()}
                answer = await client.get("/projects", headers=encoded)
                assert answer.status_code == 403, headers
            assert (await client.get("/health")).json() == {"status": "up"}
        async with clients("acme") as client:
            me = await client.get("/me?tenant_id=globex", headers={"X-Tenant-Id": "globex"})
            assert me.json()["tenant"] == "acme"

    serve(estate, work)


def test_tenants_that_do_not_stand_are_told_so(estate: Estate) -> None:
    with estate.server.admin(estate.control) as admin:
        admin.execute("UPDATE registry.placement SET access = 'suspended' WHERE tenant_id = 'globex'")

    async def work(clients: Clients) -> None:
        async with clients("globex") as suspended, clients("nobody") as unknown:
            answers = [await suspended.get("/projects"), await unknown.get("/projects")]
            assert [each.status_code for each in answers] == [403, 403]
            assert [each.json()["error"] for each in answers] == ["tenant_suspended", "unknown_tenant"]

    try:
        serve(estate, work)
    finally:
        with estate.server.admin(estate.control) as admin:
            admin.execute("UPDATE registry.placement SET access = 'full' WHERE tenant_id = 'globex'")


def test_a_missing_setting_is_said_before_anything_is_connected() -> None:
    with pytest.raises(Exception, match="TENANTRY_DATABASE_URL"):
        create_app({"EXAMPLE_SIGNING_KEY": KEY})
    with pytest.raises(ValueError, match="32 bytes"):
        SignIn(b"short")
