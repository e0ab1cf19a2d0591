"""Rules for the names the provider accepts. Pure."""

from __future__ import annotations

import re

MAX_BYTES = 63  #: PostgreSQL truncates longer identifiers silently

_NAME = re.compile(r"[a-z_][a-z0-9_$-]*")
_RESERVED_SCHEMAS = frozenset({"information_schema", "public", "tenantry"})
_RESERVED_DATABASES = frozenset({"postgres", "template0", "template1", "rdsadmin"})
_RESERVED_ROLES = frozenset({"public", "none", "postgres", "rdsadmin", "current_user", "session_user", "current_role"})
_TENANT_ID = re.compile(r"[a-z](?:[a-z0-9]|-(?!-)){1,38}[a-z0-9]")
_DEFINER_SUFFIX = "_tenantry"


def identifier_problem(value: str) -> str | None:
    """What is wrong with ``value`` as a name of a database, schema or role; None if nothing is."""
    if not _NAME.fullmatch(value):
        return "has to start with a lower-case letter or _ and to hold lower-case letters, digits, _, $ and - only"
    if len(value.encode()) > MAX_BYTES:
        return f"has {len(value.encode())} bytes; PostgreSQL cuts names at {MAX_BYTES}"
    if value.startswith("pg_"):
        return "starts with pg_, which PostgreSQL reserves"
    return None


def schema_problem(value: str) -> str | None:
    if value in _RESERVED_SCHEMAS:
        return "is reserved"
    return identifier_problem(value)


def database_problem(value: str) -> str | None:
    if value in _RESERVED_DATABASES:
        return "is reserved"
    if len(value.encode()) > MAX_BYTES - len(_DEFINER_SUFFIX):
        return f"has {len(value.encode())} bytes; at most {MAX_BYTES - len(_DEFINER_SUFFIX)} are allowed"
    return identifier_problem(value)


def role_problem(value: str) -> str | None:
    if value in _RESERVED_ROLES or value.startswith("rds"):
        return "is reserved"
    return identifier_problem(value)


def tenant_id_problem(value: str) -> str | None:
    if not _TENANT_ID.fullmatch(value):
        return "has to have 3 to 40 lower-case letters, digits and single hyphens, and to start with a letter"
    return None


def definer_role(database: str) -> str:
    """The NOLOGIN role that owns a pool's token check: nobody else reads the key."""
    return database + _DEFINER_SUFFIX
