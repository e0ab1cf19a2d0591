"""Attacks on a tenant whose tables are in another schema of the attacker's database: privileges stand between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from psycopg import sql

from isolation.attempts import Answer, Layer, Probe, is_ok, is_one_of
from isolation.subject import Subject
from isolation.tables import Relation, each_table, names
from isolation.witness import Holdings
from tenantry.session import TenantSession

DENIED = "42501"
is_denied = is_one_of(DENIED)


def probes(attacker: Subject, victim: Subject, own: Holdings, theirs: Holdings) -> Iterator[Probe]:
    """``theirs``: the victim's relations, as the victim's login sees them."""
    schema = victim.outputs.db_schema
    mine = [each for each in own.relations if each.is_table and each.readable]
    foreign = [each for each in theirs.relations if each.readable]
    tables = [each for each in foreign if each.is_table]

    def probe(
        name: str, tried: str, attack: Callable[[], Answer], own_tried: str, own_ask: Callable[[], Answer]
    ) -> Probe:
        fast = name == "read-schema"
        return Probe(name, Layer.DATABASE, tried, DENIED, attack, is_denied, own_tried, own_ask, is_ok, fast=fast)

    if foreign and mine:
        yield probe(
            "enter-schema",
            f"looks up a table in schema {schema}",
            _each(attacker, foreign[:1], _look_up, is_denied),
            f"looks up its own in schema {attacker.outputs.db_schema}",
            _each(attacker, mine[:1], _look_up, is_ok),
        )
        yield probe(
            "read-schema",
            f"reads {names(foreign)} in schema {schema}",
            _each(attacker, foreign, _read, is_denied),
            f"reads its own {names(mine)}",
            _each(attacker, mine, _read, is_ok),
        )
    writable = [each for each in mine if each.by_tenant and each.deletable]
    if tables and writable:
        yield probe(
            "write-schema",
            f"deletes from {names(tables)} in schema {schema}",
            _each(attacker, tables, _delete_nothing, is_denied),
            f"runs the same on its own {names(writable)}",
            _each(attacker, writable, _delete_nothing, is_ok),
        )

    def create(where: str) -> Callable[[], Answer]:
        def ask() -> Answer:
            with attacker.session() as session:
                statement = sql.SQL("CREATE TABLE {} (x int)")
                session.execute(statement.format(sql.Identifier(where, "tenantry_proof")))
                return Answer("ok", f"made a table in schema {where}")

        return ask

    yield Probe(
        "create-in-schema",
        Layer.DATABASE,
        f"creates a table in schema {schema}",
        DENIED,
        create(schema),
        is_denied,
        f"reads its own {names(mine)}",
        _each(attacker, mine, _read, is_ok),
        is_ok,
    )
    roles = sorted({each.owner for each in theirs.relations} | {victim.outputs.login} - {attacker.outputs.login})
    for role in roles:
        yield probe(
            "become-another",
            f"runs SET ROLE {role}, who may use schema {schema}",
            _set_role(attacker, role),
            f"runs SET ROLE with its own login {attacker.outputs.login}",
            _set_role(attacker, attacker.outputs.login),
        )


def _each(
    attacker: Subject,
    tables: Iterable[Relation],
    ask: Callable[[TenantSession, Relation], Answer],
    expected: Callable[[Answer], bool],
) -> Callable[[], Answer]:
    def asked() -> Answer:
        with attacker.session() as session:
            return each_table(session, tables, lambda table: ask(session, table), expected)

    return asked


def _look_up(session: TenantSession, table: Relation) -> Answer:
    session.execute("SELECT %s::regclass", (table.identifier.as_string(),))
    return Answer("ok", f"may look into schema {table.schema}")


def _read(session: TenantSession, table: Relation) -> Answer:
    rows = session.execute(sql.SQL("SELECT FROM {} LIMIT 1").format(table.identifier)).rowcount
    return Answer("ok", f"may read {table.schema}.{table.name}" + (", and gets rows" if rows else ""))


def _delete_nothing(session: TenantSession, table: Relation) -> Answer:
    # privileges are checked before a row is looked for
    session.execute(sql.SQL("DELETE FROM {} WHERE false").format(table.identifier))
    return Answer("ok", f"may delete rows of {table.schema}.{table.name}")


def _set_role(attacker: Subject, role: str) -> Callable[[], Answer]:
    def ask() -> Answer:
        with attacker.session() as session:
            session.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
            return Answer("ok", f"acts as {role}")

    return ask
