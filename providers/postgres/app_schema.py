"""Applying an application's migrations to a schema: each in one transaction, as its owner, recorded and checked."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg import sql

from providers.postgres import (
    as_owner,
    bookkeeping,
    catalogue,
    grants,
    markers,
    migrations,
    patient_locks,
    row_security,
)
from providers.postgres.connection import Connection, Server, become, ensure_member
from providers.postgres.errors import MigrationRefused, NotOurs, PostgresProviderError
from providers.postgres.migrations import Migration
from providers.postgres.patient_locks import patiently
from providers.postgres.sql_text import Statement

STATEMENT_TIMEOUT = "1h"


@dataclass(frozen=True)
class AppSchema:
    """``tenant_id`` pins a dedicated schema to its tenant: the default, and the only value, of the column.

    ``marker`` is the stack's, whose roles use the schema.
    """

    marker: str
    database: str
    schema: str
    owner: str
    mode: Literal["pool", "dedicated"]
    directory: Path
    migrations: tuple[dict[str, Any], ...]
    tenant_id: str | None = None


def converge(server: Server, app: AppSchema) -> int:
    """Apply what is missing and repair what drifted; returns the version the schema is at."""
    chosen = migrations.select(migrations.load(app.directory), app.migrations, app.directory)
    with server.connect(app.database) as connection:
        # Another update of the same schema may be under way.
        connection.execute(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'; SET lock_timeout = '15min'".encode())
        connection.execute("SELECT pg_advisory_lock(hashtextextended('tenantry migrations ' || %s, 0))", (app.schema,))
        connection.execute(f"SET lock_timeout = '{patient_locks.LOCK_TIMEOUT}'".encode())
        with connection.transaction():
            _register(connection, app)
        applied = _applied(connection, app.schema)
        _refuse_changed(app, chosen, applied)
        with connection.transaction():
            become(connection, app.owner)
            connection.execute("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON ROUTINES FROM PUBLIC")
        if app.mode == "pool":
            _renew_policies(connection, app)
        for migration in chosen[len(applied) :]:
            patiently(functools.partial(_apply, connection, app, migration, chosen))
        patiently(lambda: _repair(connection, app, _reference_tables(chosen)))
    return len(chosen)


def _renew_policies(connection: Connection, app: AppSchema) -> None:
    """Bring policies of an earlier release to this one's, before a migration is judged by them.

    A table a transaction: together they would hold locks on all tables until the last one is free.
    """
    with connection.transaction():
        outdated = row_security.outdated(connection, app.schema)
    for name in outdated:

        def renew(table: str = name) -> None:
            with connection.transaction():
                patient_locks.limit(connection)
                become(connection, app.owner)
                row_security.renew(connection, app.schema, table)

        patiently(renew)


def _register(connection: Connection, app: AppSchema) -> None:
    bookkeeping.ensure_tables(connection)
    if app.mode == "pool" and not bookkeeping.table_exists(connection, "pool_tenant"):
        raise PostgresProviderError(
            f"database {app.database} has no pool security: declare that the AppSchema depends on the PoolSecurity"
        )
    known = bookkeeping.registered(connection, app.schema)
    if known is None:
        connection.execute(
            "INSERT INTO tenantry.app_schema (schema_name, mode, marker) VALUES (%s, %s, %s)",
            (app.schema, app.mode, app.marker),
        )
    else:
        _require_ours(app, known)


def _require_ours(app: AppSchema, known: bookkeeping.Registered) -> None:
    if known.marker != app.marker:
        raise NotOurs(
            f"the migrations of schema {app.schema} in {app.database} belong to {known.marker!r}, not {app.marker!r}"
        )
    if known.mode != app.mode:
        raise NotOurs(f"schema {app.schema} in {app.database} is {known.mode}, not {app.mode}: delete it first")


def _applied(connection: Connection, schema: str) -> list[tuple[int, str, str]]:
    if not bookkeeping.table_exists(connection, "migration"):
        return []
    rows = connection.execute(
        "SELECT version, name, sha256 FROM tenantry.migration WHERE schema_name = %s ORDER BY version", (schema,)
    ).fetchall()
    return [(int(str(version)), str(name), str(sha256)) for version, name, sha256 in rows]


def _refuse_changed(app: AppSchema, chosen: Sequence[Migration], applied: Sequence[tuple[int, str, str]]) -> None:
    if len(applied) > len(chosen):
        version, name, _ = applied[-1]
        raise MigrationRefused(
            f"schema {app.schema} is at {version:04d}_{name}.sql, the stack asks for {len(chosen):04d}: "
            "migrations only go forward. Restore the missing files, or the version"
        )
    for migration, (version, name, sha256) in zip(chosen, applied, strict=False):
        if migration.sha256 != sha256:
            raise MigrationRefused(
                f"{migration.path.name}: was changed after it was applied to schema {app.schema} as "
                f"{version:04d}_{name}.sql: its SHA-256 was {sha256}, is {migration.sha256}. "
                "Restore the file and put the change into a new migration"
            )


def _apply(connection: Connection, app: AppSchema, migration: Migration, chosen: Sequence[Migration]) -> None:
    declared = _reference_tables(chosen[: migration.version])
    broken: list[catalogue.Violation] = []
    try:
        with connection.transaction():
            before = _enter(connection, app, migration)
            with as_owner.runner(connection, app.schema) as run:
                for statement in migration.statements:
                    _execute(run, migration, statement)
                _finish(run, migration)
            broken = _violations(connection, app, declared, before)
            if broken:
                raise _Broken
            _secure(connection, app, declared)
            connection.execute("RESET ROLE")
            connection.execute(
                "INSERT INTO tenantry.migration (schema_name, version, name, sha256) VALUES (%s, %s, %s, %s)",
                (app.schema, migration.version, migration.name, migration.sha256),
            )
    except _Broken:
        raise _blame(connection, app, migration, declared, broken) from None


class _Broken(Exception):
    """Rolls the migration back."""


def _reference_tables(chosen: Sequence[Migration]) -> frozenset[str]:
    return frozenset().union(*(migration.reference_tables for migration in chosen))


def _enter(connection: Connection, app: AppSchema, migration: Migration) -> frozenset[str]:
    """Become the owner; returns the tables whose rows are guarded before the migration."""
    patient_locks.limit(connection)
    become(connection, app.owner)
    before: frozenset[str] = frozenset()
    if app.mode == "pool":
        before = row_security.secured(connection, app.schema)
        if migration.all_tenants:
            row_security.unforce(connection, app.schema)
    _search(connection, app)
    return before


def _search(connection: Connection, app: AppSchema) -> None:
    connection.execute(sql.SQL("SET LOCAL search_path = {}, pg_temp").format(sql.Identifier(app.schema)))


def _execute(run: as_owner.Run, migration: Migration, statement: Statement) -> None:
    try:
        run(statement.text)
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
        raise
    except psycopg.Error as error:
        if error.diag.sqlstate is None:
            raise
        raise migration.refuse(_line(error, statement), _reason(error, migration)) from None


def _finish(run: as_owner.Run, migration: Migration) -> None:
    """Let deferred constraints and triggers act now, as the owner: at the commit they would act as the master."""
    try:
        run("SET CONSTRAINTS ALL IMMEDIATE")
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
        raise
    except psycopg.Error as error:
        if error.diag.sqlstate is None:
            raise
        last = migration.statements[-1].line if migration.statements else 1
        raise migration.refuse(last, "at its end: " + _reason(error, migration)) from None


def _line(error: psycopg.Error, statement: Statement) -> int:
    """PostgreSQL tells a position in the text it failed at, which may be that of a function's body instead."""
    known = error.diag.internal_query == statement.text and error.diag.internal_position
    return statement.line_at(int(known) - 1) if known else statement.line


def _reason(error: psycopg.Error, migration: Migration) -> str:
    reason = f"{error.diag.message_primary} (SQLSTATE {error.diag.sqlstate})"
    reason += "".join(f". {text}" for text in (error.diag.message_detail, error.diag.message_hint) if text)
    if error.diag.message_primary == "no tenant entered" and not migration.all_tenants:
        reason += ". A migration that changes every tenant's rows says so by the comment '-- tenantry: all-tenants'"
    elif error.diag.sqlstate == "42501":
        reason += ". A migration acts as the owner of its schema and reaches nothing else"
    return reason


def _violations(
    connection: Connection, app: AppSchema, declared: frozenset[str], before: frozenset[str] = frozenset()
) -> list[catalogue.Violation]:
    connection.execute("SET LOCAL search_path = pg_catalog")
    found = catalogue.violations(connection, app.schema, declared, app.marker)
    return (
        found
        + [
            catalogue.Violation(
                f"table {name}",
                "is not guarded any more: row-level security and the policy "
                f"{row_security.POLICY} are Tenantry's; take out what disables, drops or alters them",
            )
            for name in row_security.lost(connection, app.schema, before)
        ]
        if before
        else found
    )


def _blame(
    connection: Connection,
    app: AppSchema,
    migration: Migration,
    declared: frozenset[str],
    broken: Sequence[catalogue.Violation],
) -> MigrationRefused:
    """Run the migration once more, looking after each statement, and roll it back: which one broke the rule?"""
    since: dict[catalogue.Violation, int] = {}
    try:
        with connection.transaction():
            before = _enter(connection, app, migration)
            for statement in migration.statements:
                _search(connection, app)
                with as_owner.runner(connection, app.schema) as run:
                    _execute(run, migration, statement)
                present = set(_violations(connection, app, declared, before))
                since = {violation: since.get(violation, statement.line) for violation in present}
            raise _Broken
    except (_Broken, psycopg.Error):
        pass
    lines = [f"{migration.path.name}:{since.get(violation, 1)}: {violation}" for violation in broken]
    return MigrationRefused("\n".join(sorted(lines, key=lambda text: (int(text.split(":")[1]), text))))


def _secure(connection: Connection, app: AppSchema, declared: frozenset[str]) -> None:
    """Row-level security, the pin, and the logins' privileges; as the owner."""
    if app.mode == "pool":
        row_security.enforce(connection, app.schema)
    elif app.tenant_id is not None:
        row_security.pin(connection, app.schema, app.tenant_id)
    connection.execute(
        sql.SQL("REVOKE ALL ON ALL ROUTINES IN SCHEMA {} FROM PUBLIC").format(sql.Identifier(app.schema))
    )
    known = bookkeeping.Registered(app.mode, app.marker, declared)
    for role in grants.users(connection, app.schema, app.marker):
        writes = grants.writes(connection, app.schema, role)
        grants.converge(connection, app.schema, role, known, writes=writes)


def _repair(connection: Connection, app: AppSchema, declared: frozenset[str]) -> None:
    with connection.transaction():
        connection.execute(
            "UPDATE tenantry.app_schema SET reference_tables = %(tables)s"
            " WHERE schema_name = %(schema)s AND reference_tables <> %(tables)s",
            {"schema": app.schema, "tables": sorted(declared)},
        )
        patient_locks.limit(connection)
        become(connection, app.owner)
        if app.mode == "pool":
            for table, policy in row_security.foreign_policies(connection, app.schema):
                connection.execute(
                    sql.SQL("DROP POLICY {} ON {}").format(sql.Identifier(policy), sql.Identifier(app.schema, table))
                )
        grants.revoke_foreign(connection, app.schema, app.marker)
        _secure(connection, app, declared)


def read(server: Server, app: AppSchema) -> tuple[int, list[str]] | None:
    """The version the schema is at and what differs from what the migrations made; None if nothing is there."""
    with server.connect() as connection:
        if not markers.exists(connection, "DATABASE", app.database):
            return None
    with server.connect(app.database) as connection:
        if not markers.exists(connection, "SCHEMA", app.schema):
            return None
        known = bookkeeping.registered(connection, app.schema)
        if known is None:
            return None
        applied = _applied(connection, app.schema)
        drift = [] if known.marker == app.marker else [f"the migrations belong to {known.marker!r}"]
        for (version, name, sha256), declared in zip(applied, app.migrations, strict=False):
            if sha256 != declared["sha256"]:
                drift.append(f"migration {version:04d}_{name} was applied with SHA-256 {sha256}")
        if app.mode == "pool":
            drift += row_security.drift(connection, app.schema)
        elif app.tenant_id is not None:
            drift += row_security.pin_drift(connection, app.schema, app.tenant_id)
        drift += _broken_rules(connection, app, len(applied))
    return len(applied), drift


def _broken_rules(connection: Connection, app: AppSchema, version: int) -> list[str]:
    """Rules that objects made behind the migrations' back break; none can be told without the files."""
    try:
        found = migrations.load(app.directory)
    except MigrationRefused:
        return []
    with connection.transaction():
        return [str(violation) for violation in _violations(connection, app, _reference_tables(found[:version]))]


def delete(server: Server, app: AppSchema) -> None:
    """Drop what the schema holds and forget its migrations; nothing happens if database or schema is gone."""
    with server.connect() as connection:
        if not markers.exists(connection, "DATABASE", app.database):
            return
    with server.connect(app.database) as connection:
        known = bookkeeping.registered(connection, app.schema)
        if known is None:
            return
        if known.marker != app.marker:
            raise NotOurs(f"the migrations of schema {app.schema} in {app.database} belong to {known.marker!r}")
        patiently(lambda: _drop(connection, app))


_DROPS = """
SELECT format('DROP %%s %%I.%%I CASCADE', CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
              WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, n.nspname, c.relname)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND NOT EXISTS (
       SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('i', 'a')
          AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> c.oid)  -- a partitioned table's on its own key
 UNION ALL
SELECT format('DROP ROUTINE %%s CASCADE', p.oid::regprocedure)
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = %(schema)s
 UNION ALL
SELECT format('DROP %%s %%I.%%I CASCADE', CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, n.nspname, t.typname)
  FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
 WHERE n.nspname = %(schema)s AND (t.typtype IN ('d', 'e', 'r') OR t.typtype = 'c' AND c.relkind = 'c')
"""


def _drop(connection: Connection, app: AppSchema) -> None:
    with connection.transaction():
        patient_locks.limit(connection)
        if markers.exists(connection, "SCHEMA", app.schema):
            ensure_member(connection, app.owner)
            become(connection, app.owner)
            connection.execute("SET LOCAL search_path = pg_catalog")
            while rows := connection.execute(_DROPS, {"schema": app.schema}).fetchall():
                # One at a time: a CASCADE may have dropped what the list still names.
                connection.execute(str(rows[0][0]).encode())
            connection.execute("RESET ROLE")
        bookkeeping.lock(connection)
        connection.execute("DELETE FROM tenantry.migration WHERE schema_name = %s", (app.schema,))
        connection.execute("DELETE FROM tenantry.app_schema WHERE schema_name = %s", (app.schema,))
        bookkeeping.drop_if_unused(connection)
