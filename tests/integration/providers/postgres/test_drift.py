"""Whatever somebody changes by hand is told by a refresh and put right by the next update."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass

import boto3
import psycopg
import pytest

from providers.base.testing import Resource
from tests.integration.providers.postgres.conftest import REGION
from tests.integration.providers.postgres.engine import Bridge, Cell, Engine, bridge


@dataclass
class World:
    cell: Cell
    acme: Bridge
    tenant: Resource
    stranger: str

    def names(self) -> dict[str, str]:
        return {
            "db": self.cell.database,
            "pool_owner": self.cell.owner,
            "pool_app": self.cell.login,
            "schema": self.acme.name,
            "owner": self.acme.owner,
            "app": self.acme.login,
            "stranger": self.stranger,
            "definer": self.cell.definer,
        }

    def part(self, name: str) -> tuple[Engine, Resource]:
        if name == "tenant":
            return self.cell.engine.other("initech"), self.tenant
        where, _, label = name.partition(".")
        if where == "pool":
            return self.cell.engine, self.cell.parts[label]
        return self.acme.engine, self.acme.parts[label]


@pytest.fixture(scope="module")
def world(cell: Cell) -> World:
    """A pool, a tenant's own schema beside it, and a role that is nobody's business here."""
    stranger = f"stranger_{secrets.token_hex(4)}"
    with cell.engine.stack.server.connect() as master:
        master.execute(f"CREATE ROLE {stranger} LOGIN".encode())
    return World(cell, bridge(cell.engine.other("acme"), cell.database), cell.admit("initech"), stranger)


# what is looked at, what somebody does (as the superuser, in the database), what the refresh says
BY_HAND = [
    ("pool.database", "GRANT CONNECT ON DATABASE {db} TO PUBLIC", "PUBLIC has CONNECT"),
    ("pool.database", "GRANT CREATE ON SCHEMA public TO PUBLIC", "PUBLIC has CREATE on schema public"),
    ("pool.database", "COMMENT ON DATABASE {db} IS 'mine'", "is 'mine', not this stack's"),
    ("acme.owner", "ALTER ROLE {owner} CREATEDB", "role has CREATEDB"),
    ("acme.owner", "ALTER ROLE {owner} SET work_mem = '1GB'", "settings of the role are: all databases: work_mem=1GB"),
    ("acme.owner", "COMMENT ON ROLE {owner} IS NULL", "is None, not this stack's"),
    ("acme.login", "ALTER ROLE {app} CREATEROLE", "role has CREATEROLE"),
    ("acme.login", "ALTER ROLE {app} VALID UNTIL '2001-01-01'", "role expires"),
    ("acme.login", "ALTER ROLE {app} VALID UNTIL '2001-01-01'", "refuses the secret's password"),
    ("acme.login", "ALTER ROLE {app} PASSWORD 'by-hand'", "the server refuses the secret's password"),
    ("acme.login", "ALTER ROLE {app} PASSWORD NULL", "the server refuses the secret's password"),
    ("acme.login", "ALTER ROLE {app} IN DATABASE {db} SET search_path = public", "search_path=public"),
    ("acme.login", "ALTER ROLE {app} IN DATABASE {db} RESET ALL", "settings of the role are: none"),
    ("acme.login", "ALTER ROLE {app} IN DATABASE {db} SET row_security = off", "row_security=off"),
    ("acme.schema", "GRANT USAGE ON SCHEMA {schema} TO PUBLIC", "PUBLIC has USAGE on schema"),
    ("acme.schema", "GRANT USAGE ON SCHEMA {schema} TO {stranger}", "{stranger} has USAGE on schema"),
    ("acme.schema", "GRANT CREATE ON SCHEMA {schema} TO {app}", "{app} has CREATE on schema"),
    ("acme.privileges", "REVOKE SELECT ON {schema}.project FROM {app}", "lacks SELECT on table project"),
    ("acme.privileges", "GRANT TRUNCATE ON {schema}.project TO {app}", "has TRUNCATE on table project"),
    ("acme.privileges", "GRANT REFERENCES (name) ON {schema}.project TO {app}", "REFERENCES on column project.name"),
    ("acme.privileges", "GRANT INSERT ON {schema}.task_status TO {app}", "has INSERT on table task_status"),
    ("acme.privileges", "GRANT TEMP ON DATABASE {db} TO {app}", "has TEMPORARY on database"),
    ("acme.privileges", "REVOKE CONNECT ON DATABASE {db} FROM {app}", "lacks CONNECT on database"),
    ("acme.privileges", "REVOKE USAGE ON SCHEMA {schema} FROM {app}", "lacks USAGE on schema"),
    ("acme.tables", "GRANT SELECT ON {schema}.project TO {stranger}", "grants SELECT to {stranger}"),
    ("acme.tables", "GRANT SELECT (name) ON {schema}.project TO {stranger}", "grants SELECT (name) to {stranger}"),
    ("acme.tables", "GRANT SELECT ON {schema}.project TO {pool_app}", "grants SELECT to {pool_app}"),
    ("acme.tables", "GRANT SELECT ON {schema}.project TO PUBLIC", "grants SELECT to PUBLIC"),
    ("acme.tables", "GRANT USAGE ON SCHEMA {schema} TO {stranger} WITH GRANT OPTION", "grants USAGE to {stranger}"),
    ("acme.tables", "ALTER TABLE {schema}.task DROP CONSTRAINT tenantry_tenant_id", "task: is not pinned"),
    ("acme.tables", ("ALTER TABLE {schema}.task DROP CONSTRAINT tenantry_tenant_id, ADD CONSTRAINT tenantry_tenant_id"
     " CHECK (tenant_id > '')"), "task: is not pinned"),
    ("pool.tables", "ALTER TABLE pool.task DISABLE ROW LEVEL SECURITY", "task: row-level security is not enabled"),
    ("pool.tables", "ALTER TABLE pool.task NO FORCE ROW LEVEL SECURITY", "task: row-level security is not forced"),
    ("pool.tables", "DROP POLICY tenantry_tenant ON pool.task", "table task: policy tenantry_tenant is missing"),
    ("pool.tables", "ALTER POLICY tenantry_tenant ON pool.task USING (true)", "table task: policy tenantry_tenant is"),
    ("pool.tables", "ALTER POLICY tenantry_tenant ON pool.task WITH CHECK (true)", "tenantry_tenant is missing or"),
    ("pool.tables", "ALTER POLICY tenantry_tenant ON pool.task TO {pool_owner}", "tenantry_tenant is missing or"),
    ("pool.tables", "CREATE POLICY more ON pool.task USING (true)", "permissive policy more lets more rows through"),
    ("pool.tables", "GRANT SELECT ON pool.task TO {app}", "grants SELECT to {app}"),
    ("pool.security", "GRANT SELECT ON tenantry.pool_key TO {pool_app}", "{pool_app} has SELECT on tenantry.pool_key"),
    ("pool.security", "GRANT UPDATE ON tenantry.pool_tenant TO PUBLIC", "PUBLIC has UPDATE on tenantry.pool_tenant"),
    ("pool.security", "REVOKE EXECUTE ON FUNCTION tenantry.current_tenant() FROM {pool_app}", "lacks EXECUTE on"),
    ("pool.security", "GRANT EXECUTE ON FUNCTION tenantry.current_tenant() TO PUBLIC", "PUBLIC has EXECUTE on"),
    ("pool.security", "ALTER FUNCTION tenantry.current_tenant() RESET search_path", "current_tenant() was changed"),
    ("pool.security", "ALTER FUNCTION tenantry.current_tenant() SECURITY INVOKER", "current_tenant() was changed"),
    ("pool.security", ("CREATE OR REPLACE FUNCTION tenantry.current_tenant() RETURNS text LANGUAGE sql STABLE SECURITY"
     " DEFINER SET search_path = pg_catalog, pg_temp AS $$ SELECT 'acme' $$"), "current_tenant() was changed"),
    ("pool.security", "DELETE FROM tenantry.pool_key", "is not the key in force"),
    ("pool.security", "UPDATE tenantry.pool_key SET retires_at = now()", "is not the key in force"),
]  # fmt: skip


@pytest.mark.parametrize(("part", "statement", "told"), BY_HAND)
def test_a_change_by_hand_is_told_and_repaired(world: World, part: str, statement: str, told: str) -> None:
    engine, made = world.part(part)
    assert engine.drift(made) == []
    engine.admin(world.cell.database, statement.format(**world.names()))
    drifted = engine.refresh(made)
    assert any(told.format(**world.names()) in line for line in drifted.inputs["drift"]), drifted.inputs
    repaired = engine.update(drifted)
    assert engine.drift(repaired) == []
    assert engine.refresh(repaired).inputs == made.inputs
    assert_whole(world)


def assert_whole(world: World) -> None:
    """Both logins still work, and only on what is theirs."""
    with world.acme.session() as session:
        assert session.execute("SELECT count(*) FROM task").fetchone() is not None
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("SELECT * FROM pool.task")
    with world.cell.entered("initech") as session:
        assert session.execute("SELECT count(*) FROM task").fetchone() is not None
        with pytest.raises(psycopg.errors.InsufficientPrivilege), session.transaction():
            session.execute(f"SELECT * FROM {world.acme.name}.task".encode())


@pytest.mark.parametrize(
    ("part", "statement", "changed"),
    [
        ("acme.login", "ALTER ROLE {app} NOLOGIN", {"access": "suspended"}),
        ("acme.login", "ALTER ROLE {app} CONNECTION LIMIT 99", {"connectionLimit": 99}),
        ("acme.owner", "ALTER ROLE {owner} LOGIN", {"login": True}),
        ("acme.schema", "ALTER SCHEMA {schema} OWNER TO {stranger}", {"owner": "{stranger}"}),
        ("tenant", "UPDATE tenantry.pool_tenant SET access = 'suspended' WHERE tenant_id = 'initech'",
         {"access": "suspended"}),
        ("tenant", "UPDATE tenantry.pool_tenant SET epoch = 7 WHERE tenant_id = 'initech'", {"epoch": 7}),
        ("tenant", "UPDATE tenantry.pool_tenant SET marker = 'x' WHERE tenant_id = 'initech'",
         {"drift": ["tenant initech is registered by 'x'"]}),
    ],
)  # fmt: skip
def test_a_change_of_what_an_input_says_shows_as_that_input(
    world: World, part: str, statement: str, changed: dict[str, object]
) -> None:
    engine, made = world.part(part)
    engine.admin(world.cell.database, statement.format(**world.names()))
    drifted = engine.refresh(made)
    wanted = {k: v.format(**world.names()) if isinstance(v, str) else v for k, v in changed.items()}
    assert {key: drifted.inputs.get(key) for key in wanted} == wanted
    assert set(engine.client.plan(drifted, made.inputs).changes) == set(wanted)
    engine.client.update(drifted, made.inputs)
    assert engine.refresh(made).inputs == made.inputs
    assert_whole(world)


def test_memberships_both_ways_are_told_and_revoked(world: World) -> None:
    engine, login = world.part("acme.login")
    _, owner = world.part("acme.owner")
    with engine.stack.server.connect() as master:
        master.execute(f"GRANT {world.acme.owner} TO {world.acme.login}".encode())
        master.execute(f"GRANT {world.acme.owner} TO {world.cell.login}".encode())
    assert engine.drift(login) == [f"role is a member of {world.acme.owner}"]
    assert engine.drift(owner) == [
        f"role is granted to {name}" for name in sorted((world.acme.login, world.cell.login))
    ]
    engine.update(engine.refresh(login))
    assert engine.drift(owner) == [f"role is granted to {world.cell.login}"]
    engine.update(engine.refresh(owner))
    assert engine.drift(owner) == engine.drift(login) == []
    assert_whole(world)


def test_a_membership_the_master_can_not_revoke_fails_the_update_by_name(world: World) -> None:
    engine, login = world.part("acme.login")
    engine.admin("postgres", f"GRANT pg_read_all_data TO {world.acme.login}")
    drifted = engine.refresh(login)
    assert drifted.inputs["drift"] == ["role is a member of pg_read_all_data"]
    with pytest.raises(Exception, match=r"permission denied|can't revoke"):
        engine.update(drifted)
    engine.admin("postgres", f"REVOKE pg_read_all_data FROM {world.acme.login}")
    assert engine.drift(login) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda value: {**value, "password": "another"}, "the server refuses the secret's password"),
        (lambda value: {k: v for k, v in value.items() if k != "password"}, "the secret has no password"),
        (lambda value: {**value, "host": "elsewhere", "port": 1}, "the secret has another host, port"),
        (lambda value: {**value, "username": "postgres"}, "the secret has another username"),
    ],
)
def test_a_secret_that_lets_nobody_in_is_told_and_filled_anew(
    world: World, change: Callable[[dict[str, object]], dict[str, object]], told: str
) -> None:
    engine, login = world.part("acme.login")
    client = boto3.client("secretsmanager", region_name=REGION)
    before = engine.stack.value(world.acme.secret)
    client.put_secret_value(SecretId=world.acme.secret, SecretString=json.dumps(change(before)))
    drifted = engine.refresh(login)
    assert drifted.inputs["drift"] == [told]
    repaired = engine.update(drifted)
    assert repaired.outputs["secretVersionId"] != login.outputs["secretVersionId"]
    after = engine.stack.value(world.acme.secret)
    assert {**after, "password": ""} == {**before, "password": ""}
    assert engine.drift(repaired) == []
    assert_whole(world)


def test_the_token_secret_changed_by_hand_is_told_and_admitted(world: World) -> None:
    engine, security = world.part("pool.security")
    client = boto3.client("secretsmanager", region_name=REGION)
    client.put_secret_value(SecretId=world.cell.token_secret, SecretString=json.dumps({"key": secrets.token_hex(64)}))
    drifted = engine.refresh(security)
    assert "of the token secret is not the key in force" in drifted.inputs["drift"][0]
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="invalid"), world.cell.entered("initech") as session:
        session.execute("SELECT * FROM project")
    engine.update(drifted)
    assert_whole(world)
    client.put_secret_value(SecretId=world.cell.token_secret, SecretString=json.dumps({"key": "short"}))
    with pytest.raises(Exception, match="holds no pool key: expected"):
        engine.update(engine.refresh(security))
    client.put_secret_value(SecretId=world.cell.token_secret, SecretString=json.dumps({"key": secrets.token_hex(64)}))
    engine.update(engine.refresh(security))
    assert_whole(world)


MADE_BY_HAND = [
    ("CREATE TABLE pool.extra (tenant_id text NOT NULL, id int, PRIMARY KEY (tenant_id, id))",
     "table extra: row-level security is not enabled", True),
    ("CREATE TABLE pool.extra (id int)", "table extra has no column tenant_id", False),
    ("CREATE VIEW pool.extra AS SELECT * FROM pool.task", "view extra reads with the rights of its owner", False),
    ("CREATE MATERIALIZED VIEW pool.extra AS SELECT 1 AS a", "materialized view extra can't carry", False),
    ("CREATE FUNCTION pool.extra() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM pool.task'",
     "extra() is SECURITY DEFINER", False),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "told", "healed"), MADE_BY_HAND)
def test_what_somebody_added_is_told_and_safe_or_out_of_reach(
    world: World, statement: str, told: str, healed: bool
) -> None:
    engine, tables = world.part("pool.tables")
    kind = statement.split(" TABLE ")[0] if " TABLE " in statement else statement.split(" pool.")[0]
    drop = {"CREATE": "TABLE pool.extra", "CREATE VIEW": "VIEW pool.extra", "CREATE FUNCTION": "FUNCTION pool.extra()"}
    engine.owned(world.cell.database, world.cell.owner, statement)
    try:
        drifted = engine.refresh(tables)
        assert any(told in line for line in drifted.inputs["drift"]), drifted.inputs["drift"]
        repaired = engine.update(drifted)
        assert (engine.drift(repaired) == []) == healed, "what no update can heal is told again"
        reach = "SELECT pool.extra()" if "FUNCTION" in statement else "SELECT * FROM pool.extra"
        with world.cell.entered("initech") as session:
            if healed:
                assert session.execute(reach.encode()).fetchall() == []
            else:
                with pytest.raises(psycopg.errors.InsufficientPrivilege), session.transaction():
                    session.execute(reach.encode())
        assert engine.drift(world.cell.parts["privileges"]) == []
    finally:
        engine.admin(world.cell.database, f"DROP {drop.get(kind, 'MATERIALIZED VIEW pool.extra')}")
    assert engine.drift(tables) == []


def test_an_applied_migration_of_another_digest_is_told_and_never_run_again(world: World) -> None:
    engine, tables = world.part("acme.tables")
    digest = tables.inputs["migrations"][1]["sha256"]
    change = "UPDATE tenantry.migration SET sha256 = '{}' WHERE schema_name = '{}' AND version = 2"
    engine.admin(world.cell.database, change.format("0" * 64, world.acme.name))
    drifted = engine.refresh(tables)
    assert drifted.inputs["drift"] == [f"migration 0002_comments was applied with SHA-256 {'0' * 64}"]
    with pytest.raises(Exception, match=r"0002_comments.sql: was changed after it was applied.*into a new migration"):
        engine.update(drifted)
    engine.admin(world.cell.database, change.format(digest, world.acme.name))
    assert engine.drift(tables) == []


def test_what_is_gone_is_made_again(world: World) -> None:
    engine, made = world.part("tenant")
    engine.admin(world.cell.database, "DELETE FROM tenantry.pool_tenant WHERE tenant_id = 'initech'")
    assert engine.client.refresh(made) is None
    engine.create("PoolTenant", made.name, **made.inputs)
    assert_whole(world)
