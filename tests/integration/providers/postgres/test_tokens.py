"""Entry tokens: what the broker signs the database verifies, and rotated keys serve out their tokens' lives."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioner.broker import entry_token
from tests.integration.providers.postgres.conftest import enter
from tests.integration.providers.postgres.engine import Cell, Engine, build_cell

DENIED = psycopg.errors.InsufficientPrivilege


@pytest.fixture(scope="module")
def admin(cell: Cell) -> Iterator[psycopg.Connection[Any]]:
    """The server's superuser in the pool's database, who may put any key in force."""
    with cell.engine.stack.master.cluster.admin(cell.database) as connection:
        yield connection


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tenant=st.from_regex(r"[a-z]([a-z0-9]|-(?!-)){1,38}[a-z0-9]", fullmatch=True),
    epoch=st.integers(1, 10**15),
    lives=st.integers(60, 10**9),
    key=st.binary(min_size=64, max_size=64),
)
def test_the_brokers_token_is_the_databases(
    admin: psycopg.Connection[Any], tenant: str, epoch: int, lives: int, key: bytes
) -> None:
    expiry = int(time.time()) + lives
    with admin.transaction(force_rollback=True):
        admin.execute("DELETE FROM tenantry.pool_key")
        admin.execute(
            "INSERT INTO tenantry.pool_key (version, ipad, opad) VALUES ('v', %s, %s)",
            (bytes(b ^ 0x36 for b in key), bytes(b ^ 0x5C for b in key)),
        )
        admin.execute(
            "INSERT INTO tenantry.pool_tenant VALUES (%s, %s, 'full', 'm') ON CONFLICT (tenant_id) DO NOTHING",
            (tenant, epoch),
        )
        enter(admin, tenant, entry_token(key, tenant, epoch, expiry))
        assert admin.execute("SELECT tenantry.current_tenant()").fetchone() == (tenant,)
        other = bytes([key[0] ^ 1]) + key[1:]
        for wrong in (
            entry_token(other, tenant, epoch, expiry),
            entry_token(key, tenant, epoch + 1, expiry),
            entry_token(key, tenant + "x", epoch, expiry),
            entry_token(key, tenant, epoch, int(time.time()) - 1),
        ):
            enter(admin, tenant, wrong)
            with pytest.raises(DENIED), admin.transaction():
                admin.execute("SELECT tenantry.current_tenant()")


def reaches(cell: Cell, tenant: str, key: bytes) -> bool:
    try:
        with cell.entered(tenant, key) as session:
            session.execute("SELECT * FROM project")
    except DENIED:
        return False
    return True


def rotate(cell: Cell, rotation: str) -> None:
    cell.parts["security"] = cell.engine.update(cell.parts["security"], rotation=rotation)


def test_a_rotated_key_is_accepted_until_its_overlap_ends(platform: Engine) -> None:
    cell = build_cell(platform)
    cell.admit("acme")
    first, version = cell.key, cell.parts["security"].outputs["keyVersion"]
    rotate(cell, "1")
    second = cell.key
    assert second != first
    assert cell.parts["security"].outputs["keyVersion"] != version
    assert reaches(cell, "acme", first), "tokens of the old key serve out their lives"
    assert reaches(cell, "acme", second)
    assert platform.drift(cell.parts["security"]) == []

    with platform.stack.master.cluster.admin(cell.database) as admin:
        ends = admin.execute(
            "SELECT extract(epoch FROM retires_at - clock_timestamp()) FROM tenantry.pool_key WHERE version = %s",
            (version,),
        ).fetchone()
        assert ends is not None
        assert 3500 < float(ends[0]) <= 3600
        admin.execute("UPDATE tenantry.pool_key SET retires_at = clock_timestamp() WHERE version = %s", (version,))
    assert not reaches(cell, "acme", first)
    assert reaches(cell, "acme", second)

    rotate(cell, "2")
    rotate(cell, "3")
    assert not reaches(cell, "acme", second), "two rotations later a key is gone: leaked keys go by rotating twice"
    assert reaches(cell, "acme", cell.key)
    with platform.stack.master.cluster.admin(cell.database) as admin:
        assert admin.execute("SELECT count(*) FROM tenantry.pool_key").fetchone() == (2,)
