"""A local RDS instance that is stopped has no server that runs, and is started again with its data."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from botocore.exceptions import ClientError

from providers.base.testing import Resource, RpcFailed
from tests.integration.localcloud.aws.cases import instance
from tests.integration.localcloud.aws.instances import INSTANCE, Call, Instances

STATE = "aws:rds/instanceDesiredState:InstanceDesiredState"


def made(instances: Instances, **changes: Any) -> Resource:
    inputs = {name: value for name, value in {**instance(instances.world), **changes}.items() if value is not None}
    return instances.world.client.create(INSTANCE, "it", inputs)


def state(instances: Instances, wanted: str) -> Resource:
    return instances.world.client.create(STATE, "it", {"identifier": instances.world.name, "state": wanted})


def test_a_stopped_instance_refuses_connections_and_keeps_its_data(instances: Instances) -> None:
    database = made(instances, dbName="app")
    with instances.connect(database, database="app") as connection:
        connection.execute("CREATE SCHEMA own")
        connection.execute("CREATE TABLE own.kept AS SELECT 1 AS one")
        stopped = state(instances, "stopped")
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    assert instances.described()["DBInstanceStatus"] == "stopped"
    with pytest.raises(psycopg.OperationalError):
        instances.connect(database)
    started = instances.world.client.update(stopped, {**stopped.inputs, "state": "available"})
    assert instances.described()["DBInstanceStatus"] == "available"
    with instances.connect(database, database="app") as connection:
        assert connection.execute("SELECT one FROM own.kept").fetchone() == (1,)
    instances.world.client.delete(started)
    assert instances.described()["DBInstanceStatus"] == "available", "its deletion leaves the instance as it is"


def test_a_start_that_is_cancelled_goes_on_and_the_next_update_waits_for_it(instances: Instances) -> None:
    made(instances)
    stopped = state(instances, "stopped")
    with instances.slow("rds.start"):
        engine = instances.connection()
        waiting = Call(lambda: engine.update(stopped, {**stopped.inputs, "state": "available"}))
        instances.until_status("starting")
        engine.cancel()
        assert "RDS goes on with it" in str(waiting.error())
        assert instances.described()["DBInstanceStatus"] == "starting"
        read = instances.world.client.refresh(stopped)
        assert read is not None
        assert read.inputs["state"] == "starting", "a refresh tells what there is"
    instances.world.client.update(stopped, {**stopped.inputs, "state": "available"})
    assert instances.described()["DBInstanceStatus"] == "available"


def test_a_stopped_instance_can_not_be_modified_and_can_be_deleted(instances: Instances) -> None:
    database = made(instances, deletionProtection=False, skipFinalSnapshot=True)
    state(instances, "stopped")
    with pytest.raises(RpcFailed, match="InvalidDBInstanceState"):
        instances.world.client.update(database, {**database.inputs, "allocatedStorage": 40})
    instances.world.client.delete(database)
    assert instances.traces() == []


def test_what_has_a_replica_or_does_not_run_can_not_be_stopped(instances: Instances) -> None:
    made(instances)
    rds = instances.world.api("rds")
    rds.create_db_instance_read_replica(
        DBInstanceIdentifier=f"{instances.world.name}-replica", SourceDBInstanceIdentifier=instances.world.name
    )
    with pytest.raises(RpcFailed, match="read replica"):
        state(instances, "stopped")
    with pytest.raises(ClientError, match="not stopped, it cannot be started"):
        rds.start_db_instance(DBInstanceIdentifier=instances.world.name)
