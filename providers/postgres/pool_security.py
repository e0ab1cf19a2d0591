"""What a pool's row-level security rests on: the token key, the check of tokens, the register of admitted tenants."""

from __future__ import annotations

import hashlib
import re
import secrets as randomness
from dataclasses import dataclass
from importlib import resources

import psycopg
from psycopg import sql

from providers.postgres import bookkeeping, markers, patient_locks
from providers.postgres.connection import Connection, Server, become, ensure_member
from providers.postgres.errors import NotOurs, PostgresProviderError
from providers.postgres.identifiers import definer_role

KEY_BYTES = 64  #: HMAC-SHA256's block: shorter keys are padded, longer ones hashed
OVERLAP = "1 hour"  #: how long a rotated key is still accepted; tokens live 15 minutes
#: called by policies: whose transaction it is, and whose that may write
FUNCTIONS = ("current_tenant", "writing_tenant")
_SCRIPT = resources.files("providers.postgres").joinpath("sql/pool_security.sql")
_BODY = re.compile(r"FUNCTION tenantry\.(\w+)\(\).*?\$function\$(.*?)\$function\$", re.DOTALL)


def definition() -> str:
    """SHA-256 of what a pool is made by: another one in a stack's state is an earlier release's."""
    return hashlib.sha256(_SCRIPT.read_bytes()).hexdigest()


def bodies() -> dict[str, str]:
    """The functions' bodies by name, without space around them."""
    return {name: body.strip() for name, body in _BODY.findall(_SCRIPT.read_text())}


@dataclass(frozen=True)
class PoolSecurity:
    database: str
    schema: str
    owner: str
    login: str
    token_secret_arn: str

    @property
    def definer(self) -> str:
        return definer_role(self.database)


def create(server: Server, pool: PoolSecurity, marker: str, *, rotate: bool = False) -> str:
    """Set the pool up, or repair it; returns the version of the key in force. ``rotate``: see :func:`update`."""
    with server.connect() as connection, connection.transaction():
        if markers.exists(connection, "ROLE", pool.definer):
            markers.require_ours(connection, "ROLE", pool.definer, marker)
        else:
            connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(pool.definer)))
            markers.write(connection, "ROLE", pool.definer, marker)
        ensure_member(connection, pool.definer)
    return update(server, pool, rotate=rotate)


def update(server: Server, pool: PoolSecurity, *, rotate: bool) -> str:
    """Repair the pool; with ``rotate`` put a new key in force, the old one being accepted for ``OVERLAP`` more.

    The database learns a key before the secret does, so that there is never a token signed with an unknown key.
    """
    with server.connect(pool.database) as connection:
        patient_locks.patiently(lambda: _widen_register(connection, pool))
        with connection.transaction():
            _converge_objects(connection, pool)
        secret = server.secrets.get(pool.token_secret_arn)
        if secret is None or rotate:
            key = randomness.token_bytes(KEY_BYTES)
            with connection.transaction():
                _admit_key(connection, pool, "pending", key)
            version = server.secrets.put(pool.token_secret_arn, {"key": key.hex()})
        else:
            key, version = _parse_key(pool.token_secret_arn, secret.value), secret.version_id
        with connection.transaction():
            _admit_key(connection, pool, version, key)
            connection.execute(
                sql.SQL(
                    """
                    UPDATE tenantry.pool_key SET retires_at = least(retires_at, clock_timestamp() + {})
                     WHERE version <> %s
                    """
                ).format(sql.Literal(OVERLAP) + sql.SQL("::interval")),
                (version,),
            )
            connection.execute(
                """
                DELETE FROM tenantry.pool_key WHERE version = 'pending' OR retires_at < clock_timestamp()
                    OR version <> %(current)s AND version NOT IN (
                        SELECT version FROM tenantry.pool_key WHERE version NOT IN (%(current)s, 'pending')
                         ORDER BY created_at DESC LIMIT 1)
                """,
                {"current": version},
            )
    return version


def _parse_key(arn: str, value: dict[str, object]) -> bytes:
    try:
        key = bytes.fromhex(str(value["key"]))
    except (KeyError, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise PostgresProviderError(
            f"secret {arn} holds no pool key: expected {{'key': '<{2 * KEY_BYTES} hex digits>'}}"
        )
    return key


def _admit_key(connection: Connection, pool: PoolSecurity, version: str, key: bytes) -> None:
    become(connection, pool.definer)
    connection.execute(
        """
        INSERT INTO tenantry.pool_key (version, ipad, opad) VALUES (%s, %s, %s)
        ON CONFLICT (version) DO UPDATE SET ipad = excluded.ipad, opad = excluded.opad, retires_at = 'infinity'
        """,
        (version, bytes(byte ^ 0x36 for byte in key), bytes(byte ^ 0x5C for byte in key)),
    )


def _widen_register(connection: Connection, pool: PoolSecurity) -> None:
    """Let an earlier release's register take `read_only`. Every statement of every tenant reads that table."""
    with connection.transaction():
        row = connection.execute(
            """
            SELECT pg_get_constraintdef(k.oid) FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
              JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = 'tenantry' AND c.relname = 'pool_tenant' AND k.conname = 'pool_tenant_access_check'
            """
        ).fetchone()
        if row is None or "read_only" in str(row[0]):
            return
        patient_locks.limit(connection)
        become(connection, pool.definer)
        connection.execute(
            "ALTER TABLE tenantry.pool_tenant DROP CONSTRAINT pool_tenant_access_check,"
            " ADD CONSTRAINT pool_tenant_access_check CHECK (access IN ('full', 'read_only', 'suspended'))"
        )


def _converge_objects(connection: Connection, pool: PoolSecurity) -> None:
    bookkeeping.ensure_tables(connection)
    ensure_member(connection, pool.definer)
    other = connection.execute(
        "SELECT schema_name FROM tenantry.app_schema WHERE mode = 'pool' AND schema_name <> %s", (pool.schema,)
    ).fetchone()
    if other is not None:
        raise NotOurs(f"database {pool.database} has a pool in schema {other[0]}; a database holds one pool")
    definer, login, owner = (sql.Identifier(name) for name in (pool.definer, pool.login, pool.owner))
    connection.execute(sql.SQL("GRANT USAGE, CREATE ON SCHEMA tenantry TO {}").format(definer))
    connection.execute(sql.SQL("SET LOCAL ROLE {}").format(definer))
    for grantee in _excess_grantees(connection, pool):
        connection.execute(
            sql.SQL("REVOKE ALL ON TABLE tenantry.pool_key, tenantry.pool_tenant FROM {}").format(
                sql.Identifier(grantee)
            )
        )
        for name in _present(connection):
            connection.execute(
                sql.SQL("REVOKE ALL ON FUNCTION tenantry.{}() FROM {}").format(
                    sql.Identifier(name), sql.Identifier(grantee)
                )
            )
    connection.execute(_SCRIPT.read_bytes())
    connection.execute(sql.SQL("GRANT EXECUTE ON FUNCTION {} TO {}, {}").format(_functions(), login, owner))
    connection.execute("RESET ROLE")
    connection.execute(sql.SQL("REVOKE CREATE ON SCHEMA tenantry FROM {}").format(definer))
    connection.execute(sql.SQL("GRANT USAGE ON SCHEMA tenantry TO {}, {}").format(login, owner))


def _functions() -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL("tenantry.{}()").format(sql.Identifier(name)) for name in FUNCTIONS)


def _present(connection: Connection) -> list[str]:
    """Those of the functions that exist: an earlier release had one."""
    rows = connection.execute(
        "SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
        " WHERE n.nspname = 'tenantry' AND p.pronargs = 0 AND p.proname = ANY (%s)",
        (list(FUNCTIONS),),
    ).fetchall()
    return [str(name) for (name,) in rows]


def _wanted_grants(pool: PoolSecurity) -> set[tuple[str, str, str]]:
    return {(name, role, "EXECUTE") for name in FUNCTIONS for role in (pool.login, pool.owner)}


def _actual_grants(connection: Connection, pool: PoolSecurity) -> set[tuple[str, str, str]]:
    rows = connection.execute(_GRANTS, {"definer": pool.definer, "functions": list(FUNCTIONS)}).fetchall()
    return {(str(name), str(grantee), str(privilege)) for name, grantee, privilege in rows}


def _excess_grantees(connection: Connection, pool: PoolSecurity) -> list[str]:
    excess = _actual_grants(connection, pool) - _wanted_grants(pool)
    return sorted({grantee for _, grantee, _ in excess if grantee != "PUBLIC"})


_GRANTS = """
SELECT p.proname, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END, privilege_type
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace,
       aclexplode(coalesce(p.proacl, acldefault('f', p.proowner)))
 WHERE n.nspname = 'tenantry' AND p.proname = ANY (%(functions)s) AND pg_get_userbyid(grantee) <> %(definer)s
 UNION ALL
SELECT c.relname, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END, privilege_type
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
       aclexplode(coalesce(c.relacl, acldefault('r', c.relowner)))
 WHERE n.nspname = 'tenantry' AND c.relname IN ('pool_key', 'pool_tenant') AND pg_get_userbyid(grantee) <> %(definer)s
"""


def read(server: Server, pool: PoolSecurity, marker: str) -> tuple[str, list[str]] | None:
    """The version of the newest key and what differs from a pool as ``create`` leaves it; None if it is gone."""
    with server.connect() as connection:
        if not markers.exists(connection, "DATABASE", pool.database):
            return None
        if not markers.exists(connection, "ROLE", pool.definer):
            return None
        drift = markers.drift(connection, "ROLE", pool.definer, marker)
    with server.connect(pool.database) as connection:
        if not bookkeeping.table_exists(connection, "pool_key"):
            return None
        with connection.transaction():
            become(connection, pool.definer)
            keys = connection.execute(
                "SELECT version FROM tenantry.pool_key WHERE retires_at = 'infinity' ORDER BY created_at DESC"
            ).fetchall()
        drift += _object_drift(connection, pool)
    version = str(keys[0][0]) if keys else ""
    secret = server.secrets.get(pool.token_secret_arn)
    if secret is None:
        drift.append("the token secret has no key")
    elif (secret.version_id,) not in keys:
        drift.append(f"version {secret.version_id} of the token secret is not the key in force")
    return version, drift


def _object_drift(connection: Connection, pool: PoolSecurity) -> list[str]:
    rows = connection.execute(
        """
        SELECT p.proname, p.prosrc, p.prosecdef AND p.provolatile = 's' AND pg_get_userbyid(p.proowner) = %s
               AND p.proconfig = ARRAY['search_path=pg_catalog, pg_temp']
          FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
         WHERE n.nspname = 'tenantry' AND p.proname = ANY (%s) AND p.pronargs = 0
        """,
        (pool.definer, list(FUNCTIONS)),
    ).fetchall()
    found = {str(name): str(source).strip() if right else None for name, source, right in rows}
    drift = []
    for name, body in bodies().items():
        if name not in found:
            drift.append(f"tenantry.{name}() is missing")
        elif found[name] != body:
            drift.append(f"tenantry.{name}() was changed")
    granted, wanted = _actual_grants(connection, pool), _wanted_grants(pool)
    drift += [f"{grantee} has {privilege} on tenantry.{name}" for name, grantee, privilege in sorted(granted - wanted)]
    return drift + [
        f"{grantee} lacks {privilege} on tenantry.{name}()" for name, grantee, privilege in sorted(wanted - granted)
    ]


def delete(server: Server, pool: PoolSecurity, marker: str) -> None:
    """Remove the pool's security. Refused while policies still use it: the tables have to go first."""
    with server.connect() as connection:
        if not markers.exists(connection, "ROLE", pool.definer):
            return
        markers.require_ours(connection, "ROLE", pool.definer, marker)
        database_exists = markers.exists(connection, "DATABASE", pool.database)
    if database_exists:
        with server.connect(pool.database) as connection, connection.transaction():
            ensure_member(connection, pool.definer)
            bookkeeping.lock(connection)
            try:
                connection.execute(
                    "DROP FUNCTION IF EXISTS tenantry.writing_tenant(), tenantry.current_tenant(); "
                    "DROP TABLE IF EXISTS tenantry.pool_tenant, tenantry.pool_key"
                )
            except psycopg.errors.DependentObjectsStillExist:
                raise PostgresProviderError(
                    f"tables of the pool in {pool.database} still use tenantry.current_tenant(): delete the AppSchema "
                    "first (declare that it depends on the PoolSecurity)"
                ) from None
            for grantee in (pool.definer, pool.login, pool.owner):
                if markers.exists(connection, "ROLE", grantee) and markers.exists(connection, "SCHEMA", "tenantry"):
                    connection.execute(sql.SQL("REVOKE ALL ON SCHEMA tenantry FROM {}").format(sql.Identifier(grantee)))
            bookkeeping.drop_if_unused(connection)
    with server.connect() as connection:
        connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(pool.definer)))
