"""Connections that a tenant's login opens itself, past the SDK's sessions: what its password is good for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import psycopg

from isolation.attempts import Answer

if TYPE_CHECKING:
    from isolation.subject import Subject

Connection = psycopg.Connection[tuple[object, ...]]

# A refusal while connecting carries no SQLSTATE in libpq: its text is all there is.
_REFUSALS = (
    ("password authentication failed", "28P01"),
    ("SASL authentication failed", "28P01"),
    ("not permitted to log in", "28000"),
    ("no pg_hba.conf entry", "28000"),
    ("no such user", "28000"),
    ("SSL required", "28000"),
    ("no password supplied", "28P01"),
    ("does not exist", "28000"),
    ("permission denied for database", "42501"),
    ("permission denied for schema", "42501"),
)
REFUSED = ("28P01", "28000", "42501")


class Logins:
    """One connection a login for a whole proof, as its password opens it; handed out as if it were new."""

    def __init__(self) -> None:
        self._open: dict[tuple[object, ...], Connection] = {}

    @contextlib.contextmanager
    def own(self, subject: Subject) -> Iterator[Connection]:
        """The tenant's database with the tenant's login, and nothing entered. Not to be used twice at a time."""
        key = (*subject.database, subject.outputs.login)
        connection = self._open.pop(key, None) or self.connect(subject)
        with contextlib.ExitStack() as broken:
            broken.callback(connection.close)
            yield connection
            if connection.closed or connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                return
            connection.execute("DISCARD ALL")
            self._open[key] = connection
            broken.pop_all()

    def connect(self, subject: Subject) -> Connection:
        issued = subject.broker.credentials(subject.id)
        return _connect(subject, subject, issued.username, issued.password)

    def close(self) -> None:
        for connection in self._open.values():
            connection.close()
        self._open.clear()


@contextlib.contextmanager
def open_own(subject: Subject) -> Iterator[Connection]:
    """``Logins.own`` of the proof that ``subject`` is in."""
    with subject.logins.own(subject) as connection:
        yield connection


def knock(subject: Subject, at: Subject, *, username: str | None = None) -> Answer:
    """Log in at another tenant's database with the subject's password, as its own login or as ``username``."""
    issued = subject.broker.credentials(subject.id)
    return attempt_login(subject, at, username or issued.username, issued.password)


def attempt_login(subject: Subject, at: Subject, username: str, password: str, **parameters: str) -> Answer:
    """Log in at the database of ``at``; ``parameters`` are libpq's, laid over the SDK's."""
    try:
        with contextlib.closing(_connect(subject, at, username, password, **parameters)) as connection:
            who = connection.execute("SELECT session_user::text, current_database()::text").fetchone()
    except psycopg.OperationalError as error:
        text = str(error)
        state = next((state for words, state in _REFUSALS if words in text), error.sqlstate or "no answer")
        # the text names the server's address and the login, never a password
        words = next((words for words, _ in _REFUSALS if words in text), type(error).__name__)
        return Answer(state, words)
    assert who is not None
    return Answer("ok", f"logged in as {who[0]} to database {who[1]}")


def _connect(subject: Subject, at: Subject, username: str, password: str, **parameters: str) -> Connection:
    known = subject.sdk.config.connection_parameters(at.placement(), username, password)
    return psycopg.connect(autocommit=True, prepare_threshold=None, **{**known, **parameters})
