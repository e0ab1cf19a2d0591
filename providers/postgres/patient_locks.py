"""Changes of tables that others use: they give way to other sessions' locks and come again.

A change that waits for a lock makes everyone wait who comes after it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import psycopg

from providers.postgres.connection import Connection
from providers.postgres.errors import PostgresProviderError
from providers.postgres.patience import pause

LOCK_TIMEOUT = "500ms"
LOCK_DEADLINE = 120.0  #: seconds of coming again


def limit(connection: Connection) -> None:
    """Until the end of the transaction, wait for no lock longer than ``LOCK_TIMEOUT``."""
    connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'".encode())


def patiently(action: Callable[[], None]) -> None:
    """Repeat an action that gave way to other sessions' locks, with growing pauses, until ``LOCK_DEADLINE``."""
    deadline = time.monotonic() + LOCK_DEADLINE
    delay = 0.2
    while True:
        try:
            action()
            return
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            if time.monotonic() > deadline:
                raise PostgresProviderError(
                    f"other sessions kept the tables locked for {LOCK_DEADLINE:.0f} s "
                    f"({error.diag.message_primary}). End long transactions and run the update again"
                ) from None
            pause(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
            delay = min(delay * 2, 5.0)
