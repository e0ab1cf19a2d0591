"""What the families of attacks on a database are put together from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial

import psycopg
from psycopg import sql

from isolation.attempts import Answer, Layer, Probe, Severity, is_ok, is_one_of
from isolation.subject import Subject
from isolation.tables import Relation, Session, has_rows, names
from tenantry.session import TenantSession

DENIED = "42501"
is_denied = is_one_of(DENIED)
Ask = Callable[[], Answer]

SET_TENANT = "SELECT set_config('app.current_tenant', %s, true)"
SET_TOKEN = "SELECT set_config('app.tenant_token', %s, true)"  # noqa: S105 - the statement, no token


@dataclass(frozen=True)
class Own:
    """What the attacker is allowed, which every attack is paired with: asked once for all that share it."""

    tried: str
    ask: Ask

    @classmethod
    def reading(cls, subject: Subject, tables: Iterable[Relation]) -> Own:
        """Reads its own rows in ``tables``; where there are none, its own schema's name."""
        known = list(tables)
        if not known:
            return cls("opens a session of its own", cache(partial(in_session, subject, _schema)))
        return cls(f"reads its own rows in {names(known)}", cache(partial(in_session, subject, partial(_rows, known))))


def in_session(subject: Subject, work: Callable[[TenantSession], Answer]) -> Answer:
    """``work`` in a session of the tenant's, of which nothing remains."""
    with subject.session() as session:
        return work(session)


def _schema(session: TenantSession) -> Answer:
    row = session.execute("SELECT current_schema()").fetchone()
    return Answer("ok" if row else "none", f"in schema {row[0] if row else None}")


def _rows(tables: list[Relation], session: TenantSession) -> Answer:
    found = [each.name for each in tables if has_rows(session, each, session.tenant_id)]
    return Answer("ok" if found else "no rows", f"reads its own rows in {', '.join(found)}" if found else "of its own")


def run(session: Session, text: str | sql.Composed, parameters: tuple[object, ...] = ()) -> None:
    session.execute(text, parameters or None)


def refused(session: Session, text: str | sql.Composed, *expected: str, parameters: tuple[object, ...] = ()) -> bool:
    """Whether a statement, in a savepoint of its own, ends with one of the SQLSTATEs ``expected``."""
    try:
        with session.transaction():
            run(session, text, parameters)
    except psycopg.Error as error:
        return error.sqlstate in expected
    return False


def read_of(session: Session, tables: Iterable[Relation], tenant: str) -> Answer:
    """``ok`` if a row of ``tenant`` is seen, ``no rows`` if none is; raises what the server refuses."""
    for table in tables:
        if has_rows(session, table, tenant):
            return Answer("ok", f"reads a row of {tenant} in {table.name}")
    return Answer("no rows", f"of {tenant}")


def probe(
    name: str,
    tried: str,
    attack: Ask,
    own: Own,
    *,
    expected: str = DENIED,
    judged: Callable[[Answer], bool] = is_denied,
    severity: Severity = Severity.BREACH,
    fast: bool = False,
    by: str | None = None,
    layer: Layer = Layer.DATABASE,
    of_logins: bool = False,
) -> Probe:
    return Probe(
        name,
        layer,
        tried,
        expected,
        attack,
        judged,
        own.tried,
        own.ask,
        is_ok,
        severity,
        by=by,
        fast=fast,
        of_logins=of_logins,
    )
