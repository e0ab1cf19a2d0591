"""The life of every resource type through the provider's interface, on a server whose master is no superuser."""

from __future__ import annotations

import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from providers.base.testing import Resource, RpcFailed
from tests.integration.providers.postgres.conftest import EXAMPLE, digests
from tests.integration.providers.postgres.engine import Bridge, Cell, Engine, T, bridge

#: what an import can't tell: where the password went, and in which database the search path was asked for
UNTOLD: dict[str, set[str]] = {
    **{"Database": set(), "Schema": set(), "Privileges": set(), "PoolTenant": set()},
    "Role": {"secretArn", "searchPath", "database", "drift"},
}


@pytest.fixture(scope="module")
def acme(cell: Cell) -> Bridge:
    return bridge(cell.engine.other("acme"), cell.database)


def everything(cell: Cell, acme: Bridge) -> list[tuple[Engine, Resource]]:
    tenant = cell.engine.other("initech")
    return [
        *((cell.engine, part) for part in cell.parts.values()),
        *((acme.engine, part) for part in acme.parts.values()),
        (tenant, cell.admit("initech", tenant)),
    ]


def test_nothing_is_left_to_do_after_a_create_a_refresh_or_an_import(cell: Cell, acme: Bridge) -> None:
    for engine, made in everything(cell, acme):
        kind = made.type.removeprefix(T)
        assert engine.client.plan(made, made.inputs).changes == {}, kind
        read = engine.refresh(made)
        assert read.inputs == made.inputs, kind
        assert read.outputs == made.outputs, kind
        if kind in UNTOLD:
            imported = engine.client.import_(made.type, made.name, made.id)
            assert imported is not None
            plan = engine.client.plan(imported, made.inputs)
            assert set(plan.changes) <= UNTOLD[kind], kind
            assert not plan.replaces


def test_no_password_and_no_key_enters_the_state(cell: Cell, acme: Bridge) -> None:
    stack = cell.engine.stack
    hidden = [stack.value(arn)["password"] for arn in (cell.login_secret, acme.secret)]
    hidden += [stack.value(cell.token_secret)["key"], stack.master.password]
    for engine, made in everything(cell, acme):
        read = engine.refresh(made)
        state = json.dumps([made.inputs, made.outputs, read.inputs, read.outputs])
        assert not [secret for secret in hidden if secret in state]


def test_a_second_create_after_a_crash_takes_over_what_the_first_made(cell: Cell, acme: Bridge) -> None:
    for engine, made in everything(cell, acme):
        again = engine.create(made.type.removeprefix(T), made.name, **made.inputs)
        assert again.id == made.id
        read = engine.refresh(again)
        assert "drift" not in read.inputs, read.inputs
    with acme.session() as session:
        assert session.execute("SELECT count(*) FROM task_status").fetchone() == (3,)


def test_what_another_stack_made_is_neither_taken_over_nor_deleted(cell: Cell, acme: Bridge) -> None:
    thief = cell.engine.other("thief")
    refused = {"Database", "Role", "Schema", "PoolSecurity", "AppSchema", "PoolTenant"}
    for _, made in everything(cell, acme):
        kind = made.type.removeprefix(T)
        if kind not in refused:
            continue
        with pytest.raises(RpcFailed, match=r"does not belong to this stack|belong to|by another stack") as failed:
            thief.create(kind, made.name, **made.inputs)
        assert failed.value.code.name == "FAILED_PRECONDITION"
        with pytest.raises(RpcFailed, match=r"does not belong to this stack|belongs? to"):
            thief.client.delete(made)
        assert any("not this stack's" in line or "belong" in line or "by" in line for line in thief.drift(made)), kind
    for engine, made in everything(cell, acme):
        assert engine.refresh(made).inputs == made.inputs


def test_a_database_that_holds_somebodys_tables_is_not_taken_over(cell: Cell) -> None:
    name = f"used_{secrets.token_hex(4)}"
    cell.engine.admin("postgres", f"CREATE DATABASE {name} OWNER {cell.engine.stack.master.username}")
    cell.engine.admin(name, "CREATE TABLE public.theirs (a int)")
    with pytest.raises(RpcFailed, match="holds objects or belongs to another role"):
        cell.engine.create("Database", "used", name=name)
    cell.engine.admin(name, "DROP TABLE public.theirs")
    taken = cell.engine.create("Database", "used", name=name)  # as RDS leaves the one it makes
    assert cell.engine.drift(taken) == []
    cell.engine.client.delete(taken)
    assert cell.engine.client.refresh(taken) is None


def test_a_preview_of_a_change_touches_nothing(cell: Cell, acme: Bridge) -> None:
    login = acme.parts["login"]
    acme.engine.client.update(login, {**login.inputs, "access": "suspended"}, preview=True)
    with acme.session() as session:
        assert session.execute("SELECT 1").fetchone() == (1,)
    planned = cell.engine.client.create(T + "Database", "planned", {"name": f"p_{secrets.token_hex(4)}"}, preview=True)
    assert cell.engine.client.import_(planned.type, "planned", planned.inputs["name"]) is None


def test_what_went_with_its_database_reads_as_gone_and_deletes_as_such(platform: Engine) -> None:
    database = platform.create("Database", "short", name=f"short_{secrets.token_hex(4)}")
    tenant = bridge(platform.other("acme"), database.id)
    with tenant.session() as session:
        platform.client.delete(database)
        with pytest.raises(Exception, match=r"terminat|closed"):
            session.execute("SELECT 1")
    for label in ("schema", "privileges", "tables"):
        assert platform.client.refresh(tenant.parts[label]) is None, label
    tenant.destroy()
    for part in tenant.parts.values():
        assert platform.client.refresh(part) is None


def test_a_changed_limit_or_path_is_changed_in_place_and_keeps_the_password(cell: Cell) -> None:
    tenant = bridge(cell.engine.other("globex"), cell.database)
    before = cell.engine.stack.value(tenant.secret)
    changed = tenant.engine.update(tenant.parts["login"], connectionLimit=7)
    assert changed.outputs["secretVersionId"] == tenant.parts["login"].outputs["secretVersionId"]
    assert cell.engine.stack.value(tenant.secret) == before
    another = cell.engine.stack.secret("moved")
    moved = tenant.engine.update(changed, secretArn=another)
    assert moved.outputs["secretVersionId"] != changed.outputs["secretVersionId"]
    with cell.engine.stack.connect(another, autocommit=True) as session:
        assert session.execute("SHOW search_path").fetchone() == (tenant.name,)
    with pytest.raises(Exception, match="password authentication failed"), tenant.session():
        pass
    tenant.parts["login"] = moved
    tenant.destroy()


def test_many_tenants_are_admitted_at_once(cell: Cell) -> None:
    names = [f"many-{index}" for index in range(20)]
    engines = [cell.engine.other(name) for name in names]
    with ThreadPoolExecutor(20) as pool:
        made = list(pool.map(lambda pair: cell.admit(pair[1], pair[0]), zip(engines, names, strict=True)))
    for name in (names[0], names[-1]):
        with cell.entered(name) as session:
            assert session.execute("SELECT count(*) FROM project").fetchone() == (0,)
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda pair: pair[0].client.delete(pair[1]), zip(engines, made, strict=True)))
    assert all(engine.client.refresh(each) is None for engine, each in zip(engines, made, strict=True))


def test_schemas_of_many_tenants_are_made_and_destroyed_at_once(cell: Cell) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda n: bridge(cell.engine.other(n), cell.database, n), ("aaa", "bbb", "ccc", "ddd")))
        for each in made:
            with each.session() as session:
                session.execute("INSERT INTO project (name) VALUES ('x')")
        list(pool.map(lambda each: each.destroy(), made))
    for each in made:
        assert each.engine.client.refresh(each.parts["owner"]) is None


def test_a_dedicated_schema_is_no_pool(cell: Cell, acme: Bridge) -> None:
    with pytest.raises(RpcFailed, match="dedicated to one tenant, no pool"):
        cell.admit("wrong", schema=acme.name)
    cell.engine.create("Schema", "second", database=cell.database, name="second", owner=cell.owner)
    inputs: dict[str, Any] = {**cell.parts["security"].inputs, "schema": "second"}
    with pytest.raises(RpcFailed, match="a database holds one pool"):
        cell.engine.create("PoolSecurity", "second", **inputs)


def test_a_pool_needs_its_security_first(platform: Engine) -> None:
    database = platform.create("Database", "bare", name=f"bare_{secrets.token_hex(4)}")
    owner = platform.create("Role", "bare-owner", name=f"bare_{secrets.token_hex(4)}", login=False)
    schema = platform.create("Schema", "bare", database=database.id, name="pool", owner=owner.id)
    where = {"database": database.id, "schema": "pool", "owner": owner.id}
    with pytest.raises(RpcFailed, match="declare that the AppSchema depends on the PoolSecurity"):
        platform.create("AppSchema", "t", **where, mode="pool", directory=str(EXAMPLE), migrations=digests(EXAMPLE))
    with pytest.raises(RpcFailed, match="is no pool: deploy the platform stack"):
        platform.create("PoolTenant", "t", database=database.id, schema="pool", tenantId="acme", epoch=1, access="full")
    for each in (schema, owner, database):
        platform.client.delete(each)
