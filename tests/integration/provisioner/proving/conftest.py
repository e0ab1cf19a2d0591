"""A registry with tenants, a web service that says it is ready, and attacks that are only written down."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest
from fastapi import FastAPI
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb
from starlette.responses import PlainTextResponse

from components.spec import Environment, PlatformSpec
from components.tiers import Tier
from isolation.attempts import Attempt
from provisioner.proving.prover import prove
from provisioner.proving.request import Proof, ProofRequest
from provisioner.registry import platforms, proofs
from provisioner.registry.migrate import migrate
from provisioner.registry.proofs import Verdict
from provisioner.settings import Settings
from tests.integration.provisioner.service.harness import PLATFORM
from tests.integration.tenantry.world import serve_asgi
from tests.unit.isolation.evidence.documents import attempt, tenant

T = TypeVar("T")


@dataclass
class World:
    settings: Settings
    url: str
    #: what the attacks find; a function is called for it while they run
    attempts: list[Attempt] | Callable[[], list[Attempt]] = field(default_factory=lambda: [attempt()])
    asked: list[tuple[str, ...]] = field(default_factory=list)  #: who took part in each

    def add(self, tenant_id: str, tier: Tier = Tier.POOL, **changes: Any) -> None:
        outputs = Jsonb(tenant(tenant_id, tier).model_dump(mode="json"))
        values = {"tenant_id": tenant_id, "tier": tier.value, "state": "ready", "fingerprint": "1", "outputs": outputs}
        values = {**values, "spec": Jsonb({}), "ready_at": "2026-01-01T00:00:00Z", **changes}
        columns, places = ", ".join(values), ", ".join(["%s"] * len(values))
        with psycopg.connect(self.url) as connection:
            connection.execute(
                f"INSERT INTO registry.tenant ({columns}) VALUES ({places})".encode(), list(values.values())
            )

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            cursor = connection.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def ask(self, question: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        async def asked() -> T:
            async with await AsyncConnection.connect(self.url) as connection:
                return await question(connection)

        return asyncio.run(asked())

    def prove(self, request: ProofRequest, **settings: Any) -> Proof:
        def attack(request: ProofRequest, taking_part: Any, *_: Any, seen: Any, **__: Any) -> list[Attempt]:
            self.asked.append(tuple(each.tenant_id for each in (*taking_part.named, *taking_part.others)))
            found = self.attempts() if callable(self.attempts) else self.attempts
            for each in found:
                seen(each)
            return found

        return prove(self.settings.model_copy(update=settings), request, attack=attack)

    def verdicts(self) -> dict[str, Verdict]:
        return self.ask(proofs.verdicts)

    def told(self, tenant_id: str) -> list[str]:
        query = "SELECT summary FROM registry.timeline WHERE tenant_id = %s AND kind = 'proof' ORDER BY entry_id"
        return [str(row[0]) for row in self.rows(query, tenant_id)]


@pytest.fixture(scope="session")
def ready_service() -> Iterator[str]:
    app = FastAPI()

    @app.get("/readyz")
    async def readyz() -> PlainTextResponse:
        return PlainTextResponse("ready\n")

    with serve_asgi(app) as url:
        yield url


@pytest.fixture
def world(database: str, ready_service: str, tmp_path: Path) -> World:
    url = database.replace("postgres://", "postgresql://")
    migrate(url, url)
    settings = Settings(
        database_url=url,
        environment=Environment.DEVELOPMENT,
        home=tmp_path,
        api_url=ready_service,
        application_tokens=("app_token",),
    )
    made = World(settings, url)

    async def platform(connection: AsyncConnection) -> None:
        spec = PlatformSpec(installation="test", environment=Environment.DEVELOPMENT, app_schema_version=2)
        await platforms.record_spec(connection, spec)
        await platforms.record_outputs(connection, PLATFORM, "platform")

    made.ask(platform)
    for tenant_id in ("acme", "globex", "hooli"):
        made.add(tenant_id)
    return made
