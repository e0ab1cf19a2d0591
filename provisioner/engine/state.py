"""Pulumi's state as its ``postgres://`` backend keeps it: one table of blobs, key to JSON ``{"data": "<base64>"}``.

The keys are those of Pulumi's file layout under the database's name: ``<db>/.pulumi/stacks/<project>/<stack>.json``.
Reading it directly costs a millisecond where the command line costs half a second. Checkpoints are written by the
engine alone, except the empty one with which a stack begins.
"""

from __future__ import annotations

import base64
import gzip
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from provisioner.errors import ConfigurationInvalid, EngineFailed

DEFAULT_TABLE = "pulumi_state"
_ORGANIZATION = "organization"  # the only one a backend of one's own has
_SUFFIXES = (".json", ".json.gz")
_VERSION = sql.SQL("(extract(epoch FROM updated_at) * 1000000)::bigint")
_DATA = sql.SQL("data")


@dataclass(frozen=True)
class BackendUrl:
    """A ``postgres://`` state backend."""

    conninfo: str  #: for libpq
    table: str
    prefix: str  #: before every key, ends in ``/``; "" for a URL without a database

    @classmethod
    def parse(cls, url: str) -> BackendUrl:
        """``ConfigurationInvalid`` for another backend; the message never shows the URL, which may hold a password."""
        try:
            parts = urlsplit(url)
        except ValueError:
            raise ConfigurationInvalid(
                "PULUMI_BACKEND_URL is no URL", hint="set it as postgres://USER:PASSWORD@HOST:PORT/DATABASE"
            ) from None
        if parts.scheme not in {"postgres", "postgresql"}:
            raise ConfigurationInvalid(
                f"PULUMI_BACKEND_URL has the scheme {parts.scheme or '(none)'}, not postgres",
                hint="keep Pulumi's state in the control plane's PostgreSQL: postgres://USER@HOST/DATABASE",
            )
        query = parse_qsl(parts.query)
        table = dict(query).get("table") or DEFAULT_TABLE
        rest = urlencode([(name, value) for name, value in query if name != "table"], quote_via=quote)
        path = unquote(parts.path).lstrip("/")
        prefix = path if not path or path.endswith("/") else path + "/"
        return cls(urlunsplit(parts._replace(query=rest)), table, prefix)


@dataclass(frozen=True)
class StackLock:
    """Pulumi's lock of a stack: it never expires."""

    key: str
    hostname: str
    pid: int
    username: str
    timestamp: str  #: RFC 3339


class PostgresState:
    """The stacks of one Pulumi project. Safe to use from several threads; holds one connection, opened when needed."""

    def __init__(
        self, url: str, project: str, *, connect: Callable[[str], psycopg.Connection[Any]] | None = None
    ) -> None:
        self._backend = BackendUrl.parse(url)
        self._project = project
        self._connect = connect or _connect
        self._lock = threading.RLock()
        self._connection: psycopg.Connection[Any] | None = None

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    # Stacks

    def ensure_stack(self, stack_name: str) -> bool:
        """Give the stack the empty checkpoint that ``pulumi stack init`` writes; True if it had none.

        False as well on a backend that no ``pulumi`` command has used yet: the first one writes the layout's version
        beside its stack, and takes a backend with stacks and no version for one of the oldest layout.
        """
        key = self._stack_key(stack_name)
        document = {
            "version": 3,
            "checkpoint": {"stack": f"{_ORGANIZATION}/{self._project}/{stack_name}", "latest": None},
        }
        statement = self._sql(
            "INSERT INTO {table} (key, data) SELECT %(key)s, %(data)s::json "
            "WHERE EXISTS (SELECT FROM {table} WHERE key = %(meta)s) "
            "AND NOT EXISTS (SELECT FROM {table} WHERE key = ANY(%(keys)s)) ON CONFLICT (key) DO NOTHING"
        )
        keys = [key + suffix for suffix in _SUFFIXES]
        with self._cursor() as cursor:
            try:
                meta = self._key("meta.yaml")
                cursor.execute(statement, {"key": keys[0], "keys": keys, "meta": meta, "data": _encode(document)})
            except psycopg.errors.UndefinedTable:
                return False
            return cursor.rowcount == 1

    def stack_names(self) -> list[str]:
        return sorted(self.checkpoint_versions())

    def checkpoint_versions(self) -> dict[str, str]:
        """Every stack's state version, by one query on the index. A version changes with every write of the state."""
        prefix = self._key("stacks", self._project) + "/"
        rows = self._range(prefix, _VERSION)
        return {
            name: str(version)
            for key, version in rows
            if "/" not in key[len(prefix) :] and (name := _stack_of(key[len(prefix) :])) is not None
        }

    def checkpoint_version(self, stack_name: str) -> str | None:
        """The version of one stack's state; None if there is no such stack."""
        row = self._stack_row(stack_name, _VERSION)
        return None if row is None else str(row[0])

    def checkpoint(self, stack_name: str) -> dict[str, Any] | None:
        """What ``pulumi stack export`` prints: ``{"version", "features", "deployment"}``; None without a stack.

        ``deployment`` is {} if nothing was deployed. Secrets in it are encrypted.
        """
        row = self._stack_row(stack_name, _DATA)
        if row is None:
            return None
        document = _decode(row[0])
        deployment = (document.get("checkpoint") or {}).get("latest") or {}
        return {
            "version": document.get("version", 3),
            **({"features": document["features"]} if document.get("features") else {}),
            "deployment": deployment,
        }

    def deployment(self, stack_name: str) -> dict[str, Any] | None:
        """The stack's ``resources``, ``pending_operations``, ...; {} if nothing was deployed, None without a stack."""
        checkpoint = self.checkpoint(stack_name)
        return None if checkpoint is None else checkpoint["deployment"]

    # Locks

    def locks(self, stack_name: str) -> list[StackLock]:
        prefix = self._key("locks", _ORGANIZATION, self._project, stack_name) + "/"
        found = []
        for key, data in self._range(prefix, _DATA):
            content = _decode(data)
            found.append(
                StackLock(
                    key,
                    str(content.get("hostname", "")),
                    int(content.get("pid") or 0),
                    str(content.get("username", "")),
                    str(content.get("timestamp", "")),
                )
            )
        return found

    def delete_lock(self, lock: StackLock) -> bool:
        """Delete exactly this lock; False if it was gone."""
        with self._cursor() as cursor:
            cursor.execute(self._sql("DELETE FROM {table} WHERE key = %s"), [lock.key])
            return cursor.rowcount == 1

    def connected_engines(self, stack_name: str) -> int:
        """Connections that engines under a lease of the stack hold to the database at present, from any machine."""
        with self._cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE starts_with(application_name, %s) "
                "AND datname = current_database()",
                [f"tenantry/{stack_name}/"],
            )
            row = cursor.fetchone()
        return int(row[0]) if row else 0

    # History

    def prune(self, *, keep: int = 10, stack_name: str | None = None) -> int:
        """Delete history and backups but the newest ``keep`` of every stack (or one); the number of rows deleted.

        Every update adds a record and a copy of its checkpoint, for ever.
        """
        deleted = 0
        for kind in ("history", "backups"):
            parts = [kind, self._project, *([stack_name] if stack_name else [])]
            low, high = _bounds(self._key(*parts) + "/")
            # `.../acme/acme-1718000000000000000.checkpoint.json`: the digits order by age, and are of equal number.
            statement = self._sql(
                "DELETE FROM {table} WHERE key IN (SELECT key FROM (SELECT key, row_number() OVER ("
                "PARTITION BY regexp_replace(key, '[0-9]{{10,}}', '') ORDER BY key DESC) AS age FROM {table} "
                "WHERE key ~>=~ %s AND key ~<~ %s) AS aged WHERE age > %s)"
            )
            with self._cursor() as cursor:
                cursor.execute(statement, [low, high, keep])
                deleted += cursor.rowcount
        return deleted

    # How

    def _key(self, *parts: str) -> str:
        return self._backend.prefix + "/".join([".pulumi", *parts])

    def _stack_key(self, stack_name: str) -> str:
        return self._key("stacks", self._project, stack_name)

    def _sql(self, text: LiteralString, **parts: sql.Composable) -> sql.Composed:
        return sql.SQL(text).format(table=sql.Identifier(self._backend.table), **parts)

    def _stack_row(self, stack_name: str, column: sql.SQL) -> tuple[Any, ...] | None:
        keys = [self._stack_key(stack_name) + suffix for suffix in _SUFFIXES]
        statement = self._sql(
            "SELECT {column} FROM {table} WHERE key = ANY(%s) ORDER BY updated_at DESC LIMIT 1", column=column
        )
        with self._cursor() as cursor:
            try:
                cursor.execute(statement, [keys])
            except psycopg.errors.UndefinedTable:
                return None
            return cursor.fetchone()

    def _range(self, prefix: str, column: sql.SQL) -> list[tuple[Any, ...]]:
        low, high = _bounds(prefix)
        statement = self._sql(
            "SELECT key, {column} FROM {table} WHERE key ~>=~ %s AND key ~<~ %s ORDER BY key", column=column
        )
        with self._cursor() as cursor:
            try:
                cursor.execute(statement, [low, high])
            except psycopg.errors.UndefinedTable:
                return []
            return cursor.fetchall()

    @contextmanager
    def _cursor(self) -> Iterator[psycopg.Cursor[Any]]:
        with self._lock:
            try:
                with self._live_connection().cursor() as cursor:
                    yield cursor
            except psycopg.OperationalError as error:
                self.close()
                raise EngineFailed(
                    f"the Pulumi state database does not answer: {str(error).strip().splitlines()[0]}",
                    hint="check that PostgreSQL runs; it is tried again",
                ) from error

    def _live_connection(self) -> psycopg.Connection[Any]:
        """The connection, opened again if the server closed it since it was used last."""
        if self._connection is not None and not self._connection.closed:
            try:
                self._connection.execute("SELECT")
                return self._connection
            except psycopg.OperationalError:
                self._connection.close()
        self._connection = self._connect(self._backend.conninfo)
        return self._connection


def _connect(conninfo: str) -> psycopg.Connection[Any]:
    return psycopg.connect(conninfo, autocommit=True, connect_timeout=10, application_name="tenantry/state")


def _bounds(prefix: str) -> tuple[str, str]:
    """The half-open range of keys with ``prefix``, in byte order: what the backend's own index is ordered by."""
    return prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _stack_of(file_name: str) -> str | None:
    for suffix in _SUFFIXES:
        if file_name.endswith(suffix):
            return file_name[: -len(suffix)]
    return None


def _encode(document: Mapping[str, Any]) -> str:
    data = json.dumps(document, separators=(",", ":")).encode()
    return json.dumps({"data": base64.b64encode(data).decode()})


def _decode(column: Mapping[str, str]) -> dict[str, Any]:
    data = base64.b64decode(column["data"])
    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    document: dict[str, Any] = json.loads(data)
    return document
