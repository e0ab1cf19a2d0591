"""Connections that a tenant's login opens itself, past the SDK's sessions: what its password is good for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg

from isolation.attempts import Answer
from isolation.subject import Subject

Connection = psycopg.Connection[tuple[object, ...]]

# A refusal while connecting carries no SQLSTATE in libpq: its text is all there is.
_REFUSALS = (
    ("password authentication failed", "28P01"),
    ("SASL authentication failed", "28P01"),
    ("not permitted to log in", "28000"),
    ("no pg_hba.conf entry", "28000"),
    ("no such user", "28000"),
    ("permission denied for database", "42501"),
    ("permission denied for schema", "42501"),
)
REFUSED = ("28P01", "28000", "42501")


@contextlib.contextmanager
def open_own(subject: Subject) -> Iterator[Connection]:
    """The tenant's database with the tenant's login, and nothing entered."""
    issued = subject.broker.credentials(subject.id)
    with _open(subject, subject, issued.username, issued.password) as connection:
        yield connection


def knock(subject: Subject, at: Subject, *, username: str | None = None) -> Answer:
    """Log in at another tenant's database with the subject's password, as its own login or as ``username``."""
    issued = subject.broker.credentials(subject.id)
    try:
        with _open(subject, at, username or issued.username, issued.password) as connection:
            who = connection.execute("SELECT session_user::text, current_database()::text").fetchone()
    except psycopg.OperationalError as error:
        text = str(error)
        state = next((state for words, state in _REFUSALS if words in text), error.sqlstate or "no answer")
        # the text names the server's address and the login, never a password
        words = next((words for words, _ in _REFUSALS if words in text), type(error).__name__)
        return Answer(state, words)
    assert who is not None
    return Answer("ok", f"logged in as {who[0]} to database {who[1]}")


@contextlib.contextmanager
def _open(subject: Subject, at: Subject, username: str, password: str) -> Iterator[Connection]:
    parameters = subject.sdk.config.connection_parameters(at.placement(), username, password)
    with contextlib.closing(psycopg.connect(autocommit=True, prepare_threshold=None, **parameters)) as connection:
        yield connection
