"""Attacks on a tenant whose tables are the attacker's too: nothing but row-level security stands between them."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from psycopg import sql

from isolation import connections, shared_writes
from isolation.attempts import Answer, Layer, Probe, answered, is_ok, is_one_of
from isolation.subject import Subject
from isolation.tables import Relation, Session, above_row_security, each_table, has_rows, names
from isolation.witness import Holdings
from tenantry.session import TenantSession

DENIED = "42501"
is_denied = is_one_of(DENIED)
_SET_TENANT = "SELECT set_config('app.current_tenant', %s, true)"
_SET_TOKEN = "SELECT set_config('app.tenant_token', %s, true)"  # noqa: S105 - the statement, no token


def probes(attacker: Subject, victim: Subject, own: Holdings, theirs: Holdings) -> Iterator[Probe]:
    """``own`` and ``theirs``: what each of the two has in the shared tables."""
    mine, foreign = own.with_rows, theirs.with_rows

    def read_own() -> Answer:
        with attacker.session() as session:
            return _rows_of(session, mine, attacker.id)

    def denied(name: str, tried: str, attack: Callable[[], Answer], own: Callable[[], Answer], own_tried: str) -> Probe:
        return Probe(name, Layer.DATABASE, tried, DENIED, attack, is_denied, own_tried, own, is_ok, fast=True)

    reads_own = f"reads its own rows in {names(mine)}"

    def without_tenant() -> Answer:
        with connections.open_own(attacker) as connection:
            return each_table(
                connection, foreign, lambda table: _read_others(connection, table, attacker.id), is_denied
            )

    yield denied(
        "no-tenant",
        f"logs in and reads {names(foreign)} without entering any tenant",
        without_tenant,
        read_own,
        reads_own,
    )

    def forged(*settings: tuple[Any, str]) -> Callable[[], Answer]:
        def attack() -> Answer:
            with attacker.session() as session:
                for statement, value in settings:
                    session.execute(statement, (value,))
                return each_table(session, foreign, lambda table: _read_others(session, table, attacker.id), is_denied)

        return attack

    yield denied(
        "forged-tenant",
        f"sets app.current_tenant to {victim.id} in raw SQL and reads {names(foreign)}",
        forged((_SET_TENANT, victim.id)),
        forged_own(attacker, mine),
        f"sets app.current_tenant to itself and {reads_own}",
    )
    yield denied(
        "forged-token",
        f"sets app.current_tenant to {victim.id} and a token signed with a key of its own, and reads {names(foreign)}",
        forged((_SET_TENANT, victim.id), (_SET_TOKEN, forged_token(victim))),
        read_own,
        f"with the broker's token {reads_own}",
    )

    def reset() -> Answer:
        with attacker.session() as session:
            session.execute("RESET ALL")
            return each_table(session, foreign, lambda table: _read_others(session, table, attacker.id), is_denied)

    yield denied("reset-all", f"runs RESET ALL and reads {names(foreign)}", reset, read_own, reads_own)

    def read_all() -> Answer:
        with attacker.session() as session:
            readable = [each for each in own.relations if each.by_tenant and each.readable]
            for table in readable:
                answer = answered(lambda t=table: _read_others(session, t, attacker.id))  # type: ignore[misc]
                if answer.code != "no rows":
                    return answer
            return Answer("no rows", f"of any other tenant in {names(readable)}")

    yield Probe(
        "raw-select",
        Layer.DATABASE,
        f"reads every table and view in raw SQL, without a condition, for rows that are not its own; {victim.id} has"
        f" rows in {names(foreign)}",
        "no rows",
        read_all,
        is_one_of("no rows"),
        reads_own,
        read_own,
        is_ok,
        fast=True,
    )
    yield _unprotected(attacker, own)
    yield Probe(
        "privileged-code",
        Layer.DATABASE,
        "looks in the catalogue for a function or view it may use that runs as a role above row-level security",
        "none",
        lambda: _above(attacker),
        is_one_of("none"),
        "runs tenantry.current_tenant(), whose owner is not above it",
        lambda: _entered(attacker),
        is_ok,
    )
    yield from shared_writes.probes(attacker, victim, own, theirs)
    yield from _roles(attacker, own, read_own, reads_own)


def forged_own(attacker: Subject, mine: Iterable[Relation]) -> Callable[[], Answer]:
    def ask() -> Answer:
        with attacker.session() as session:
            session.execute(_SET_TENANT, (attacker.id,))
            return _rows_of(session, mine, attacker.id)

    return ask


def forged_token(victim: Subject) -> str:
    """Well-formed in everything but the key."""
    expiry = int(time.time()) + 600
    message = f"{victim.id}|{victim.outputs.epoch}|{expiry}".encode()
    return f"{expiry}.{victim.outputs.epoch}.{hmac.new(secrets.token_bytes(64), message, hashlib.sha256).hexdigest()}"


def _unprotected(attacker: Subject, own: Holdings) -> Probe:
    def look() -> Answer:
        for each in own.relations:
            if each.kind in ("materialized view", "foreign table"):
                return Answer("open", f"{each.kind} {each.name}, to which row-level security can't apply")
            if each.is_table and each.by_tenant and not each.protected:
                return Answer("open", f"table {each.name}, whose rows of all tenants it may use")
            if each.is_table and not each.by_tenant and each.changeable:
                return Answer("open", f"table {each.name}, which has no tenant_id and which it may change")
        return Answer("none", "row-level security is forced on every table with a tenant's rows")

    def usable() -> Answer:
        protected = [each for each in own.relations if each.protected]
        return Answer("ok" if protected else "none", f"it may use {names(protected)}")

    return Probe(
        "unprotected-table",
        Layer.DATABASE,
        "looks in the catalogue for a table it may use that row-level security does not cover",
        "none",
        look,
        is_one_of("none"),
        "looks there for the tables it may use under row-level security",
        usable,
        is_ok,
    )


def _above(attacker: Subject) -> Answer:
    with attacker.session() as session:
        found = above_row_security(session)
    return Answer("open", ", ".join(found)) if found else Answer("none", "there is none")


def _entered(attacker: Subject) -> Answer:
    with attacker.session() as session:
        row = session.execute("SELECT tenantry.current_tenant()").fetchone()
    return Answer("ok" if row == (attacker.id,) else "another tenant", f"is {row[0] if row else 'nobody'}")


def _roles(attacker: Subject, own: Holdings, read_own: Callable[[], Answer], reads_own: str) -> Iterator[Probe]:
    def statement(text: sql.Composable) -> Callable[[], Answer]:
        def ask() -> Answer:
            with attacker.session() as session:
                session.execute(sql.SQL("{}").format(text))
                return _rows_of(session, own.with_rows, attacker.id)

        return ask

    for owner in sorted({each.owner for each in own.relations}):
        yield Probe(
            "set-role",
            Layer.DATABASE,
            f"runs SET ROLE {owner}, who owns the tables",
            DENIED,
            statement(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(owner))),
            is_denied,
            f"runs SET ROLE with its own login and {reads_own}",
            statement(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(attacker.outputs.login))),
            is_ok,
        )
    yield Probe(
        "row-security-off",
        Layer.DATABASE,
        "switches row_security off and reads",
        DENIED,
        statement(sql.SQL("SET LOCAL row_security = off")),
        is_denied,
        f"with row_security on {reads_own}",
        statement(sql.SQL("SET LOCAL row_security = on")),
        is_ok,
    )

    def read_key() -> Answer:
        with attacker.session() as session:
            session.execute("SELECT FROM tenantry.pool_key").fetchall()
            return Answer("ok", "reads the key that tokens are signed with")

    yield Probe(
        "token-key",
        Layer.DATABASE,
        "reads the key with which tenants' tokens are signed",
        DENIED,
        read_key,
        is_denied,
        reads_own,
        read_own,
        is_ok,
    )


def _read_others(session: Session, table: Relation, attacker: str) -> Answer:
    statement = sql.SQL("SELECT tenant_id FROM {} WHERE tenant_id IS DISTINCT FROM %s LIMIT 1")
    found = session.execute(statement.format(table.identifier), (attacker,)).fetchone()
    if found is None:
        return Answer("no rows", f"in {table.name}")
    return Answer("ok", f"reads a row of {found[0]} in {table.name}")


def _rows_of(session: TenantSession, tables: Iterable[Relation], tenant_id: str) -> Answer:
    found = [each.name for each in tables if has_rows(session, each, tenant_id)]
    return Answer("ok" if found else "no rows", f"reads its own rows in {', '.join(found)}" if found else "of its own")
