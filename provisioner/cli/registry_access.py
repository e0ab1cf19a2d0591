"""How commands reach the registry: one connection, opened for one question."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psycopg

from provisioner.errors import ConfigurationInvalid
from provisioner.settings import Settings, load

T = TypeVar("T")


def ask(question: Callable[[psycopg.AsyncConnection], Awaitable[T]], settings: Settings | None = None) -> T:
    """Run ``question`` in a transaction; ``ConfigurationInvalid`` when the registry can't be reached or is empty."""
    return asyncio.run(_ask(question, settings or load()))


async def _ask(question: Callable[[psycopg.AsyncConnection], Awaitable[T]], settings: Settings) -> T:
    try:
        async with await psycopg.AsyncConnection.connect(
            settings.database_url.get_secret_value(), connect_timeout=5, application_name="tenantry-cli"
        ) as connection:
            return await question(connection)
    except psycopg.OperationalError as error:
        raise ConfigurationInvalid(
            f"the control plane's PostgreSQL can't be reached: {str(error).strip().splitlines()[0]}",
            hint="check TENANTRY_DATABASE_URL, and that the server runs",
        ) from None
    except psycopg.errors.UndefinedTable:
        raise ConfigurationInvalid(
            "the control plane's database is empty", hint="start the service once: tenantry up"
        ) from None
