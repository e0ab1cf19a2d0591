"""A connection that served one tenant and serves another: after an error, a rollback, a killed client, a lost server.

What is between the SDK and the server (PgBouncer) is between here as well: connections are opened with the SDK's
parameters.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator

import psycopg

from isolation.attacks.common import DENIED, SET_TENANT, SET_TOKEN, Own, probe, read_of, refused
from isolation.attempts import Answer, Probe, answered, is_one_of
from isolation.connections import Connection, open_own
from isolation.subject import Subject
from isolation.tables import names
from isolation.witness import Holdings

End = Callable[[Connection], None]


def probes(attacker: Subject, victim: Subject, own: Holdings, theirs: Holdings) -> Iterator[Probe]:
    """Within a pool, whose tenants share a login: the victim's transaction first, then the attacker's look."""
    where = names(theirs.with_rows)

    def enter(connection: Connection) -> None:
        token = victim.broker.credentials(victim.id).token
        connection.execute(SET_TENANT, (victim.id,))
        connection.execute(SET_TOKEN, (token,))

    def after(end: End) -> Callable[[], Answer]:
        def attack() -> Answer:
            with open_own(attacker) as connection:
                connection.execute("BEGIN")
                enter(connection)
                if read_of(connection, theirs.with_rows, victim.id).code != "ok":
                    return Answer("nothing", f"{victim.id} did not see its own rows in {where}")
                end(connection)
                return _look(connection, theirs, victim.id)

        return attack

    def entered() -> Answer:
        with open_own(attacker) as connection, connection.transaction(force_rollback=True):
            enter(connection)
            return read_of(connection, theirs.with_rows, victim.id)

    during = Own(f"as {victim.id}, with its token, reads {where} while the transaction lasts", entered)
    for name, words, end in _ENDS:
        yield probe(
            f"after-{name}",
            f"reads {where} on the connection on which {victim.id} {words}",
            after(end),
            during,
            fast=name in ("error", "commit"),
        )

    def killed() -> Answer:
        with contextlib.closing(attacker.logins.connect(attacker)) as connection:
            connection.execute("BEGIN")
            enter(connection)
            read_of(connection, theirs.with_rows, victim.id)
            _cut(connection)
        # whatever handed out the server's connection may hand it out again
        for _ in range(3):
            with contextlib.closing(attacker.logins.connect(attacker)) as connection:
                answer = _look(connection, theirs, victim.id)
                if answer.code != DENIED:
                    return answer
        return answer

    yield probe(
        "after-killed-client",
        f"reads {where} on new connections after {victim.id}'s was cut in the middle of its transaction",
        killed,
        during,
        of_logins=True,
    )
    yield from _through_sdk(attacker, victim, own, theirs)


def _look(connection: Connection, theirs: Holdings, victim: str) -> Answer:
    """What is left of the victim on a connection, for somebody who enters nobody."""
    row = connection.execute("SELECT current_setting('app.current_tenant', true)").fetchone()
    if row is not None and row[0] == victim:
        return Answer("ok", f"app.current_tenant is still {victim}")
    for table in theirs.with_rows:
        answer = answered(lambda t=table: read_of(connection, [t], victim))  # type: ignore[misc]
        if answer.code != DENIED:
            return answer
    return Answer(DENIED, "no tenant is entered")


def _error(connection: Connection) -> None:
    with contextlib.suppress(psycopg.errors.DivisionByZero):
        connection.execute("SELECT 1 / 0")
    connection.execute("ROLLBACK")


def _savepoint(connection: Connection) -> None:
    connection.execute("ROLLBACK")
    connection.execute("BEGIN; SAVEPOINT entered; SELECT 1; ROLLBACK TO SAVEPOINT entered; COMMIT")


def _chain(connection: Connection) -> None:
    connection.execute("COMMIT AND CHAIN")
    connection.execute("COMMIT")


def _rollback(connection: Connection) -> None:
    connection.execute("ROLLBACK")


def _commit(connection: Connection) -> None:
    connection.execute("COMMIT")


def _failed_commit(connection: Connection) -> None:
    refused(connection, "SELECT 1 / 0", "22012")
    with contextlib.suppress(psycopg.Error):
        connection.execute("SELECT 1 / 0")
    connection.execute("COMMIT")


_ENDS: tuple[tuple[str, str, End], ...] = (
    ("error", "ran into an error and rolled back", _error),
    ("rollback", "rolled back", _rollback),
    ("commit", "committed", _commit),
    ("savepoint", "rolled back, and somebody rolled back to a savepoint", _savepoint),
    ("chain", "committed and chained another transaction", _chain),
    ("failed-commit", "committed what had failed", _failed_commit),
)


def _cut(connection: Connection) -> None:
    """As a client does that is killed: without a word to the server."""
    with socket.socket(fileno=os.dup(connection.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)


def _through_sdk(attacker: Subject, victim: Subject, own: Holdings, theirs: Holdings) -> Iterator[Probe]:
    """What a tenant leaves on a connection of the SDK's pool, and what the next one finds."""
    where = names(theirs.with_rows)
    left = (
        "SELECT set_config('app.current_tenant', %(victim)s, false), set_config('app.tenant_token', %(token)s, false)",
        "SELECT set_config('search_path', 'pg_temp', false)",
        "DECLARE tenantry_proof CURSOR WITH HOLD FOR SELECT 1",
        "PREPARE tenantry_proof AS SELECT 1",
        "SELECT pg_advisory_lock(7428)",
        "LISTEN tenantry_proof",
    )

    def leaves() -> Answer:
        with contextlib.suppress(_Left), victim.sdk.session(victim.id) as session:
            for statement in left:
                token = victim.broker.credentials(victim.id).token
                session.execute(statement, {"victim": victim.id, "token": token} if "%(" in statement else None)
            raise _Left
        with attacker.session() as session:
            found = session.execute(
                "SELECT current_setting('app.current_tenant'), (SELECT count(*) FROM pg_cursors WHERE is_holdable)"
                " + (SELECT count(*) FROM pg_prepared_statements) + (SELECT count(*) FROM pg_listening_channels())"
            ).fetchone()
            answer = read_of(session, theirs.with_rows, victim.id)
        if found is None or found[0] != attacker.id or found[1]:
            return Answer("ok", f"finds {found[1] if found else 'nothing'} things that {victim.id} left")
        return answer

    def lost() -> Answer:
        with contextlib.suppress(Exception), victim.sdk.session(victim.id) as session:
            read_of(session, theirs.with_rows, victim.id)
            session.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        with attacker.session() as session:
            row = session.execute("SELECT current_setting('app.current_tenant')").fetchone()
            if row != (attacker.id,):
                return Answer("ok", "the session is not its own")
            return read_of(session, theirs.with_rows, victim.id)

    def failed() -> Answer:
        with contextlib.suppress(psycopg.Error), victim.sdk.session(victim.id) as session:
            read_of(session, theirs.with_rows, victim.id)
            session.execute("SELECT 1 / 0")
        with attacker.session() as session:
            return read_of(session, theirs.with_rows, victim.id)

    allowed = Own.reading(attacker, own.with_rows)
    for name, words, ask in (
        ("session-after-error", "its session ran into an error", failed),
        ("session-after-lost-server", "the server ended its session", lost),
        ("session-after-leftovers", "it left settings, cursors, statements, locks and listeners behind", leaves),
    ):
        yield probe(
            name,
            f"in its own session of the SDK reads {where} of {victim.id} after {words}",
            ask,
            allowed,
            expected="no rows",
            judged=is_one_of("no rows"),
            of_logins=True,
        )


class _Left(Exception):
    """Rolls back what was done; what outlives a transaction is left."""
