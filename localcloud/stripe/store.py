"""The account's objects in memory, changed in transactions, kept in an SQLite file when one is given.

An object is the JSON document Stripe would show (references by id), keyed by kind and id. The kind is its ``object``
field; kinds that start with ``_`` are the server's own records.
"""

from __future__ import annotations

import copy
import json
import sqlite3
from pathlib import Path
from typing import Any

Object = dict[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS object (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    document TEXT NOT NULL,
    UNIQUE (kind, id)
)
"""


class Store:
    """Not thread-safe: the owner serialises transactions. Announce each change by ``add``, ``edit`` or ``remove``."""

    def __init__(self, path: Path | None = None) -> None:
        self._kinds: dict[str, dict[str, Object]] = {}
        self._before: dict[tuple[str, str], Object | None] = {}
        self._database = None if path is None else sqlite3.connect(path, check_same_thread=False)
        if self._database is not None:
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute(_SCHEMA)
            for kind, identifier, document in self._database.execute(
                "SELECT kind, id, document FROM object ORDER BY position"
            ):
                self._kinds.setdefault(kind, {})[identifier] = json.loads(document)

    def all(self, kind: str) -> list[Object]:
        """Every object of a kind, oldest first."""
        return list(self._kinds.get(kind, {}).values())

    def get(self, kind: str, identifier: str) -> Object | None:
        return self._kinds.get(kind, {}).get(identifier)

    def add(self, document: Object) -> Object:
        """Store a new object; returns it."""
        self._remember(document["object"], document["id"])
        self._kinds.setdefault(document["object"], {})[document["id"]] = document
        return document

    def edit(self, document: Object) -> Object:
        """Announce that a stored object is about to be changed in place; returns it."""
        self._remember(document["object"], document["id"])
        return document

    def remove(self, document: Object) -> None:
        self._remember(document["object"], document["id"])
        del self._kinds[document["object"]][document["id"]]

    def commit(self) -> None:
        """Make the transaction last: in the file too, when there is one."""
        touched, self._before = self._before, {}
        if self._database is None or not touched:
            return
        with self._database:
            for kind, identifier in touched:
                document = self.get(kind, identifier)
                if document is None:
                    self._database.execute("DELETE FROM object WHERE kind = ? AND id = ?", (kind, identifier))
                else:
                    self._database.execute(
                        "INSERT INTO object (kind, id, document) VALUES (?, ?, ?) "
                        "ON CONFLICT (kind, id) DO UPDATE SET document = excluded.document",
                        (kind, identifier, json.dumps(document)),
                    )

    def rollback(self) -> None:
        """Undo everything since the last commit."""
        for (kind, identifier), document in reversed(self._before.items()):
            if document is None:
                self._kinds.get(kind, {}).pop(identifier, None)
            else:
                self._kinds.setdefault(kind, {})[identifier] = document
        self._before = {}

    def close(self) -> None:
        if self._database is not None:
            self._database.close()

    def _remember(self, kind: str, identifier: str) -> None:
        if (kind, identifier) not in self._before:
            document = self.get(kind, identifier)
            self._before[(kind, identifier)] = None if document is None else copy.deepcopy(document)
