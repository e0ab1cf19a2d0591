from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from provisioner.registry.migrate import schema_text
from tests.integration.conftest import Login
from tests.integration.provisioner.metering.world import World


@pytest.fixture
def registry_url(database: str | Login) -> str:
    """A database with the registry's tables."""
    url = database if isinstance(database, str) else database.url
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(schema_text().encode())
    return url


@pytest.fixture
def world(registry_url: str) -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def make(meters: dict[str, str] | None = None, **options: Any) -> World:
        made.append(World(registry_url, meters or {"calls": "sum"}, **options))
        return made[-1]

    yield make
    for each in made:
        each.kept.close()
