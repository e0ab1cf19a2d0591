"""A bound on how long a sync psycopg call may block on a server that took the connection and then fell silent."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import psycopg


@contextlib.contextmanager
def deadline(connection: psycopg.Connection[Any], seconds: float) -> Iterator[None]:
    """Break the connection if the block takes longer: its pending call raises ``psycopg.OperationalError``."""
    done = threading.Event()

    def watch() -> None:
        if not done.wait(seconds):
            break_connection(connection)

    watcher = threading.Thread(target=watch, name="tenantry-deadline", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        # the socket's number may be reused once it is closed: nobody may break it after the block
        watcher.join()


def break_connection(connection: psycopg.Connection[Any]) -> None:
    """Shut the socket down under whoever waits on it, in any thread."""
    with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.pgconn.socket)) as copy:
        copy.shutdown(socket.SHUT_RDWR)
