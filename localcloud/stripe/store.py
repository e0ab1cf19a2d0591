"""The account's objects in memory, changed in transactions, kept in an SQLite file when one is given.

An object is the JSON document Stripe would show (references by id), keyed by kind and id. The kind is its ``object``
field; kinds that start with ``_`` are the server's own records, and so are fields of a document that do.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Object = dict[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS object (
    position INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    document TEXT NOT NULL,
    UNIQUE (kind, id)
)
"""


def subscription_of(invoice: Object) -> str | None:
    """The subscription that an invoice bills, if it bills one."""
    details = (invoice["parent"] or {}).get("subscription_details")
    return str(details["subscription"]) if details else None


#: kind -> name -> what documents are found by with ``where``. It must never change while a document is stored.
INDEXES: dict[str, dict[str, Callable[[Object], str | None]]] = {
    "subscription": {"customer": lambda document: document["customer"]},
    "invoice": {"customer": lambda document: document["customer"], "subscription": subscription_of},
    "entitlements.active_entitlement": {"customer": lambda document: document["_customer"]},
    "product_feature": {"product": lambda document: document["_product"]},
    "billing.meter_event": {"customer": lambda document: document["_customer"]},
    "_meter_usage": {"customer": lambda document: document["_customer"]},
    "charge": {
        "customer": lambda document: document["customer"],
        "payment_intent": lambda document: document["payment_intent"],
    },
    "discount": {"coupon": lambda document: document["source"]["coupon"]},
    "dispute": {"charge": lambda document: document["charge"]},
    "invoice_payment": {
        "invoice": lambda document: document["invoice"],
        "payment_intent": lambda document: document["payment"]["payment_intent"],
    },
    "payment_intent": {"customer": lambda document: document["customer"]},
    "refund": {
        "charge": lambda document: document["charge"],
        "payment_intent": lambda document: document["payment_intent"],
    },
    "subscription_schedule": {"customer": lambda document: document["customer"]},
    "_pending_line": {"subscription": lambda document: document["subscription"]},
}


def _metadata(document: Object) -> tuple[str, ...]:
    return tuple(f"{key}={value}".casefold() for key, value in document.get("metadata", {}).items())


def _one(name: str) -> Callable[[Object], tuple[str, ...]]:
    def key_of(document: Object) -> tuple[str, ...]:
        value = document.get(name)
        return () if value is None else (value,)

    return key_of


#: (kind, name) -> keys that may change, and be several.
CHANGING: dict[tuple[str, str], Callable[[Object], tuple[str, ...]]] = {
    ("customer", "email"): _one("email"),
    ("customer", "metadata"): _metadata,
    ("payment_method", "customer"): _one("customer"),
    ("subscription", "metadata"): _metadata,
}
_CHANGING_OF: dict[str, list[tuple[str, str]]] = {}
for _index in CHANGING:
    _CHANGING_OF.setdefault(_index[0], []).append(_index)


#: Kinds whose documents are added and removed but never edited: they come back as they are.
NEVER_CHANGED = frozenset({"event"})


def copy_of(document: Any) -> Any:
    """A deep copy of a JSON document: several times as fast as ``copy.deepcopy``."""
    return json.loads(json.dumps(document))


def _shared(pairs: list[tuple[str, Any]]) -> Object:
    """A loaded object whose keys are the strings that others have too: documents of a kind share a hundred of them."""
    return {sys.intern(key): value for key, value in pairs}


class Store:
    """Not thread-safe: the owner serialises transactions. Announce each change by ``add``, ``edit`` or ``remove``."""

    def __init__(self, path: Path | None = None) -> None:
        self._kinds: dict[str, dict[str, Object]] = {}
        self._indexes: dict[tuple[str, str], dict[str, dict[str, Object]]] = {}
        #: Of the indexes that change: what each document is filed under, and what may be filed wrongly by now.
        self._filed: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {index: {} for index in CHANGING}
        self._stale: dict[tuple[str, str], set[str]] = {index: set() for index in CHANGING}
        self._positions: dict[tuple[str, str], int] = {}
        self._last_position = 0
        #: What touched documents were before the transaction, mostly as JSON; None: they were not there.
        self._before: dict[tuple[str, str], tuple[str | Object, int] | None] = {}
        self._watched: dict[str, set[str]] = {}
        self._database = None if path is None else sqlite3.connect(path, check_same_thread=False)
        if self._database is not None:
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute(_SCHEMA)
            rows = self._database.execute("SELECT position, document FROM object ORDER BY position")
            for position, document in rows:
                self._insert(json.loads(document, object_pairs_hook=_shared), position)
                self._last_position = position

    def all(self, kind: str) -> list[Object]:
        """Every object of a kind, oldest first."""
        return list(self._kinds.get(kind, {}).values())

    def newest_first(self, kind: str) -> Iterator[Object]:
        """Every object of a kind, without a copy of the list: change nothing while it is consumed."""
        return reversed(self._kinds.get(kind, {}).values())

    def oldest(self, kind: str) -> Object | None:
        return next(iter(self._kinds.get(kind, {}).values()), None)

    def count(self, kind: str) -> int:
        return len(self._kinds.get(kind, {}))

    def where(self, kind: str, index: str, value: str) -> list[Object]:
        """The objects of a kind whose index (see ``INDEXES``) has a value, oldest first."""
        if (kind, index) not in CHANGING:
            return list(self._indexes.get((kind, index), {}).get(value, {}).values())
        self._file_again(kind, index)
        return sorted(self._indexes.get((kind, index), {}).get(value, {}).values(), key=self.position)

    def get(self, kind: str, identifier: str) -> Object | None:
        return self._kinds.get(kind, {}).get(identifier)

    def position(self, document: Object) -> int:
        """Grows with every object that is added."""
        return self._positions[(document["object"], document["id"])]

    def watch(self, kind: str) -> set[str]:
        """A set that gets the id of every object of a kind that is touched from now on, and of those stored already.

        The watcher empties it.
        """
        return self._watched.setdefault(kind, set(self._kinds.get(kind, {})))

    def add(self, document: Object) -> Object:
        """Store a new object; returns it."""
        self._remember(document["object"], document["id"])
        self._insert(document)
        return document

    def edit(self, document: Object) -> Object:
        """Announce that a stored object is about to be changed in place; returns it."""
        self._remember(document["object"], document["id"])
        return document

    def remove(self, document: Object) -> None:
        kind, identifier = document["object"], document["id"]
        if kind in NEVER_CHANGED and (kind, identifier) not in self._before:
            self._before[(kind, identifier)] = (document, self._positions[(kind, identifier)])
        else:
            self._remember(kind, identifier)
        self._delete(kind, identifier)

    def commit(self) -> None:
        """Make the transaction last: in the file too, when there is one."""
        if self._database is not None and self._before:
            with self._database:
                for kind, identifier in self._before:
                    document = self.get(kind, identifier)
                    if document is None:
                        self._database.execute("DELETE FROM object WHERE kind = ? AND id = ?", (kind, identifier))
                    else:
                        self._database.execute(
                            "INSERT INTO object (position, kind, id, document) VALUES (?, ?, ?, ?) "
                            "ON CONFLICT (kind, id) DO UPDATE "
                            "SET position = excluded.position, document = excluded.document",
                            (self.position(document), kind, identifier, json.dumps(document)),
                        )
        self._before = {}

    def rollback(self) -> None:
        """Undo everything since the last commit."""
        returned = set()
        for (kind, identifier), before in self._before.items():
            document = self.get(kind, identifier)
            if before is None:
                if document is not None:
                    self._delete(kind, identifier)
                continue
            former, position = before
            if document is not None and self.position(document) != position:  # removed and added again
                self._delete(kind, identifier)
                document = None
            if document is None:
                self._insert(json.loads(former) if isinstance(former, str) else former, position)
                returned.add(kind)
            else:
                assert isinstance(former, str)
                document.clear()
                document.update(json.loads(former))
        for kind in returned:
            self._sort(kind)
        for kind, identifier in self._before:
            if kind in self._watched:
                self._watched[kind].add(identifier)
            for index in _CHANGING_OF.get(kind, ()):
                self._stale[index].add(identifier)
        self._before = {}

    @contextmanager
    def undone(self) -> Iterator[None]:
        """What happens inside leaves no trace; what the transaction did before stays."""
        outer, self._before = self._before, {}
        try:
            yield
        finally:
            self.rollback()
            self._before = outer

    def close(self) -> None:
        if self._database is not None:
            self._database.close()

    def _insert(self, document: Object, position: int | None = None) -> None:
        kind, identifier = document["object"], document["id"]
        if position is None:
            self._last_position += 1
            position = self._last_position
        self._positions[(kind, identifier)] = position
        self._kinds.setdefault(kind, {})[identifier] = document
        for name, key_of in INDEXES.get(kind, {}).items():
            key = key_of(document)
            if key is not None:
                self._indexes.setdefault((kind, name), {}).setdefault(key, {})[identifier] = document
        for index in _CHANGING_OF.get(kind, ()):
            self._file(index, document)

    def _delete(self, kind: str, identifier: str) -> None:
        document = self._kinds[kind].pop(identifier)
        del self._positions[(kind, identifier)]
        for name, key_of in INDEXES.get(kind, {}).items():
            key = key_of(document)
            if key is not None:
                self._take_out((kind, name), key, identifier)
        for index in _CHANGING_OF.get(kind, ()):
            for key in self._filed[index].pop(identifier, ()):
                self._take_out(index, key, identifier)

    def _file(self, index: tuple[str, str], document: Object) -> None:
        keys = CHANGING[index](document)
        if keys:
            self._filed[index][document["id"]] = keys
            for key in keys:
                self._indexes.setdefault(index, {}).setdefault(key, {})[document["id"]] = document

    def _take_out(self, index: tuple[str, str], key: str, identifier: str) -> None:
        found = self._indexes[index]
        found[key].pop(identifier)
        if not found[key]:
            del found[key]

    def _file_again(self, kind: str, name: str) -> None:
        """Bring an index that changes up to date with the documents that were edited."""
        index = (kind, name)
        filed, stale = self._filed[index], self._stale[index]
        for identifier in stale:
            document = self.get(kind, identifier)
            if document is not None and CHANGING[index](document) != filed.get(identifier, ()):
                for key in filed.pop(identifier, ()):
                    self._take_out(index, key, identifier)
                self._file(index, document)
        # What was touched in a transaction may be changed again before it ends.
        stale &= {known for touched, known in self._before if touched == kind}

    def _sort(self, kind: str) -> None:
        """Put a kind in the order of its positions again, after documents came back."""
        ordered = sorted(self._kinds[kind].items(), key=lambda entry: self._positions[(kind, entry[0])])
        self._kinds[kind] = {}
        for name in INDEXES.get(kind, {}):
            self._indexes.pop((kind, name), None)
        for index in _CHANGING_OF.get(kind, ()):
            self._indexes.pop(index, None)
            self._filed[index] = {}
        for identifier, document in ordered:
            self._insert(document, self._positions[(kind, identifier)])

    def _remember(self, kind: str, identifier: str) -> None:
        if kind in self._watched:
            self._watched[kind].add(identifier)
        for index in _CHANGING_OF.get(kind, ()):
            self._stale[index].add(identifier)
        if (kind, identifier) not in self._before:
            document = self.get(kind, identifier)
            known = None if document is None else (json.dumps(document), self._positions[(kind, identifier)])
            self._before[(kind, identifier)] = known
