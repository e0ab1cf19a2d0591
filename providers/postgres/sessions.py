"""Sessions of the master that stay open between operations: opening one costs more than most operations do.

A session is handed out to one operation at a time, and only if it answers; what it was told is forgotten when it comes
back, and one whose operation failed is closed. Those that nobody takes for a while are closed, too.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections import deque
from collections.abc import Hashable

import psycopg
from psycopg.pq import TransactionStatus

Connection = psycopg.Connection[tuple[object, ...]]

IDLE_SECONDS = 20.0  #: a server's slots are few, and a database with sessions can't be a template
IDLE_SESSIONS = 24  #: of this process, to all servers


class IdleSessions:
    """Thread-safe. ``key`` is whatever makes two sessions interchangeable."""

    def __init__(self, seconds: float = IDLE_SECONDS, most: int = IDLE_SESSIONS) -> None:
        self._seconds = seconds
        self._most = most
        self._lock = threading.Lock()
        self._idle: deque[tuple[Hashable, float, Connection]] = deque()  # the longest idle first
        self._timer: threading.Timer | None = None

    def take(self, key: Hashable) -> Connection | None:
        """A session that answers, or None."""
        while (connection := self._pop(key)) is not None:
            try:
                connection.execute("SELECT")
            except psycopg.Error:
                connection.close()  # the server restarted, or the database was dropped
            else:
                return connection
        return None

    def _pop(self, key: Hashable) -> Connection | None:
        with self._lock:
            for entry in reversed(self._idle):
                if entry[0] == key:
                    self._idle.remove(entry)
                    return entry[2]
        return None

    def give(self, key: Hashable, connection: Connection) -> None:
        """Keep ``connection`` for the next operation, without role, settings, locks or temporary objects."""
        try:
            if connection.info.transaction_status is not TransactionStatus.IDLE:
                raise psycopg.OperationalError("a transaction was left open")
            connection.execute("DISCARD ALL")
        except psycopg.Error:
            connection.close()
            return
        with self._lock:
            self._idle.append((key, time.monotonic(), connection))
            surplus = [self._idle.popleft()[2] for _ in range(len(self._idle) - self._most)]
            self._schedule()
        for other in surplus:
            other.close()

    def close(self) -> None:
        """Close every idle session. Others may be given later."""
        with self._lock:
            closed, self._idle = [entry[2] for entry in self._idle], deque()
        for connection in closed:
            connection.close()

    def _schedule(self) -> None:
        if self._timer is None and self._idle:
            self._timer = threading.Timer(self._seconds, self._expire)
            self._timer.daemon = True
            self._timer.start()

    def _expire(self) -> None:
        limit = time.monotonic() - self._seconds
        with self._lock:
            expired = []
            while self._idle and self._idle[0][1] <= limit:
                expired.append(self._idle.popleft()[2])
            self._timer = None
            self._schedule()
        for connection in expired:
            connection.close()

    def __len__(self) -> int:
        with self._lock:
            return len(self._idle)


IDLE = IdleSessions()  #: this process's
atexit.register(IDLE.close)
