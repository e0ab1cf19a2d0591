"""What a pool's row-level security rests on: the token key, the check of tokens, the register of admitted tenants."""

from __future__ import annotations

import secrets as randomness
from dataclasses import dataclass
from importlib import resources

import psycopg
from psycopg import sql

from providers.postgres import bookkeeping, markers
from providers.postgres.connection import Connection, Server, become, ensure_member
from providers.postgres.errors import NotOurs, PostgresProviderError
from providers.postgres.identifiers import definer_role

KEY_BYTES = 64  #: HMAC-SHA256's block: shorter keys are padded, longer ones hashed
OVERLAP = "1 hour"  #: how long a rotated key is still accepted; tokens live 15 minutes
_FUNCTION = "tenantry.current_tenant()"


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
            sql.SQL(
                "REVOKE ALL ON FUNCTION tenantry.current_tenant() FROM {0}; "
                "REVOKE ALL ON TABLE tenantry.pool_key, tenantry.pool_tenant FROM {0}"
            ).format(sql.Identifier(grantee))
        )
    connection.execute(resources.files("providers.postgres").joinpath("sql/pool_security.sql").read_bytes())
    connection.execute(sql.SQL("GRANT EXECUTE ON FUNCTION tenantry.current_tenant() TO {}, {}").format(login, owner))
    connection.execute("RESET ROLE")
    connection.execute(sql.SQL("REVOKE CREATE ON SCHEMA tenantry FROM {}").format(definer))
    connection.execute(sql.SQL("GRANT USAGE ON SCHEMA tenantry TO {}, {}").format(login, owner))


def _excess_grantees(connection: Connection, pool: PoolSecurity) -> list[str]:
    rows = connection.execute(_GRANTS, {"definer": pool.definer}).fetchall()
    allowed = {("current_tenant", pool.login, "EXECUTE"), ("current_tenant", pool.owner, "EXECUTE")}
    return sorted({str(g) for name, g, p in rows if (name, g, p) not in allowed and g != "PUBLIC"})


_GRANTS = """
SELECT p.proname, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END, privilege_type
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace,
       aclexplode(coalesce(p.proacl, acldefault('f', p.proowner)))
 WHERE n.nspname = 'tenantry' AND p.proname = 'current_tenant' AND pg_get_userbyid(grantee) <> %(definer)s
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
    source = connection.execute(
        """
        SELECT p.prosrc, p.prosecdef AND p.provolatile = 's' AND pg_get_userbyid(p.proowner) = %s
               AND p.proconfig = ARRAY['search_path=pg_catalog, pg_temp']
          FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
         WHERE n.nspname = 'tenantry' AND p.proname = 'current_tenant' AND p.pronargs = 0
        """,
        (pool.definer,),
    ).fetchone()
    if source is None:
        return [f"{_FUNCTION} is missing"]
    script = resources.files("providers.postgres").joinpath("sql/pool_security.sql").read_text()
    drift = [] if source[1] and str(source[0]).strip() in script else [f"{_FUNCTION} was changed"]
    granted = {
        (str(o), str(g), str(p)) for o, g, p in connection.execute(_GRANTS, {"definer": pool.definer}).fetchall()
    }
    wanted = {("current_tenant", pool.login, "EXECUTE"), ("current_tenant", pool.owner, "EXECUTE")}
    drift += [f"{grantee} has {privilege} on tenantry.{name}" for name, grantee, privilege in sorted(granted - wanted)]
    drift += [f"{grantee} lacks {privilege} on {_FUNCTION}" for _, grantee, privilege in sorted(wanted - granted)]
    return drift


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
                    "DROP FUNCTION IF EXISTS tenantry.current_tenant(); "
                    "DROP TABLE IF EXISTS tenantry.pool_tenant, tenantry.pool_key"
                )
            except psycopg.errors.DependentObjectsStillExist:
                raise PostgresProviderError(
                    f"tables of the pool in {pool.database} still use {_FUNCTION}: delete the AppSchema first "
                    "(declare that it depends on the PoolSecurity)"
                ) from None
            for grantee in (pool.definer, pool.login, pool.owner):
                if markers.exists(connection, "ROLE", grantee) and markers.exists(connection, "SCHEMA", "tenantry"):
                    connection.execute(sql.SQL("REVOKE ALL ON SCHEMA tenantry FROM {}").format(sql.Identifier(grantee)))
            bookkeeping.drop_if_unused(connection)
    with server.connect() as connection:
        connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(pool.definer)))
