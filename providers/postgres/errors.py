"""What the provider refuses or fails at. Messages say what, where and what to do; none holds a secret."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import grpc
import psycopg

from providers.base import ProviderError
from providers.postgres.patience import pause

R = TypeVar("R")
ATTEMPTS = 12  #: of an operation that others' changes of the same catalogue row get in the way of


class PostgresProviderError(ProviderError):
    """An operation failed; the message is shown to the user as the resource's error."""


class NotOurs(PostgresProviderError):
    """An object of that name exists and this stack did not create it."""


class ConnectionFailed(PostgresProviderError):
    """The server could not be reached, or refused the master, until the deadline."""


class DatabaseGone(ConnectionFailed):
    """There is no such database, or it is being dropped."""


class MigrationRefused(PostgresProviderError):
    """A migration file breaks a rule of the pool, or an applied file changed."""


@contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's errors into the provider's, with the server's message and SQLSTATE and never a statement.

    A connection that broke leaves the outcome open, which UNKNOWN tells the engine; a refusal changed nothing.
    """
    try:
        yield
    except psycopg.Error as error:
        diagnostic = error.diag
        if diagnostic.sqlstate is None:
            message = "the connection broke; refresh, then try again: " + " ".join(str(error).split())
            raise PostgresProviderError(message, grpc.StatusCode.UNKNOWN) from None
        parts = [f"PostgreSQL: {diagnostic.message_primary} (SQLSTATE {diagnostic.sqlstate})"]
        parts += [text for text in (diagnostic.message_detail, diagnostic.message_hint) if text]
        raise PostgresProviderError(". ".join(parts)) from None


def repeated(operation: Callable[[], R]) -> R:
    """The result of an idempotent ``operation``, tried again when another stack changed the same object meanwhile.

    PostgreSQL has no lock on the rows of its catalogue: of two GRANTs on one database at once, one fails.
    """
    for attempt in range(1, ATTEMPTS + 1):
        with translated():
            try:
                return operation()
            except psycopg.Error as error:
                if attempt == ATTEMPTS or not _is_conflict(error):
                    raise
        pause(random.uniform(0.02, 0.05) * 2 ** min(attempt, 6))  # noqa: S311 - jitter, not a secret
    raise AssertionError("the last attempt returns or raises")


def _is_conflict(error: psycopg.Error) -> bool:
    if isinstance(error, psycopg.errors.SerializationFailure | psycopg.errors.DeadlockDetected):
        return True
    message = error.diag.message_primary or ""
    return error.diag.sqlstate == "XX000" and message.startswith("tuple concurrently")
