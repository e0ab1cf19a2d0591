"""A local RDS instance is a PostgreSQL server: what its properties say is true of the server."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from providers.base.testing import Resource, RpcFailed
from tests.integration.localcloud.aws.cases import instance
from tests.integration.localcloud.aws.instances import INSTANCE, Instances

OWN = {"manageMasterUserPassword": None, "masterUserSecretKmsKeyId": None, "password": "correct-horse-1"}


def _inputs(instances: Instances, **changes: Any) -> dict[str, Any]:
    merged = {**instance(instances.world), **changes}
    return {name: value for name, value in merged.items() if value is not None}


def _create(instances: Instances, **changes: Any) -> Resource:
    return instances.world.client.create(INSTANCE, "it", _inputs(instances, **changes))


def _one(connection: psycopg.Connection[Any], query: str) -> Any:
    row = connection.execute(query).fetchone()
    return row[0] if row else None


def test_an_instance_is_reached_by_its_outputs_with_the_secret_of_its_master(instances: Instances) -> None:
    made = _create(instances, dbName="app")
    outputs, api = made.outputs, instances.described()
    assert outputs["address"] == "127.0.0.1"
    assert outputs["endpoint"] == f"127.0.0.1:{outputs['port']}"
    assert (api["Endpoint"]["Address"], api["Endpoint"]["Port"]) == (outputs["address"], outputs["port"])
    assert (api["DBInstanceStatus"], outputs["status"]) == ("available", "available")
    assert made.id == outputs["resourceId"] == api["DbiResourceId"]

    login = instances.login(made)
    assert set(login) == {"username", "password"}
    assert login["username"] == "master"
    with instances.connect(made, database="app") as connection:
        assert _one(connection, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") is True
        assert _one(connection, "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user") is False
        assert _one(connection, "SELECT pg_has_role('rds_superuser', 'member')") is True
        owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
        assert _one(connection, owner) == "master"
        assert _one(connection, "SHOW server_version") == outputs["engineVersionActual"]


def test_the_password_lies_in_no_file_of_the_data_directory(instances: Instances) -> None:
    managed = _create(instances)
    password = instances.login(managed)["password"].encode()
    own = instances.world.client.create(
        INSTANCE, "own", _inputs(instances, identifier=f"{instances.world.name}-2", **OWN)
    )
    with instances.connect(own, user="master", password="correct-horse-1") as connection:
        assert _one(connection, "SELECT 1") == 1
    for path in instances.home.root.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert password not in content, path
            assert b"correct-horse" not in content, path


def test_a_password_of_ones_own_is_changed_and_handed_to_rds(instances: Instances) -> None:
    client = instances.world.client
    made = _create(instances, **OWN)
    assert made.outputs["masterUserSecrets"] == []
    changed = client.update(made, _inputs(instances, **{**OWN, "password": "correct-horse-2"}))
    instances.connect(changed, user="master", password="correct-horse-2").close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        instances.connect(changed, user="master", password="correct-horse-1")

    managed = client.update(changed, _inputs(instances))
    assert managed.outputs["masterUserSecrets"][0]["kmsKeyId"] == instances.world.key.outputs["arn"]
    instances.connect(managed).close()
    before = instances.login(managed)
    rotated = client.update(
        managed, _inputs(instances, masterUserSecretKmsKeyId=instances.world.other_key.outputs["arn"])
    )
    assert rotated.outputs["masterUserSecrets"][0]["kmsKeyId"] == instances.world.other_key.outputs["arn"]
    assert instances.login(rotated) != before
    instances.connect(rotated).close()

    back = client.update(rotated, _inputs(instances, **OWN))
    assert back.outputs["masterUserSecrets"] == []
    instances.connect(back, user="master", password="correct-horse-1").close()


def test_parameters_of_the_group_are_the_servers(instances: Instances) -> None:
    world = instances.world
    parameters = [
        {"name": "log_min_duration_statement", "value": "1000"},
        {"name": "rds.logical_replication", "value": "1", "applyMethod": "pending-reboot"},
        {"name": "shared_buffers", "value": "{DBInstanceClassMemory/32768}", "applyMethod": "pending-reboot"},
    ]
    group = {"name": world.name, "family": "postgres17", "parameters": parameters}
    made_group = world.make("aws:rds/parameterGroup:ParameterGroup", group)
    made = _create(instances, parameterGroupName=world.name)
    with instances.connect(made) as connection:
        assert _one(connection, "SHOW log_min_duration_statement") == "1s"
        assert _one(connection, "SHOW wal_level") == "logical"
        assert _one(connection, "SHOW shared_buffers") == "32MB", "a laptop keeps its own sizes"
    changed = [
        {"name": "log_min_duration_statement", "value": "2000"},
        {"name": "rds.logical_replication", "value": "0", "applyMethod": "pending-reboot"},
        {"name": "rds.force_ssl", "value": "0"},
    ]
    world.client.update(made_group, {**group, "parameters": changed})
    with instances.connect(made) as connection:
        instances.until(lambda: bool(_one(connection, "SHOW log_min_duration_statement") == "2s"))
        assert _one(connection, "SHOW wal_level") == "logical", "waits for a restart"
    login = instances.login(made)
    plain = f"host=127.0.0.1 port={made.outputs['port']} dbname=postgres sslmode=disable user={login['username']}"
    psycopg.connect(plain, password=login["password"]).close()
    world.client.update(world.client.refresh(made_group), {**group, "parameters": changed[:2]})  # type: ignore[arg-type]
    instances.until(lambda: "no encryption" in _refusal(plain, login["password"]))


def _refusal(connection: str, password: str) -> str:
    try:
        psycopg.connect(connection, password=password).close()
    except psycopg.OperationalError as error:
        return str(error)
    return ""


def test_a_final_snapshot_restores_the_data_into_another_instance(instances: Instances) -> None:
    world, snapshot = instances.world, f"{instances.world.name}-final"
    made = _create(instances, dbName="app", skipFinalSnapshot=False, finalSnapshotIdentifier=snapshot)
    with instances.connect(made, database="app") as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    old = instances.login(made)
    world.client.delete(made)
    assert instances.traces() == []
    with pytest.raises(psycopg.OperationalError):
        instances.connect(made, user=old["username"], password=old["password"])

    name = f"{world.name}-again"
    inputs = _inputs(
        instances,
        identifier=name,
        snapshotIdentifier=snapshot,
        username=None,
        engine=None,
        allocatedStorage=None,
        masterUserSecretKmsKeyId=world.other_key.outputs["arn"],
        backupRetentionPeriod=3,
        copyTagsToSnapshot=True,
    )
    restored = world.client.create(INSTANCE, "again", inputs)
    assert restored.id != made.id
    assert world.client.plan(restored, inputs).changes == {}
    api = instances.described(name)
    assert (api["MasterUsername"], api["BackupRetentionPeriod"], api["CopyTagsToSnapshot"]) == ("master", 3, True)
    assert restored.outputs["masterUserSecrets"][0]["kmsKeyId"] == world.other_key.outputs["arn"]
    with instances.connect(restored, database="app") as connection:
        assert _one(connection, "SELECT count(*) FROM kept") == 1000
    world.client.delete(restored)


def test_data_of_a_snapshot_goes_with_the_snapshot(instances: Instances) -> None:
    world, snapshot = instances.world, f"{instances.world.name}-final"
    world.client.delete(_create(instances, skipFinalSnapshot=False, finalSnapshotIdentifier=snapshot))
    assert [path.name for path in instances.home.snapshots.iterdir()] == [f"us-east-1.{snapshot}"]
    world.api("rds").delete_db_snapshot(DBSnapshotIdentifier=snapshot)
    world.client.delete(_create(instances))
    assert list(instances.home.snapshots.iterdir()) == []


def test_a_snapshot_without_data_is_refused(instances: Instances) -> None:
    world, snapshot = instances.world, f"{instances.world.name}-manual"
    _create(instances)
    world.api("rds").create_db_snapshot(DBInstanceIdentifier=world.name, DBSnapshotIdentifier=snapshot)
    inputs = {"identifier": f"{world.name}-2", "instanceClass": "db.t4g.medium", "skipFinalSnapshot": True}
    inputs |= {"snapshotIdentifier": snapshot, "manageMasterUserPassword": True}
    with pytest.raises(RpcFailed, match="holds no data"):
        world.client.create(INSTANCE, "again", inputs)
    with pytest.raises(RpcFailed, match="DBSnapshotNotFound"):
        world.client.create(INSTANCE, "again", {**inputs, "snapshotIdentifier": "no-such-snapshot"})
    assert len(instances.traces()) == 1


def test_a_renamed_instance_keeps_its_server(instances: Instances) -> None:
    world = instances.world
    made = _create(instances)
    renamed = world.client.update(made, _inputs(instances, identifier=f"{world.name}-renamed"))
    assert renamed.id == made.id
    assert instances.described(f"{world.name}-renamed")["DbiResourceId"] == made.id
    instances.connect(renamed).close()
    read = world.client.refresh(made)  # by a state that knows the former identifier only
    assert read is not None
    assert read.outputs["identifier"] == f"{world.name}-renamed"
    world.client.delete(renamed)
    assert instances.traces() == []


def test_what_can_not_start_is_failed_with_its_reason_and_repaired_by_an_update(instances: Instances) -> None:
    world = instances.world
    group = {"name": world.name, "family": "postgres17"}
    wrong = {**group, "parameters": [{"name": "log_statement", "value": "sometimes"}]}
    made_group = world.make("aws:rds/parameterGroup:ParameterGroup", wrong)
    inputs = _inputs(instances, parameterGroupName=world.name)
    with pytest.raises(RpcFailed, match='invalid value for parameter "log_statement"') as failed:
        world.client.create(INSTANCE, "it", inputs)
    partial = failed.value.partial
    assert partial is not None, "the instance exists: the engine has to know"
    assert instances.described()["DBInstanceStatus"] == "failed"
    made = world.client.import_(INSTANCE, "it", partial.id)
    assert made is not None
    world.client.update(made_group, {**group, "parameters": [{"name": "log_statement", "value": "ddl"}]})
    repaired = world.client.update(made, inputs)
    assert repaired.outputs["status"] == "available"
    with instances.connect(repaired) as connection:
        assert _one(connection, "SHOW log_statement") == "ddl"
