"""An application's migrations: the files of a directory, checked without a server.

A file is named ``NNNN_name.sql``; versions start at 1 and have no gap. Two comments are instructions:

``-- tenantry: reference-table`` before a CREATE TABLE: the table has no tenant; every tenant may read it, none write.
``-- tenantry: all-tenants`` anywhere in a file: its statements change the rows of every tenant of the pool. Without it
row-level security refuses them. The tables are locked until the migration ends.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from providers.postgres.errors import MigrationRefused
from providers.postgres.sql_text import LexicalError, Statement, line_of, statements, tokens

_FILE = re.compile(r"(?P<version>[0-9]{4})_(?P<name>[a-z0-9][a-z0-9_-]*)\.sql")
_REFERENCE_TABLE = re.compile(r"tenantry:\s*reference-table\b")
_ALL_TENANTS = re.compile(r"tenantry:\s*all-tenants\b")
_INSTRUCTION = re.compile(r"tenantry:\s*(?P<name>[\w-]*)")
_INSTRUCTIONS = frozenset({"reference-table", "all-tenants"})
MAX_BYTES = 10_000_000


@dataclass(frozen=True)
class Migration:
    """One file. ``reference_tables`` are those it declares, ``all_tenants`` whether it changes every tenant's rows."""

    version: int
    name: str
    path: Path
    sha256: str
    statements: tuple[Statement, ...]
    reference_tables: frozenset[str]
    all_tenants: bool

    def refuse(self, line: int, reason: str) -> MigrationRefused:
        return MigrationRefused(f"{self.path.name}:{line}: {reason}")


def load(directory: Path) -> list[Migration]:
    """Every migration of ``directory`` in order.

    :raises MigrationRefused: naming file and line: an illegal name, a gap, a duplicate, a forbidden statement.
    """
    try:
        files = sorted(path for path in directory.iterdir() if path.suffix == ".sql")
    except OSError as error:
        raise MigrationRefused(f"cannot read the migrations in {directory}: {error.strerror}") from None
    found: list[Migration] = []
    for path in files:
        match = _FILE.fullmatch(path.name)
        if match is None:
            raise MigrationRefused(f"{path}: name it NNNN_name.sql (four digits, lower-case letters, digits, _ and -)")
        expected = len(found) + 1
        if int(match["version"]) != expected:
            kind = "is used twice" if found and int(match["version"]) == found[-1].version else "leaves a gap"
            raise MigrationRefused(f"{path.name}: version {match['version']} {kind}; the next one is {expected:04d}")
        found.append(parse(path, expected, match["name"], _read(path)))
    return found


def _read(path: Path) -> bytes:
    content = path.read_bytes()
    if len(content) > MAX_BYTES:
        raise MigrationRefused(f"{path.name}: {len(content)} bytes; a migration has at most {MAX_BYTES}")
    return content


def parse(path: Path, version: int, name: str, content: bytes) -> Migration:
    """The migration in ``content``. :raises MigrationRefused: naming file and line."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise MigrationRefused(f"{path.name}:{line}: is not UTF-8") from None
    if "\0" in text:
        raise MigrationRefused(f"{path.name}:{line_of(text, text.index(chr(0)))}: holds a NUL character")
    try:
        parsed = statements(text)
        comments = [token for token in tokens(text) if token.kind == "comment"]
    except LexicalError as error:
        raise MigrationRefused(f"{path.name}:{line_of(text, error.offset)}: {error}") from None
    for comment in comments:
        instruction = _INSTRUCTION.match(comment.text)
        if instruction and instruction["name"] not in _INSTRUCTIONS:
            raise MigrationRefused(
                f"{path.name}:{line_of(text, comment.offset)}: unknown instruction {comment.text!r}; there are "
                + ", ".join(f"'tenantry: {known}'" for known in sorted(_INSTRUCTIONS))
            )
    migration = Migration(
        version=version,
        name=name,
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        statements=tuple(parsed),
        reference_tables=_reference_tables(path, parsed),
        all_tenants=any(_ALL_TENANTS.match(comment.text) for comment in comments),
    )
    for statement in parsed:
        _refuse_forbidden(migration, statement)
    return migration


def _reference_tables(path: Path, parsed: Sequence[Statement]) -> frozenset[str]:
    names = set()
    for statement in parsed:
        marks = [comment for comment in statement.comments if _REFERENCE_TABLE.match(comment.text)]
        if marks:
            name = _created_table(statement)
            if name is None:
                raise MigrationRefused(
                    f"{path.name}:{statement.line}: 'tenantry: reference-table' belongs before a CREATE TABLE"
                )
            names.add(name)
    return frozenset(names)


def _created_table(statement: Statement) -> str | None:
    """The name after CREATE [UNLOGGED] TABLE [IF NOT EXISTS], or the new one of ALTER TABLE ... RENAME TO."""
    named = [t for t in statement.tokens if t.kind in ("word", "quoted", "symbol")]
    words = [t.text if t.kind != "quoted" else "" for t in named]
    if words[:1] == ["ALTER"] and "RENAME" in words and words[-2:-1] == ["TO"]:
        return _fold(named[-1].kind, named[-1].text)
    if words[:1] != ["CREATE"] or "TABLE" not in words[:3]:
        return None
    index = words.index("TABLE") + 1
    if words[index : index + 3] == ["IF", "NOT", "EXISTS"]:
        index += 3
    if words[index + 1 : index + 2] == ["."]:
        index += 2
    return _fold(named[index].kind, named[index].text) if index < len(named) else None


def _fold(kind: str, text: str) -> str:
    return text if kind == "quoted" else text.lower()


_OWN_TRANSACTION = "the migration runs in one transaction of its own; remove this statement"
_OURS = "is set by Tenantry for every table; remove this statement"
_PRIVILEGES = "privileges are the platform's: Tenantry grants the application's login what it needs"
_CLUSTER = "roles, databases and schemas are resources of the stack, not of a migration"
_SESSION = "a migration runs as the schema's owner with search_path pinned to the schema"

_CHANGES = ("CREATE", "ALTER", "DROP")
_CLUSTER_KINDS = (
    *("ROLE", "USER", "GROUP", "DATABASE", "SCHEMA", "TABLESPACE"),
    *("EXTENSION", "PUBLICATION", "SUBSCRIPTION", "SERVER"),
)
#: beginnings of statements
_FORBIDDEN: Mapping[tuple[str, ...], str] = {
    ("BEGIN",): _OWN_TRANSACTION,
    ("START", "TRANSACTION"): _OWN_TRANSACTION,
    ("COMMIT",): _OWN_TRANSACTION,
    ("END",): _OWN_TRANSACTION,
    ("ROLLBACK",): _OWN_TRANSACTION,
    ("ABORT",): _OWN_TRANSACTION,
    ("SAVEPOINT",): _OWN_TRANSACTION,
    ("RELEASE",): _OWN_TRANSACTION,
    ("PREPARE", "TRANSACTION"): _OWN_TRANSACTION,
    ("GRANT",): _PRIVILEGES,
    ("REVOKE",): _PRIVILEGES,
    ("ALTER", "DEFAULT", "PRIVILEGES"): _PRIVILEGES,
    **{(verb, kind): _CLUSTER for verb in _CHANGES for kind in _CLUSTER_KINDS},
    ("REASSIGN", "OWNED"): _CLUSTER,
    ("DROP", "OWNED"): _CLUSTER,
    ("ALTER", "SYSTEM"): _CLUSTER,
    ("SET",): _SESSION,
    ("RESET",): _SESSION,
    ("DISCARD",): _SESSION,
    ("LISTEN",): _SESSION,
    ("UNLISTEN",): _SESSION,
    ("VACUUM",): "is not allowed in a transaction; leave it to autovacuum",
    ("CLUSTER",): "is not allowed in a migration: it locks the table for everyone",
    ("CHECKPOINT",): "is not allowed in a migration",
    ("LOAD",): "is not allowed in a migration",
    ("SECURITY", "LABEL"): "is not allowed in a migration",
}

_SAFE_SETTINGS = frozenset({"LOCK_TIMEOUT", "STATEMENT_TIMEOUT", "MAINTENANCE_WORK_MEM", "WORK_MEM", "CONSTRAINTS"})

#: sequences of words that a migration must not hold anywhere, bodies of functions and DO blocks included
_FORBIDDEN_ANYWHERE: Sequence[tuple[tuple[str, ...], str]] = (
    (("DISABLE", "ROW", "LEVEL", "SECURITY"), "row-level security " + _OURS),
    (("NO", "FORCE", "ROW", "LEVEL", "SECURITY"), "row-level security " + _OURS),
    (("RESET", "ROLE"), _SESSION),
    (("RESET", "SESSION"), _SESSION),
    (("RESET", "ALL"), _SESSION),
    (("SET", "ROLE"), _SESSION),
    (("SET", "LOCAL", "ROLE"), _SESSION),
    (("SET", "SESSION", "ROLE"), _SESSION),
    (("SESSION", "AUTHORIZATION"), _SESSION),
    (("SECURITY", "DEFINER"), "a SECURITY DEFINER function acts with the rights of the owner; use SECURITY INVOKER"),
    (("CREATE", "MATERIALIZED", "VIEW"), "a materialized view can't carry row-level security; use a table"),
    (("OWNER", "TO"), "everything belongs to the schema's owner; remove this statement"),
)


def _refuse_forbidden(migration: Migration, statement: Statement) -> None:
    words = statement.words
    for beginning, reason in _FORBIDDEN.items():
        if words[: len(beginning)] == beginning and not _is_safe_setting(words):
            raise migration.refuse(statement.line, f"{' '.join(beginning)}: {reason}")
    if words[:1] == ("COPY",) and ("STDIN" in words or "STDOUT" in words or "PROGRAM" in words):
        raise migration.refuse(statement.line, "COPY has no client here; use INSERT")
    if "CONCURRENTLY" in words and words[:1] in (("CREATE",), ("DROP",), ("REINDEX",), ("ALTER",), ("REFRESH",)):
        raise migration.refuse(statement.line, "CONCURRENTLY can't run in a transaction; leave it out")
    _refuse_anywhere(migration, statement, words, statement.line)
    for token in statement.tokens:
        if token.kind == "string" and len(token.text) > 8:
            _refuse_in_string(migration, statement, token.text, token.offset - statement.offset)


def _is_safe_setting(words: Sequence[str]) -> bool:
    rest = [word for word in words[1:3] if word not in ("LOCAL", "SESSION")]
    return words[:1] == ("SET",) and bool(rest) and rest[0] in _SAFE_SETTINGS and words[1:2] != ("SESSION",)


def _refuse_in_string(migration: Migration, statement: Statement, text: str, offset: int) -> None:
    """A function's body, or text that a DO block executes."""
    try:
        inner = statements(text)
    except LexicalError:
        return
    for part in inner:
        line = statement.line_at(offset) + text.count("\n", 0, part.offset)
        _refuse_anywhere(migration, part, part.words, line)
        for token in part.tokens:
            if token.kind == "string" and len(token.text) > 8:
                _refuse_in_string(migration, statement, token.text, offset)


def _refuse_anywhere(migration: Migration, statement: Statement, words: Sequence[str], line: int) -> None:
    for sequence, reason in _FORBIDDEN_ANYWHERE:
        for index in range(len(words) - len(sequence) + 1):
            following = words[index + len(sequence) : index + len(sequence) + 1]
            # `UPDATE member SET role = ...` is no SET ROLE.
            if tuple(words[index : index + len(sequence)]) == sequence and tuple(following) not in {("=",), (",",)}:
                raise migration.refuse(line + _lines_before(statement, sequence), f"{' '.join(sequence)}: {reason}")


def _lines_before(statement: Statement, sequence: tuple[str, ...]) -> int:
    meaningful = [token for token in statement.tokens if token.kind in ("word", "symbol")]
    for index in range(len(meaningful) - len(sequence) + 1):
        if tuple(token.text for token in meaningful[index : index + len(sequence)]) == sequence:
            return statement.text.count("\n", 0, meaningful[index].offset - statement.offset)
    return 0


def select(found: Sequence[Migration], declared: Sequence[Mapping[str, Any]], directory: Path) -> list[Migration]:
    """The migrations that ``declared`` (``version``, ``name``, ``sha256``) names, checked against their digests.

    :raises MigrationRefused: a file changed, or is missing, since its digest was taken.
    """
    chosen = []
    for index, wanted in enumerate(declared, start=1):
        version, name, sha256 = int(wanted["version"]), str(wanted["name"]), str(wanted["sha256"])
        if version != index:
            raise MigrationRefused(f"migrations: version {version} stands where {index} is expected")
        if version > len(found):
            raise MigrationRefused(f"{directory} has no migration {version:04d}_{name}.sql")
        migration = found[version - 1]
        if migration.sha256 != sha256 or migration.name != name:
            raise MigrationRefused(
                f"{migration.path.name}: its SHA-256 is {migration.sha256}, the stack's inputs say {sha256} for "
                f"{version:04d}_{name}.sql; the file changed during the update. Run it again"
            )
        chosen.append(migration)
    return chosen
