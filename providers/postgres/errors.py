"""What the provider refuses or fails at. Messages say what, where and what to do; none holds a secret."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import psycopg

from providers.base import ProviderError


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
