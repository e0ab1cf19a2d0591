"""Brings the control-plane database to this version of the program; may be run at every start, by many at once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import psycopg
from procrastinate.schema import SchemaManager

from provisioner.engine import fencing
from provisioner.engine.state import BackendUrl
from provisioner.errors import ConfigurationInvalid

MINIMUM_SERVER = 150000  #: PostgreSQL 15
_LOCK = 7_203_114_901  # any number, as long as it stays the same
_SCHEMA = Path(__file__).with_name("schema")  #: one file a topic, applied in the order of their names


def schema_text() -> str:
    """Every statement of the control plane's tables; each may run again."""
    return "\n".join(path.read_text() for path in sorted(_SCHEMA.glob("*.sql")))


def migrate(database_url: str, backend_url: str) -> None:
    """Create or extend the registry, the job queue and the fence on Pulumi's state. ``ConfigurationInvalid`` when
    the server can't be used."""
    schema = schema_text()
    digest = hashlib.sha256(schema.encode() + SchemaManager.get_schema().encode()).hexdigest()
    state = BackendUrl.parse(backend_url)
    try:
        with psycopg.connect(database_url, connect_timeout=10) as connection:
            if connection.info.server_version < MINIMUM_SERVER:
                raise ConfigurationInvalid(
                    f"the control plane's PostgreSQL is version {connection.info.server_version // 10000}",
                    hint="use PostgreSQL 15 or newer",
                )
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            if _installed(connection) != digest:
                if not _exists(connection, "public.procrastinate_jobs"):
                    connection.execute(SchemaManager.get_schema().encode())
                connection.execute(schema.encode())
                _record(connection, digest)
        # Pulumi's state may be in another database than the registry; the fence needs both in one.
        with psycopg.connect(state.conninfo, connect_timeout=10) as connection:
            if _exists(connection, "registry.lease"):
                connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
                fencing.install(connection, table=state.table)
            else:
                raise ConfigurationInvalid(
                    "Pulumi's state is in another database than the registry",
                    hint="let PULUMI_BACKEND_URL name the database of TENANTRY_DATABASE_URL, so that a dead worker's "
                    "engine can be kept from writing",
                )
    except psycopg.OperationalError as error:
        raise ConfigurationInvalid(
            f"the control plane's PostgreSQL can't be reached: {str(error).strip().splitlines()[0]}",
            hint="check TENANTRY_DATABASE_URL, and that the server runs",
        ) from None


def _exists(connection: psycopg.Connection[tuple[object, ...]], relation: str) -> bool:
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [relation]).fetchone()
    return row is not None and bool(row[0])


def _installed(connection: psycopg.Connection[tuple[object, ...]]) -> str | None:
    if not _exists(connection, "registry.schema_version"):
        return None
    row = connection.execute("SELECT digest FROM registry.schema_version").fetchone()
    return None if row is None else str(row[0])


def _record(connection: psycopg.Connection[tuple[object, ...]], digest: str) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS registry.schema_version (digest text NOT NULL)")
    connection.execute("DELETE FROM registry.schema_version")
    connection.execute("INSERT INTO registry.schema_version VALUES (%s)", [digest])
