"""Secrets that change while the SDK holds the old ones."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest

from tenantry import EntryRefused
from tests.integration.tenantry.conftest import Driver
from tests.integration.tenantry.world import World


def rotate_key(world: World, *, keep: bool) -> None:
    """Put another HMAC key in force; ``keep``: tokens of the old one are still accepted."""
    key = secrets.token_bytes(64)
    if not keep:
        world.admin("DELETE FROM tenantry.pool_key")
    world.admin(
        "INSERT INTO tenantry.pool_key VALUES (%s, %s, %s)",
        secrets.token_hex(4),
        bytes(byte ^ 0x36 for byte in key),
        bytes(byte ^ 0x5C for byte in key),
    )
    world.aws.secrets["pool-key"] = {"key": key.hex()}


def test_tokens_of_the_old_key_serve_while_it_is_accepted(sdk: Driver, world: World) -> None:
    sdk.query("acme", "SELECT 1")
    rotate_key(world, keep=True)
    asked = len(world.aws.reads)
    assert sdk.query("acme", "SELECT 1") == [(1,)]
    assert len(world.aws.reads) == asked, "the broker was not asked"


def test_a_key_that_is_no_longer_accepted_is_replaced_at_the_next_session(sdk: Driver, world: World) -> None:
    """The broker keeps the old key for half a minute: only `fresh` makes it read the new one at once."""
    sdk.query("acme", "SELECT 1")
    world.expire_fresh()
    rotate_key(world, keep=False)
    assert sdk.query("acme", "SELECT 1") == [(1,)]


def test_a_key_that_the_broker_does_not_have_is_a_refusal(sdk: Driver, world: World) -> None:
    sdk.query("acme", "SELECT 1")
    world.expire_fresh()
    rotate_key(world, keep=False)
    world.aws.secrets["pool-key"] = {"key": "00" * 64}
    with pytest.raises(EntryRefused) as refused:
        sdk.query("acme", "SELECT 1")
    assert "42501" in str(refused.value)
    assert world.aws.secrets[f"pool_{world.suffix}"]["password"] not in str(refused.value)


@pytest.mark.parametrize("tenant", ["acme", "initech", "hooli"])
def test_a_rotated_password_is_fetched_at_once(sdk: Driver, world: World, tenant: str) -> None:
    sdk.query(tenant, "SELECT 1")
    login = {"acme": f"pool_{world.suffix}"}.get(tenant, f"t_{tenant}_{world.suffix}")
    world.expire_fresh()
    world.admin(f"ALTER ROLE \"{login}\" PASSWORD 'rotated'")
    world.aws.secrets[login]["password"] = "rotated"
    world.admin("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", login)
    assert sdk.query(tenant, "SELECT 1") == [(1,)]


def test_open_connections_survive_a_rotation(sdk: Driver, world: World) -> None:
    sdk.query("initech", "SELECT 1")
    login = f"t_initech_{world.suffix}"
    world.admin(f"ALTER ROLE \"{login}\" PASSWORD 'rotated'")
    assert sdk.query("initech", "SELECT 1") == [(1,)]


def test_credentials_about_to_expire_are_renewed_first(driver_of: Callable[..., Driver], world: World) -> None:
    sdk = driver_of()
    sdk.query("acme", "SELECT 1")
    first = sdk.sdk._credentials.wanted("acme")
    assert first is not None
    sdk.sdk._credentials._clock = lambda: first.expires_at - 200  # less than five minutes left
    sdk.query("acme", "SELECT 1")
    assert len([each for each in world.asked if each == "acme"]) == 2
    world.broker_up = False
    assert sdk.query("acme", "SELECT 1") == [(1,)], "the old ones serve while the broker is down"
