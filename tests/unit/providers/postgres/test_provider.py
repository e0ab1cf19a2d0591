"""Check, Diff and previews of every type through the provider's interface: without a server, without a secret."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from providers.base import UNKNOWN, CheckFailed
from providers.base.testing import ProviderClient, Resource, RpcFailed, serving
from providers.postgres import patience
from providers.postgres.provider import provider

T = "tenantry-postgres:index:"
ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:x-AbCdEf"
WHERE = {"database": "tenantry", "schema": "pool", "owner": "pool_owner"}
DIGEST = "0" * 64
MIGRATION = {"version": 1, "name": "a", "sha256": DIGEST}
APP = {**WHERE, "mode": "pool", "directory": "/nowhere", "migrations": [MIGRATION]}
ROLE = {"name": "app", "login": True, "secretArn": ARN}
TENANT = {"database": "tenantry", "schema": "pool", "tenantId": "acme", "epoch": 1, "access": "full"}
CASES: dict[str, dict[str, Any]] = {
    "Database": {"name": "tenantry"},
    "Role": {**ROLE, "connectionLimit": 5, "access": "full", "database": "tenantry", "searchPath": "pool"},
    "Schema": {"database": "tenantry", "name": "pool", "owner": "pool_owner"},
    "Privileges": {**WHERE, "role": "app"},
    "PoolSecurity": {**WHERE, "login": "app", "tokenSecretArn": ARN, "rotation": "1"},
    "AppSchema": APP,
    "PoolTenant": TENANT,
}
REPLACED = {
    "Database": {"name"},
    "Role": {"name"},
    "Schema": {"database", "name"},
    "Privileges": {"database", "schema", "role"},
    "PoolSecurity": {"database", "schema"},
    "AppSchema": {"database", "schema", "mode"},
    "PoolTenant": {"database", "schema", "tenantId"},
}


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderClient]:
    """Of a server whose address is not known yet, where no name resolves and no secret can be read."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    config = {"host": UNKNOWN, "port": UNKNOWN, "masterSecretArn": UNKNOWN, "region": "us-east-1"}
    with serving(provider(), config) as found:
        yield found


def test_every_type_has_a_case() -> None:
    assert {T + kind for kind in CASES} == set(provider().handlers)


@pytest.mark.parametrize("kind", CASES)
def test_a_preview_needs_neither_server_nor_values(client: ProviderClient, kind: str) -> None:
    known = client.create(T + kind, "it", CASES[kind], preview=True)
    assert {name: known.outputs[name] for name in CASES[kind]} == CASES[kind]
    unknown = client.create(T + kind, "it", dict.fromkeys(CASES[kind], UNKNOWN), preview=True)
    assert all(unknown.outputs[name] is UNKNOWN for name in CASES[kind])
    made = Resource(T + kind, "it", "id", known.inputs, known.outputs)
    assert client.plan(made, CASES[kind]).changes == {}
    after = client.update(made, {**CASES[kind]}, preview=True)
    assert {name: after.outputs[name] for name in CASES[kind]} == CASES[kind]


@pytest.mark.parametrize("kind", CASES)
def test_what_identifies_a_thing_replaces_it(client: ProviderClient, kind: str) -> None:
    made = Resource(T + kind, "it", "id", CASES[kind], CASES[kind])
    replaced = {
        name
        for name in CASES[kind]
        if client.diff(made, {**CASES[kind], name: UNKNOWN}).replaces
        or client.diff(made, {**CASES[kind], name: "another"}).replaces
    }
    assert replaced == REPLACED[kind]


#: what tells a pool that an earlier release made
OF_THIS_RELEASE = {"PoolSecurity": {"definition": "ADD"}, "AppSchema": {"policies": "ADD"}}


def test_a_pool_of_an_earlier_release_is_changed_in_place(client: ProviderClient) -> None:
    for kind, changes in OF_THIS_RELEASE.items():
        made = Resource(T + kind, "it", "id", CASES[kind], CASES[kind])
        plan = client.plan(made, CASES[kind])
        assert plan.changes == changes
        assert not plan.replaces


def test_drift_is_a_difference_whatever_the_program_says(client: ProviderClient) -> None:
    for kind, inputs in CASES.items():
        drifted = Resource(T + kind, "it", "id", {**inputs, "drift": ["something"]}, inputs)
        plan = client.plan(drifted, inputs)
        assert plan.changes == {"drift": "DELETE", **OF_THIS_RELEASE.get(kind, {})}
        assert not plan.replaces


def test_where_the_files_lie_is_no_property_of_a_schema(client: ProviderClient) -> None:
    app, _ = client.check(T + "AppSchema", "it", APP)
    old = Resource(T + "AppSchema", "it", "id", app, app)
    read_only = client.plan(old, {**APP, "directory": "/elsewhere"})
    assert not read_only.replaces
    second = {**APP, "migrations": [MIGRATION, {**MIGRATION, "version": 2}]}
    assert client.plan(old, second).changes == {"migrations": "UPDATE"}
    assert client.create(T + "AppSchema", "it", second, preview=True).outputs["version"] == 2


REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("Database", {"name": "Acme"}, "name", "lower-case"),
    ("Database", {"name": "postgres"}, "name", "reserved"),
    ("Database", {"name": 7}, "name", "not a string"),
    ("Database", {}, "name", "required"),
    ("Role", {**ROLE, "name": "pg_x"}, "name", "reserves"),
    ("Role", {**ROLE, "access": "none"}, "access", "full, suspended"),
    ("Role", {**ROLE, "connectionLimit": -2}, "connectionLimit", "integer from -1"),
    ("Role", {**ROLE, "connectionLimit": True}, "connectionLimit", "integer"),
    ("Role", {**ROLE, "secretArn": "arn:aws:s3:::x"}, "secretArn", "ARN of a Secrets Manager"),
    ("Role", {"name": "x", "login": True}, "secretArn", "required for a login"),
    ("Role", {**ROLE, "login": False}, "secretArn", "makes no sense"),
    ("Role", {**ROLE, "login": "yes"}, "login", "boolean"),
    ("Role", {**ROLE, "searchPath": "pool"}, "database", "required beside searchPath"),
    ("Role", {**ROLE, "searchPath": "a, b", "database": "d"}, "searchPath", "lower-case"),
    ("Role", {**ROLE, "password": "x"}, "password", "not supported"),
    ("Schema", {**CASES["Schema"], "name": "public"}, "name", "reserved"),
    ("Schema", {**CASES["Schema"], "owner": "rdsadmin"}, "owner", "reserved"),
    ("Privileges", {**CASES["Privileges"], "role": "PUBLIC"}, "role", "lower-case"),
    ("PoolSecurity", {**CASES["PoolSecurity"], "tokenSecretArn": "x"}, "tokenSecretArn", "ARN"),
    ("AppSchema", {**APP, "mode": "shared"}, "mode", "pool, dedicated"),
    ("AppSchema", {**APP, "tenantId": "acme"}, "tenantId", "many tenants"),
    ("AppSchema", {**APP, "migrations": "all"}, "migrations", "not a list"),
    ("AppSchema", {**APP, "migrations": [{"version": 1}]}, "migrations[0]", "version, name and sha256"),
    ("AppSchema", {**APP, "migrations": [{**MIGRATION, "version": 2}]}, "migrations[0]", "version 2, not 1"),
    ("AppSchema", {**APP, "migrations": [{**MIGRATION, "sha256": "x"}]}, "migrations[0]", "64 hex digits"),
    ("PoolTenant", {**TENANT, "tenantId": "Acme"}, "tenantId", "3 to 40"),
    ("PoolTenant", {**TENANT, "epoch": 0}, "epoch", "integer from 1"),
    ("PoolTenant", {**TENANT, "access": "no"}, "access", "full, read_only, suspended"),
]


@pytest.mark.parametrize(("kind", "inputs", "name", "reason"), REFUSED)
def test_what_the_server_would_refuse_is_refused_by_check(
    client: ProviderClient, kind: str, inputs: dict[str, Any], name: str, reason: str
) -> None:
    with pytest.raises(CheckFailed) as refused:
        client.check(T + kind, "it", inputs)
    told = [text for found, text in refused.value.failures if found == name]
    assert told, refused.value.failures
    assert reason in told[0]


def test_configuration_is_checked_and_may_be_unknown() -> None:
    good = {"host": "h", "port": "5432", "masterSecretArn": ARN, "region": "r"}
    for change, text in (
        ({"port": "0"}, "port: '0' is not a port"),
        ({"port": "65536"}, "is not a port"),
        ({"port": "x"}, "is not a port"),
        ({"host": None}, "host: is required"),
    ):
        with pytest.raises(CheckFailed, match=text), serving(provider(), {**good, **change}):
            pass
    with serving(provider(), {**good, "host": UNKNOWN, "port": UNKNOWN}) as client:
        assert client.check(T + "Database", "it", {"name": "d"})[0] == {"name": "d"}


def test_an_id_of_another_form_can_not_be_imported(client: ProviderClient) -> None:
    for kind, form in (
        ("Schema", "<database>/<schema>"),
        ("Privileges", "<database>/<schema>/<role>"),
        ("PoolTenant", "<database>/<schema>/<tenant id>"),
    ):
        for id in ("x", "a/b/c/d", "a//b"):
            with pytest.raises(RpcFailed, match="is no id of this type; import it as") as failed:
                client.import_(T + kind, "it", id)
            assert form in failed.value.message
    for kind in ("PoolSecurity", "AppSchema"):
        with pytest.raises(RpcFailed, match="can't be imported: create it in the program"):
            client.import_(T + kind, "it", "x")


def test_a_pause_is_the_operations_own_within_it() -> None:
    told: list[float] = []
    with patience.pausing_by(told.append):
        patience.pause(3600)
    assert told == [3600]
    patience.pause(0)
    assert told == [3600]
