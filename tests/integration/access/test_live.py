"""Each state of access on a live local cloud, both ways, under attack: a stack's real resources, a real engine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from components.documents import READ_ONLY_SESSION
from components.spec import Access, InstanceSpec, TenantSpec
from components.tiers import Tier
from isolation.iam import simulate
from localcloud.rds_control import pass_days
from provisioner.errors import TenantryError as ProvisionerError
from provisioner.hibernation.keeper import Keeper
from provisioner.hibernation.waking import first_step
from provisioner.operate import Held
from provisioner.quotas.aws import Boto3Clients
from provisioner.registry import leases
from tenantry import TenantReadOnly, TenantSession, TenantSuspended
from tests.integration.access.conftest import Live

WRITES = (
    "INSERT INTO project (name) VALUES ('evil')",
    "UPDATE project SET name = 'evil'",
    "DELETE FROM project",
    "COPY project (name) FROM STDIN",
    "TRUNCATE project CASCADE",
    "CREATE TABLE evil (a int)",
    "CREATE TEMP TABLE evil (a int)",
    "SELECT setval(pg_get_serial_sequence('project', 'project_id'), 1)",
)
RESETS = ("RESET ALL", "SET transaction_read_only = off", "SET default_transaction_read_only = off", "SET ROLE NONE")
PATIENCE_S = 180.0  #: other tests run on the same cores
PUT, GET = "s3:PutObject", "s3:GetObject"


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:.0f} s"
        time.sleep(0.1)


def keep(live: Live) -> list[str]:
    """What the keeper stops when it comes round."""

    class Leases:
        @asynccontextmanager
        async def hold(self, stack_name: str, *, wait_s: float = 0.0) -> AsyncIterator[Held]:
            url = live.settings.database_url.get_secret_value()
            context = leases.hold(url, stack_name, on_lost=live.deployer.kill, wait_s=wait_s)
            lease = await asyncio.to_thread(context.__enter__)
            try:
                yield Held(lease, stack_name)
            finally:
                await asyncio.to_thread(context.__exit__, None, None, None)

    async def run() -> list[str]:
        url = live.settings.database_url.get_secret_value()
        async with AsyncConnectionPool(url, kwargs={"autocommit": True}, min_size=1, open=False) as pool:
            return await Keeper(pool, Leases(), Boto3Clients()).run_due(datetime.now(UTC))

    return asyncio.run(run())


def with_access(spec: TenantSpec, access: Access) -> TenantSpec:
    return spec.model_copy(update={"access": access})


def names(live: Live, tenant: str) -> list[Any]:
    with live.sdk.session(tenant) as session:
        return [row[0] for row in session.execute("SELECT name FROM project ORDER BY 1").fetchall()]


def write(live: Live, tenant: str, name: str) -> None:
    with live.sdk.session(tenant) as session:
        session.execute("INSERT INTO project (name) VALUES (%s)", (name,))


def refuses_writes(connection: psycopg.Connection[Any]) -> None:
    for reset in RESETS:
        with contextlib.suppress(psycopg.Error):
            connection.execute(reset.encode())
        for statement in WRITES:
            with pytest.raises(psycopg.Error) as refused:
                connection.execute(statement.encode())
            assert refused.value.sqlstate in ("42501", "25006"), statement


def may_use_files(live: Live, tenant: str, action: str, *, narrowed: bool) -> bool:
    """Whether a session of the tenant may, by the documents that stand in the cloud. ``narrowed``: by the broker."""
    outputs = live.outputs(tenant)
    iam, s3 = live.aws("iam"), live.aws("s3")
    role = outputs.role_arn.rsplit("/", 1)[-1]
    policy = iam.get_role_policy(RoleName=role, PolicyName="tenant-data")["PolicyDocument"]
    boundary_arn = iam.get_role(RoleName=role)["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"]
    version = iam.get_policy(PolicyArn=boundary_arn)["Policy"]["DefaultVersionId"]
    boundary = iam.get_policy_version(PolicyArn=boundary_arn, VersionId=version)["PolicyVersion"]["Document"]
    decision = simulate(
        outputs.role_arn,
        action,
        f"arn:aws:s3:::{outputs.bucket}/{outputs.prefix}file",
        identity_policies=[policy],
        permissions_boundary=boundary,
        session_policies=[READ_ONLY_SESSION] if narrowed else [],
        resource_policy=json.loads(s3.get_bucket_policy(Bucket=outputs.bucket)["Policy"]),
        session_tags={"tenant_id": tenant},
        resource_account=live.platform.account_id,
    )
    return decision.allowed


def aws_keys(live: Live, tenant: str) -> str:
    credentials = live.sdk.aws(tenant).get_credentials()
    assert credentials is not None
    return str(credentials.get_frozen_credentials().access_key)


def assert_reads_and_writes(live: Live, tenant: str, name: str) -> None:
    write(live, tenant, name)
    assert name in names(live, tenant)
    live.sdk.files(tenant).put("file", b"content")
    assert live.sdk.files(tenant).get("file") == b"content"
    assert may_use_files(live, tenant, PUT, narrowed=False)


def assert_only_reads(live: Live, tenant: str, known: list[str]) -> None:
    assert names(live, tenant) == known
    for statement in WRITES[:3]:
        with (
            pytest.raises(TenantReadOnly, match="payment_failed since 2026-11-20"),
            live.sdk.session(tenant) as session,
        ):
            session.execute(statement)
    calls: list[str] = []

    def work(session: TenantSession) -> None:
        calls.append(session.tenant_id)
        session.execute(WRITES[0])

    with pytest.raises(TenantReadOnly):
        live.sdk.run(work, tenant)
    assert calls == [tenant], "nothing is tried again"
    with pytest.raises(TenantReadOnly):
        live.sdk.files(tenant).put("file", b"other")
    with pytest.raises(TenantReadOnly):
        live.sdk.files(tenant).delete("file")
    assert live.sdk.files(tenant).get("file") == b"content"
    assert may_use_files(live, tenant, GET, narrowed=True)
    assert not may_use_files(live, tenant, PUT, narrowed=True)
    assert not may_use_files(live, tenant, "s3:DeleteObject", narrowed=True)


def assert_closed(live: Live, tenant: str, way_back: str) -> None:
    with pytest.raises(TenantSuspended, match="payment_failed since 2026-11-20") as refused:
        names(live, tenant)
    assert way_back in refused.value.hint
    with pytest.raises(TenantSuspended):
        live.sdk.files(tenant)


def test_a_pool_tenant_both_ways(live: Live) -> None:
    tenant = "pooled"
    spec = live.spec(tenant, Tier.POOL)
    live.deploy(spec)
    assert_reads_and_writes(live, tenant, "alpha")

    # an application that has entered, and prepared what it wants to write
    with live.sdk.session(tenant) as before:
        before.execute("PREPARE later AS INSERT INTO project (name) VALUES ('evil')")
        live.deploy(with_access(spec, Access.READ_ONLY))
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), before.transaction():
            before.execute("EXECUTE later")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), before.transaction():
            before.execute("DELETE FROM project")
    assert_only_reads(live, tenant, ["alpha"])
    assert live.refresh(tenant).changes.keys() <= {"same"}

    live.deploy(with_access(spec, Access.SUSPENDED))
    assert_closed(live, tenant, "a payment opens it again")
    live.deploy(with_access(spec, Access.HIBERNATED))
    assert_closed(live, tenant, "a payment starts its database again")

    live.deploy(spec)
    assert_reads_and_writes(live, tenant, "beta")


def test_a_bridge_tenant_both_ways(live: Live) -> None:
    tenant = "bridged"
    spec = live.spec(tenant, Tier.BRIDGE)
    live.deploy(spec)
    assert_reads_and_writes(live, tenant, "alpha")

    with live.connect(tenant) as before:
        before.execute("PREPARE later AS INSERT INTO project (name) VALUES ('evil')")
        before.execute("BEGIN")
        before.execute("SELECT * FROM project")
        live.deploy(with_access(spec, Access.READ_ONLY))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            before.execute("INSERT INTO project (name) VALUES ('evil')")
        before.execute("ROLLBACK")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            before.execute("EXECUTE later")
        refuses_writes(before)
    with live.connect(tenant) as fresh:
        refuses_writes(fresh)
        assert fresh.execute("SELECT name FROM project").fetchall() == [("alpha",)]
    assert_only_reads(live, tenant, ["alpha"])
    assert live.refresh(tenant).changes.keys() <= {"same"}

    with live.connect(tenant) as open_session:
        live.deploy(with_access(spec, Access.SUSPENDED))
        with pytest.raises(psycopg.OperationalError):
            open_session.execute("SELECT 1")
    assert_closed(live, tenant, "a payment opens it again")
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        live.connect(tenant)

    live.deploy(spec)
    assert_reads_and_writes(live, tenant, "beta")


def test_a_silo_tenant_through_hibernation_and_back(live: Live) -> None:
    tenant = "alone"
    spec = live.spec(tenant, Tier.SILO)
    live.deploy(spec)
    assert_reads_and_writes(live, tenant, "alpha")
    session = aws_keys(live, tenant)

    live.deploy(with_access(spec, Access.READ_ONLY))
    with live.connect(tenant) as raw:
        refuses_writes(raw)
    assert_only_reads(live, tenant, ["alpha"])
    assert not may_use_files(live, tenant, PUT, narrowed=False), "nor with a session from before"
    assert may_use_files(live, tenant, GET, narrowed=False)
    assert aws_keys(live, tenant) != session

    live.deploy(with_access(spec, Access.SUSPENDED))
    assert_closed(live, tenant, "a payment opens it again")
    assert not may_use_files(live, tenant, GET, narrowed=False)
    assert live.instance_status(tenant) == "available"

    asleep = with_access(spec, Access.HIBERNATED)
    live.deploy(asleep)
    assert_closed(live, tenant, "a payment starts its database again")
    assert live.instance_status(tenant) == "stopped"
    assert not live.server_accepts(tenant)

    # What changes while it sleeps neither wakes it nor fails: a program's, a schema's, a refresh.
    assert live.changes(tenant) == {}
    assert live.refresh(tenant).changes.keys() <= {"same"}
    changed = asleep.model_copy(update={"connection_limit": 7, "app_schema_version": spec.app_schema_version})
    began = time.monotonic()
    live.deploy(changed)
    assert time.monotonic() - began < 60, "nobody waited for a server that is stopped"
    live.deploy(asleep.model_copy(update={"plan": "team"}))  # tags
    assert live.instance_status(tenant) == "stopped"

    # AWS starts it after seven days: it is stopped again, and nobody gets in meanwhile.
    pass_days(live.home, 6.9)
    assert live.instance_status(tenant) == "stopped"
    assert keep(live) == []
    pass_days(live.home, 7.1)
    until(lambda: live.instance_status(tenant) == "available")
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        live.connect(tenant)
    assert keep(live) == [tenant]
    until(lambda: live.instance_status(tenant) == "stopped")
    assert keep(live) == []
    assert live.changes(tenant) == {}
    with psycopg.connect(live.settings.database_url.get_secret_value()) as registry:
        told = registry.execute("SELECT summary FROM registry.timeline WHERE tenant_id = %s", (tenant,)).fetchall()
        seen = registry.execute("SELECT status, stopped_again, problem FROM registry.hibernation").fetchall()
    assert told == [("AWS had started its instance, as it does after seven days: it is stopped again",)]
    assert seen == [("stopped", 1, None)]

    # RDS modifies no stopped instance: what was missed comes after the start.
    live.deploy(asleep)
    larger = spec.model_copy(update={"instance": InstanceSpec(instance_class="db.t4g.large")})
    with pytest.raises(ProvisionerError, match=r"InvalidDBInstanceState|not in available state"):
        live.deploy(larger)
    first = first_step(asleep, live.outputs(tenant).access, larger)
    assert first is not None

    # Waking: a worker that is killed in the middle of it loses nothing.
    live.delay("rds.start", 600)
    ended: list[Exception] = []

    def wake() -> None:
        try:
            live.deploy(first)
        except Exception as error:
            ended.append(error)

    waking = threading.Thread(target=wake)
    waking.start()
    until(lambda: live.instance_status(tenant) == "starting")
    live.deployer.kill()
    waking.join(120)
    assert len(ended) == 1
    assert live.instance_status(tenant) == "starting", "RDS goes on with it"
    assert_closed(live, tenant, "a payment starts its database again")
    live.delay("rds.start", 0)
    live.deploy(first)
    live.deploy(larger)
    assert live.instance_status(tenant) == "available"
    assert live.changes(tenant) == {}
    assert_reads_and_writes(live, tenant, "beta")
    assert names(live, tenant) == ["alpha", "beta"]
