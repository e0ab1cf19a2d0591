"""Creating and deleting an instance takes long: engines cancel, providers are killed, others act meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from localcloud.home import Home
from providers.base.testing import ProviderClient, RpcFailed
from tests.integration.localcloud.aws.cases import instance
from tests.integration.localcloud.aws.instances import INSTANCE, Call, Instances
from tests.integration.localcloud.aws.world import REGION, World

ROOT = Path(__file__).parents[4]


def _begin_create(instances: Instances, inputs: dict[str, Any]) -> tuple[ProviderClient, Call]:
    """An engine that creates the instance, once the API shows it."""
    engine = instances.connection()
    call = Call(lambda: engine.create(INSTANCE, "it", inputs))
    instances.until(lambda: _status(instances) == "creating")
    return engine, call


def _status(instances: Instances) -> str | None:
    rds = instances.world.api("rds")
    try:
        found = rds.describe_db_instances(DBInstanceIdentifier=instances.world.name)["DBInstances"]
    except rds.exceptions.DBInstanceNotFoundFault:
        return None
    return str(found[0]["DBInstanceStatus"])


def test_a_cancelled_create_tells_what_exists_and_the_next_update_completes_it(instances: Instances) -> None:
    inputs = instance(instances.world)
    with instances.slow("rds.create"):
        engine, call = _begin_create(instances, inputs)
        engine.cancel()
        failed = call.error()
        assert failed.partial is not None
        assert "cancelled" in failed.message
        assert _status(instances) == "creating", "RDS goes on"
        made = instances.connection().import_(INSTANCE, "it", failed.partial.id)
        assert made is not None
        again = Call(lambda: instances.connection().create(INSTANCE, "it", inputs))
        assert "DBInstanceAlreadyExists" in again.error().message
    updated = instances.connection().update(made, inputs)
    assert updated.outputs["status"] == "available"
    instances.connect(updated).close()


def test_a_cancelled_delete_goes_on_and_the_next_one_waits_for_it(instances: Instances) -> None:
    snapshot = f"{instances.world.name}-final"
    inputs = instance(instances.world, skipFinalSnapshot=False, finalSnapshotIdentifier=snapshot)
    made = instances.world.client.create(INSTANCE, "it", inputs)
    with instances.slow("rds.delete"):
        engine = instances.connection()
        call = Call(lambda: engine.delete(made))
        instances.until_status("deleting")
        engine.cancel()
        assert call.error().code.name == "CANCELLED"
        assert _status(instances) == "deleting"
    instances.connection().delete(made)
    assert instances.traces() == []
    assert _status(instances) is None
    assert [path.name for path in instances.home.snapshots.iterdir()] == [f"us-east-1.{snapshot}"]


def test_a_cancelled_update_has_been_made(instances: Instances) -> None:
    inputs = instance(instances.world)
    made = instances.world.client.create(INSTANCE, "it", inputs)
    with instances.slow("rds.modify"):
        engine = instances.connection()
        call = Call(lambda: engine.update(made, {**inputs, "backupRetentionPeriod": 9}))
        instances.until_status("modifying")
        engine.cancel()
        failed = call.error()
        assert failed.partial is not None
    instances.until_status("available")
    assert instances.described()["BackupRetentionPeriod"] == 9


def test_an_instance_is_deleted_while_it_is_being_created(instances: Instances) -> None:
    with instances.slow("rds.create"):
        _, call = _begin_create(instances, instance(instances.world))
        made = instances.connection().import_(INSTANCE, "it", instances.world.name)
        assert made is not None
        deleted = instances.connection().refresh(made)
        assert deleted is not None
        # An imported instance is deleted as its state says: without a final snapshot only if it says so.
        with pytest.raises(RpcFailed, match="finalSnapshotIdentifier is required"):
            instances.connection().delete(deleted)
        deleted.outputs["skipFinalSnapshot"] = True
        instances.connection().delete(deleted)
        assert "was deleted while it was waited for" in call.error().message
    assert instances.traces() == []


def test_two_creates_of_one_identifier_make_one_instance(instances: Instances) -> None:
    inputs = instance(instances.world)
    with instances.slow("rds.create"):
        _begin_create(instances, inputs)
        with pytest.raises(RpcFailed, match=f"DB instance {instances.world.name} already exists"):
            instances.connection().create(INSTANCE, "it", inputs)
    instances.until_status("available")
    assert len(instances.traces()) == 1


def test_an_engine_that_died_in_a_create_finds_the_instance_by_its_identifier(instances: Instances) -> None:
    with instances.slow("rds.create"):
        engine, call = _begin_create(instances, instance(instances.world))
        engine.close()
        call.error()
    instances.until_status("available")
    found = instances.connection().import_(INSTANCE, "it", instances.world.name)
    assert found is not None
    assert found.outputs["status"] == "available"
    instances.connect(found).close()
    assert instances.connection().plan(found, instance(instances.world)).replaces is False


# -- the provider's own process --------------------------------------------------------------------------------------


@contextmanager
def _provider_process(home: Home, moto: str) -> Iterator[tuple[subprocess.Popen[str], Instances]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "localcloud.aws", "--endpoint", moto, "--data-dir", str(home.root)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    port = int(process.stdout.readline().partition(":")[2])
    client = ProviderClient(port)
    try:
        client.configure({"region": REGION, "accessKey": "test", "secretKey": "test"})
        yield process, Instances(World(client, moto), home, port)
    finally:
        client.close()
        process.kill()
        process.wait(10)
        process.stdout.close()


def test_a_killed_providers_creation_is_completed_by_the_next_one(home: Home, moto_server: str) -> None:
    with _provider_process(home, moto_server) as (process, before), before.slow("rds.create"):
        inputs = instance(before.world)
        _, call = _begin_create(before, inputs)
        process.send_signal(signal.SIGKILL)
        call.error()
        before.close()
    with _provider_process(home, moto_server) as (_, after):
        after.world.name = before.world.name
        after.until_status("available")
        found = after.world.client.import_(INSTANCE, "it", before.world.name)
        assert found is not None
        after.connect(found).close()
        with pytest.raises(RpcFailed, match="already exists"):
            after.world.client.create(INSTANCE, "it", inputs)
        found.outputs["skipFinalSnapshot"] = True
        after.world.client.delete(found)
        assert after.traces() == []


def test_a_killed_providers_deletion_is_completed_by_the_next_one(home: Home, moto_server: str) -> None:
    with _provider_process(home, moto_server) as (process, before):
        snapshot = f"{before.world.name}-final"
        inputs = instance(before.world, skipFinalSnapshot=False, finalSnapshotIdentifier=snapshot)
        made = before.world.client.create(INSTANCE, "it", inputs)
        with before.slow("rds.delete"):
            engine = before.connection()
            call = Call(lambda: engine.delete(made))
            before.until_status("deleting")
            process.send_signal(signal.SIGKILL)
            call.error()
        before.close()
    with _provider_process(home, moto_server) as (_, after):
        after.world.name = before.world.name
        after.until(lambda: after.traces() == [])
        assert after.world.client.refresh(made) is None
        after.world.client.delete(made)
    assert [path.name for path in home.snapshots.iterdir()] == [f"us-east-1.{snapshot}"]


def test_a_request_that_was_never_made_leaves_nothing(home: Home, moto_server: str) -> None:
    """Killed between its record and the API's: the next provider drops the record."""
    from localcloud.aws.client import configure
    from localcloud.aws.rds_servers import servers

    with _provider_process(home, moto_server) as (_, first):
        made = first.world.client.create(INSTANCE, "it", instance(first.world))
    local = servers(configure({"region": REGION}, moto_server, home.root))
    assert local is not None
    local.request(f"{first.world.name}-never", username="master")
    with _provider_process(home, moto_server) as (_, after):
        after.until(lambda: len(after.traces()) == 1)
        assert after.record(made) is not None


def test_the_server_of_an_instance_that_was_deleted_by_others_goes(home: Home, moto_server: str) -> None:
    with _provider_process(home, moto_server) as (_, before):
        made = before.world.client.create(INSTANCE, "it", instance(before.world))
        api = before.world.api("rds")
        api.delete_db_instance(DBInstanceIdentifier=before.world.name, SkipFinalSnapshot=True)
        assert before.world.client.refresh(made) is None
    with _provider_process(home, moto_server) as (_, after):
        after.until(lambda: after.traces() == [])
