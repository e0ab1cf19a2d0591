"""Rows written for another tenant, given to it, or taken from it, in tables that both have."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from psycopg import sql

from isolation.attempts import Answer, Layer, Probe, is_ok, is_one_of
from isolation.subject import Subject
from isolation.tables import Relation, each_table, names
from isolation.witness import Holdings
from tenantry.session import TenantSession

DENIED = "42501"
is_denied = is_one_of(DENIED)


def probes(attacker: Subject, victim: Subject, own: Holdings, theirs: Holdings) -> Iterator[Probe]:
    insertable = [each for each in own.relations if each.is_table and each.by_tenant and each.insertable]
    movable = [each for each in own.with_rows if each.is_table and each.updatable]
    stealable = [each for each in theirs.with_rows if each.is_table and each.deletable]
    deletable = [each for each in own.with_rows if each.is_table and each.deletable]

    def insert(tenant_id: str) -> Callable[[], Answer]:
        # only tenant_id is given: row-level security is asked before a table's constraints are
        def ask() -> Answer:
            with attacker.session() as session:
                statement = sql.SQL("INSERT INTO {} (tenant_id) VALUES (%s)")
                return each_table(
                    session,
                    insertable,
                    lambda table: _count(session, statement, table, tenant_id),
                    past_security if tenant_id == attacker.id else is_denied,
                )

        return ask

    if insertable:
        yield Probe(
            "insert-for-another",
            Layer.DATABASE,
            f"inserts a row with tenant_id {victim.id} into {names(insertable)}",
            DENIED,
            insert(victim.id),
            is_denied,
            f"inserts rows with its own tenant_id into {names(insertable)}: row-level security lets them through, the"
            " tables' constraints may not",
            insert(attacker.id),
            past_security,
            fast=True,
        )
    if movable:
        move = sql.SQL("UPDATE {0} SET tenant_id = %s WHERE ctid = (SELECT ctid FROM {0} LIMIT 1)")

        def update(tenant_id: str) -> Callable[[], Answer]:
            def ask() -> Answer:
                with attacker.session() as session:
                    expected = is_ok if tenant_id == attacker.id else is_denied
                    return each_table(session, movable, lambda table: _count(session, move, table, tenant_id), expected)

            return ask

        yield Probe(
            "give-a-row-away",
            Layer.DATABASE,
            f"changes tenant_id of a row of its own to {victim.id} in {names(movable)}",
            DENIED,
            update(victim.id),
            is_denied,
            f"sets tenant_id of a row to itself in {names(movable)}",
            update(attacker.id),
            is_ok,
        )
    if stealable and deletable:
        remove = sql.SQL("DELETE FROM {0} WHERE ctid = (SELECT ctid FROM {0} WHERE tenant_id = %s LIMIT 1)")

        def delete(tenant_id: str, tables: list[Relation]) -> Callable[[], Answer]:
            def ask() -> Answer:
                with attacker.session() as session:
                    expected = is_ok if tenant_id == attacker.id else is_one_of("no rows")
                    return each_table(
                        session, tables, lambda table: _count(session, remove, table, tenant_id), expected
                    )

            return ask

        yield Probe(
            "delete-anothers",
            Layer.DATABASE,
            f"deletes a row of {victim.id} from {names(stealable)}",
            "no rows",
            delete(victim.id, stealable),
            is_one_of("no rows"),
            f"deletes a row of its own from {names(deletable)} (and rolls back)",
            delete(attacker.id, deletable),
            is_ok,
        )


def past_security(answer: Answer) -> bool:
    """Whether a row got past row-level security: stored, or refused by a constraint of its table (class 23)."""
    return is_ok(answer) or answer.code.startswith("23")


def _count(session: TenantSession, statement: sql.SQL, table: Relation, tenant_id: str) -> Answer:
    changed = session.execute(statement.format(table.identifier), (tenant_id,)).rowcount
    return Answer("ok", f"{changed} row") if changed else Answer("no rows", f"in {table.name}")
