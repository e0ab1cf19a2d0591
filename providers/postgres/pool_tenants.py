"""Tenants of a pool: admitted by a row, which goes last, after every row of theirs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import psycopg
from psycopg import sql

from providers.postgres import bookkeeping, markers, row_security
from providers.postgres.connection import Connection, Server, become
from providers.postgres.errors import NotOurs, PostgresProviderError
from providers.postgres.identifiers import definer_role

BATCH = 5000  #: rows a transaction; keeps locks and WAL of a removal small
_PURGE_SECONDS = 60  #: life of the token a batch runs under


@dataclass(frozen=True)
class PoolTenant:
    """``epoch`` is the placement's; tokens of another one are refused."""

    database: str
    schema: str
    tenant_id: str
    epoch: int
    access: Literal["full", "read_only", "suspended"]

    @property
    def definer(self) -> str:
        return definer_role(self.database)


def create(server: Server, tenant: PoolTenant, marker: str) -> None:
    """Admit the tenant. :raises NotOurs: another stack (another life of the id) still has it."""
    with server.connect(tenant.database) as connection, connection.transaction():
        _require_pool(connection, tenant)
        become(connection, tenant.definer)
        row = connection.execute(
            """
            INSERT INTO tenantry.pool_tenant AS p (tenant_id, epoch, access, marker) VALUES (%s, %s, %s, %s)
            ON CONFLICT (tenant_id) DO UPDATE SET epoch = excluded.epoch, access = excluded.access,
                   updated_at = clock_timestamp() WHERE p.marker = excluded.marker
            RETURNING tenant_id
            """,
            (tenant.tenant_id, tenant.epoch, tenant.access, marker),
        ).fetchone()
        if row is None:
            raise NotOurs(
                f"tenant {tenant.tenant_id} is registered in the pool {tenant.database} by another stack; "
                "destroy that one first: a former life's rows must not show in this one"
            )


def _require_pool(connection: Connection, tenant: PoolTenant) -> None:
    if not bookkeeping.table_exists(connection, "pool_tenant"):
        raise PostgresProviderError(
            f"database {tenant.database} is no pool: deploy the platform stack, with its PoolSecurity, first"
        )
    app = bookkeeping.registered(connection, tenant.schema)
    if app is not None and app.mode == "dedicated":
        raise PostgresProviderError(f"schema {tenant.schema} of {tenant.database} is dedicated to one tenant, no pool")


def read(server: Server, database: str, tenant_id: str) -> tuple[int, str, str] | None:
    """Epoch, access and marker; None if the tenant is not registered."""
    with server.connect() as connection:
        if not markers.exists(connection, "DATABASE", database):
            return None
    with server.connect(database) as connection, connection.transaction():
        if not bookkeeping.table_exists(connection, "pool_tenant"):
            return None
        become(connection, definer_role(database))
        row = connection.execute(
            "SELECT epoch, access, marker FROM tenantry.pool_tenant WHERE tenant_id = %s", (tenant_id,)
        ).fetchone()
    return None if row is None else (int(str(row[0])), str(row[1]), str(row[2]))


def update(server: Server, tenant: PoolTenant, marker: str) -> None:
    with server.connect(tenant.database) as connection, connection.transaction():
        _require_pool(connection, tenant)
        become(connection, tenant.definer)
        connection.execute(
            """
            INSERT INTO tenantry.pool_tenant (tenant_id, epoch, access, marker) VALUES (%s, %s, %s, %s)
            ON CONFLICT (tenant_id) DO UPDATE SET epoch = excluded.epoch, access = excluded.access,
                   marker = excluded.marker, updated_at = clock_timestamp()
            """,
            (tenant.tenant_id, tenant.epoch, tenant.access, marker),
        )


def delete(server: Server, tenant: PoolTenant, marker: str) -> None:
    """Shut the tenant out, remove its rows from every table of the pool, then its registration.

    Nothing happens if it is not registered. Can be repeated after a crash at any point.
    """
    found = read(server, tenant.database, tenant.tenant_id)
    if found is None:
        return
    if found[2] != marker:
        raise NotOurs(f"tenant {tenant.tenant_id} in pool {tenant.database} belongs to {found[2]!r}, not {marker!r}")
    with server.connect(tenant.database) as connection:
        _set_access(connection, tenant, "suspended")
        if markers.exists(connection, "SCHEMA", tenant.schema):
            _remove_rows(connection, tenant)
        with connection.transaction():
            become(connection, tenant.definer)
            connection.execute("DELETE FROM tenantry.pool_tenant WHERE tenant_id = %s", (tenant.tenant_id,))


def _set_access(connection: Connection, tenant: PoolTenant, access: str) -> None:
    with connection.transaction():
        become(connection, tenant.definer)
        connection.execute(
            "UPDATE tenantry.pool_tenant SET access = %s, updated_at = clock_timestamp() WHERE tenant_id = %s",
            (access, tenant.tenant_id),
        )


def _remove_rows(connection: Connection, tenant: PoolTenant) -> None:
    """Table by table, giving way to foreign keys; what refers to itself in a circle goes in one statement."""
    left = row_security.tenant_tables(connection, tenant.schema)
    while left:
        blocked = [table for table in left if not _empty(connection, tenant, table)]
        if len(blocked) == len(left):
            _remove_together(connection, tenant, blocked)
            return
        left = blocked


def _empty(connection: Connection, tenant: PoolTenant, table: str) -> bool:
    """Whether all rows of the tenant could be removed; False if others still refer to some."""
    target = sql.Identifier(tenant.schema, table)
    statement = sql.SQL(
        # A partitioned table's ctid is unique only with the partition.
        "DELETE FROM {0} WHERE (tableoid, ctid) IN (SELECT tableoid, ctid FROM {0} WHERE tenant_id = {1} LIMIT {2})"
    ).format(target, sql.Literal(tenant.tenant_id), sql.Literal(BATCH))
    while True:
        try:
            with connection.transaction():
                _enter(connection, tenant)
                removed = connection.execute(statement).rowcount
                if removed == 0:
                    row = connection.execute(sql.SQL("SELECT FROM {} LIMIT 1").format(target)).fetchone()
                    if row is not None:
                        raise PostgresProviderError(
                            f"rows of tenant {tenant.tenant_id} in {tenant.schema}.{table} can't be removed: "
                            "a trigger holds them back"
                        )
                _leave(connection, tenant)
        except psycopg.errors.ForeignKeyViolation:
            return False
        if removed == 0:
            return True


def _remove_together(connection: Connection, tenant: PoolTenant, tables: list[str]) -> None:
    deletes = [
        sql.SQL("{} AS (DELETE FROM {} WHERE tenant_id = {})").format(
            sql.Identifier(f"d{index}"), sql.Identifier(tenant.schema, table), sql.Literal(tenant.tenant_id)
        )
        for index, table in enumerate(tables)
    ]
    with connection.transaction():
        _enter(connection, tenant)
        connection.execute(sql.SQL("WITH {} SELECT").format(sql.SQL(", ").join(deletes)))
        _leave(connection, tenant)


def _enter(connection: Connection, tenant: PoolTenant) -> None:
    """Enter the suspended tenant as the tables' owner, in this transaction alone: nobody else sees its `full`.

    Row-level security stays in force, so a mistake here can't reach another tenant's rows either.
    """
    become(connection, tenant.definer)
    row = connection.execute(
        """
        WITH admitted AS (
            UPDATE tenantry.pool_tenant SET access = 'full' WHERE tenant_id = %(tenant)s RETURNING epoch::text AS epoch
        ), message AS (
            SELECT epoch, (extract(epoch FROM clock_timestamp())::bigint + %(seconds)s)::text AS expiry FROM admitted
        ), signed AS (
            SELECT epoch, expiry, sha256(k.opad || sha256(k.ipad
                       || convert_to(%(tenant)s || '|' || epoch || '|' || expiry, 'UTF8'))) AS mac
              FROM message, tenantry.pool_key k WHERE k.retires_at > clock_timestamp() LIMIT 1
        )
        SELECT set_config('app.current_tenant', %(tenant)s, true),
               set_config('app.tenant_token', expiry || '.' || epoch || '.' || encode(mac, 'hex'), true) IS NOT NULL
          FROM signed
        """,
        {"tenant": tenant.tenant_id, "seconds": _PURGE_SECONDS},
    ).fetchone()
    if row is None:
        raise PostgresProviderError(f"the pool {tenant.database} has no key in force: update the platform stack first")
    owner = connection.execute(
        "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = %s", (tenant.schema,)
    ).fetchone()
    assert owner is not None
    connection.execute("RESET ROLE")
    become(connection, str(owner[0]))


def _leave(connection: Connection, tenant: PoolTenant) -> None:
    connection.execute("RESET ROLE")
    become(connection, tenant.definer)
    connection.execute("UPDATE tenantry.pool_tenant SET access = 'suspended' WHERE tenant_id = %s", (tenant.tenant_id,))


@contextmanager
def entered(connection: Connection, tenant: PoolTenant) -> Iterator[None]:
    """Inside, the transaction reads what is the tenant's, whatever its access; at the end all of it is undone.

    Its registration is locked meanwhile: one statement inside, then out again.
    """
    with connection.transaction(force_rollback=True):
        _enter(connection, tenant)
        yield
