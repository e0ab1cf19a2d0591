"""Entitlements before a real control plane: what the view says, who may read it, how changes arrive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from provisioner import overriding
from provisioner.billing.catalogue import Catalogue
from provisioner.errors import NotFound, Reject
from provisioner.overriding import Exemption, OverrideKeeper
from provisioner.registry import entitlements as registry_entitlements
from provisioner.registry.entitlements import OverrideKind
from tenantry import (
    AsyncTenantry,
    ControlPlaneUnavailable,
    Entitlements,
    EntitlementsNotLoaded,
    LimitExceeded,
    NotEntitled,
    Rate,
    Tenantry,
    UnknownTenant,
    tenant_context,
)
from tests.integration.tenantry.registry import Registry
from tests.integration.tenantry.world import wait_until

RATES = [{"name": "api", "amount": 100, "seconds": 60, "soft": False}]


@pytest.fixture
def sdk(registry: Registry) -> Iterator[Tenantry]:
    registry.add("acme", rates=RATES)
    with Tenantry(registry.config()) as made:
        yield made


def override(registry: Registry, kind: str, name: str, *, ends: timedelta | None = None, **given: Any) -> None:
    async def put(connection: psycopg.AsyncConnection[Any]) -> None:
        await overriding.set_override(
            connection,
            "acme",
            Exemption(OverrideKind(kind), name, **given),
            catalogue=None,
            by="olivia",
            reason="a promise",
            expires_at=None if ends is None else datetime.now(UTC) + ends,
        )

    registry.run(put)


def test_a_tenant_may_use_what_its_plan_gives(sdk: Tenantry) -> None:
    with tenant_context("acme"):
        assert sdk.entitled("reports")
        assert not sdk.entitled("sso")
        assert (sdk.limit("projects"), sdk.limit("seats"), sdk.seats(), sdk.access()) == (10, None, None, "full")
        sdk.require("reports")
        with pytest.raises(NotEntitled, match="plan team does not have it"):
            sdk.require("sso")
        assert sdk.entitlements().rates == (Rate("api", 100, 60),)
        assert sdk.entitlements().staleness < 5


def test_seats_that_are_paid_for_say_more_than_the_plan(sdk: Tenantry, registry: Registry) -> None:
    registry.set("acme", limits={"seats": 5, "projects": 10}, seats=17)
    assert sdk.seats("acme") == 17


def test_exceptions_count_over_the_plan_and_are_on_the_timeline(sdk: Tenantry, registry: Registry) -> None:
    override(registry, "feature", "sso", granted=True)
    override(registry, "feature", "reports", granted=False)
    override(registry, "limit", "projects", value=50)
    override(registry, "limit", "seats", value=3)
    override(registry, "rate", "api", value=7)
    known = sdk.entitlements("acme")
    assert (known.entitled("sso"), known.entitled("reports")) == (True, False)
    assert (known.limit("projects"), known.limit("seats"), known.seats()) == (50, 3, 3)
    assert known.rates == (Rate("api", 7, 60),)
    told = [row[0] for row in registry.execute("SELECT summary FROM registry.timeline ORDER BY entry_id")]
    assert told[0] == "olivia: feature sso granted: a promise"
    assert "olivia: rate api set to 7: a promise" in told


def test_a_plan_with_everything_has_all_but_what_was_revoked(sdk: Tenantry, registry: Registry) -> None:
    registry.set("acme", features=["*"], limits={})
    override(registry, "feature", "beta", granted=False)
    override(registry, "limit", "projects", value=None)
    assert (sdk.entitled("anything", "acme"), sdk.entitled("beta", "acme")) == (True, False)
    assert sdk.limit("projects", "acme") is None


@pytest.mark.parametrize("access", ["suspended", "hibernated", "retained", "deleted"])
def test_withdrawn_access_leaves_nothing_not_even_what_was_granted(
    sdk: Tenantry, registry: Registry, access: str
) -> None:
    override(registry, "feature", "sso", granted=True)
    registry.set("acme", access=access)
    assert not sdk.entitled("sso", "acme")
    assert (sdk.limit("projects", "acme"), sdk.limit("unheard_of", "acme")) == (0, 0)
    with pytest.raises(NotEntitled, match=f"its access is {access}"):
        sdk.require("reports", "acme")


def test_an_exception_is_of_one_life_of_the_tenant(sdk: Tenantry, registry: Registry) -> None:
    override(registry, "feature", "sso", granted=True)
    assert sdk.entitled("sso", "acme")
    registry.set("acme", generation=2)
    wait_until(lambda: not sdk.entitled("sso", "acme"))


def test_every_change_arrives_by_announcement(sdk: Tenantry, registry: Registry) -> None:
    """The time to live is of no use here: the announcement alone can bring it within the patience of the test."""
    with Tenantry(registry.config(entitlements_ttl=3600.0)) as patient:
        assert not patient.entitled("sso", "acme")
        assert patient._router.listener is not None
        assert patient._router.listener.listening.wait(10)
        changes: list[tuple[dict[str, Any], Any]] = [
            ({"features": ["reports", "sso"]}, lambda: patient.entitled("sso", "acme")),
            ({"limits": {"projects": 11}}, lambda: patient.limit("projects", "acme") == 11),
            ({"seats": 4}, lambda: patient.seats("acme") == 4),
            ({"plan": "silver"}, lambda: patient.entitlements("acme").plan == "silver"),
            ({"soft_limits": ["projects"]}, lambda: "projects" in patient.entitlements("acme").soft_limits),
            ({"rates": RATES}, lambda: patient.entitlements("acme").rates == (Rate("api", 100, 60),)),
            ({"rates": []}, lambda: patient.entitlements("acme").rates == ()),
            ({"access": "read_only"}, lambda: patient.access("acme") == "read_only"),
            ({"access_reason": "overdue"}, lambda: patient.entitlements("acme").access_reason == "overdue"),
        ]
        for columns, arrived in changes:
            registry.set("acme", **columns)
            wait_until(arrived)
        override(registry, "feature", "beta", granted=True)
        wait_until(lambda: patient.entitled("beta", "acme"))

        async def clear(connection: psycopg.AsyncConnection[Any]) -> None:
            await overriding.clear_override(
                connection, "acme", OverrideKind.FEATURE, "beta", by="olivia", reason="over"
            )

        registry.run(clear)
        wait_until(lambda: not patient.entitled("beta", "acme"))


def test_an_exception_ends_by_itself(sdk: Tenantry, registry: Registry) -> None:
    with Tenantry(registry.config(entitlements_ttl=3600.0, listen=False)) as patient:
        override(registry, "feature", "sso", granted=True, ends=timedelta(seconds=2))
        override(registry, "limit", "projects", value=None, ends=timedelta(seconds=2))
        assert patient.entitled("sso", "acme")
        assert patient.limit("projects", "acme") is None
        wait_until(lambda: not patient.entitled("sso", "acme"))
        wait_until(lambda: patient.limit("projects", "acme") == 10)


def test_what_has_ended_is_removed_with_an_entry_in_the_timeline(registry: Registry) -> None:
    registry.add("acme")
    override(registry, "feature", "sso", granted=True, ends=timedelta(hours=1))
    override(registry, "limit", "projects", value=3, ends=timedelta(hours=2))
    registry.execute("UPDATE registry.entitlement_override SET expires_at = now() WHERE name = 'sso'")

    async def keep() -> None:
        from psycopg_pool import AsyncConnectionPool

        async with AsyncConnectionPool(registry.owner.url, min_size=1, max_size=2, open=False) as pool:
            keeper = OverrideKeeper(pool)
            await keeper.run_due(datetime.now(UTC))
            await keeper.run_due(datetime.now(UTC))

    asyncio.run(keep())
    assert registry.execute("SELECT name FROM registry.entitlement_override") == [("projects",)]
    ended = registry.execute("SELECT summary FROM registry.timeline WHERE kind = 'decision'")
    assert len(ended) == 1
    assert ended[0][0].startswith("the exception for feature sso ended: olivia had set it until ")


def test_the_reader_can_change_nothing_and_see_no_more(registry: Registry) -> None:
    registry.add("acme")
    with psycopg.connect(registry.reader.url, autocommit=True) as reader:
        for statement in (
            "INSERT INTO registry.entitlement_override VALUES ('acme', 1, 'feature', 'sso', true, NULL, 'r', 'a')",
            "UPDATE registry.tenant SET features = '{*}'",
            "SELECT reason FROM registry.entitlement_override",
            "UPDATE tenantry_v1.entitlement SET plan = 'enterprise'",
            "DELETE FROM registry.rate_window",
            "UPDATE registry.storage_usage SET files_bytes = 0",
        ):
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState)):
                reader.execute(statement)
        assert reader.execute("SELECT tenant_id FROM tenantry_v1.entitlement").fetchall() == [("acme",)]


CATALOGUE = Catalogue("plans.toml", {})


@pytest.mark.parametrize(
    ("wanted", "given", "error"),
    [
        (Exemption(OverrideKind.FEATURE, "sso", granted=True), {"catalogue": CATALOGUE}, "has a feature 'sso'"),
        (Exemption(OverrideKind.FEATURE, "no name", granted=True), {}, "is no name of a feature"),
        (Exemption(OverrideKind.LIMIT, "projects", value=-1), {}, "out of range"),
        (Exemption(OverrideKind.LIMIT, "projects", value=2**60), {}, "out of range"),
        (Exemption(OverrideKind.LIMIT, "projects", value=1), {"reason": " "}, "a name and a reason"),
        (Exemption(OverrideKind.LIMIT, "projects", value=1), {"by": ""}, "a name and a reason"),
        (
            Exemption(OverrideKind.LIMIT, "projects", value=1),
            {"expires_at": datetime(2020, 1, 1, tzinfo=UTC)},
            "would have ended",
        ),
        (Exemption(OverrideKind.LIMIT, "projects", value=1), {"tenant_id": "nobody"}, "no tenant nobody"),
    ],
    ids=range(8),
)
def test_an_exception_that_cannot_be_meant_is_refused(
    registry: Registry, wanted: Exemption, given: dict[str, Any], error: str
) -> None:
    registry.add("acme")
    options = {"tenant_id": "acme", "catalogue": None, "by": "olivia", "reason": "r", **given}
    tenant_id = options.pop("tenant_id")
    with pytest.raises((Reject, NotFound), match=error):
        registry.run(lambda connection: overriding.set_override(connection, tenant_id, wanted, **options))
    assert registry.execute("SELECT count(*) FROM registry.entitlement_override") == [(0,)]


def test_a_tenant_that_does_not_exist_is_unknown_until_it_does(sdk: Tenantry, registry: Registry) -> None:
    with pytest.raises(UnknownTenant):
        sdk.entitled("reports", "globex")
    with pytest.raises(UnknownTenant):
        sdk.entitled("reports", "no tenant's id")
    registry.add("globex")

    def known() -> bool:
        try:
            return sdk.entitled("reports", "globex")
        except UnknownTenant:
            return False

    wait_until(known)


class Gate:
    """A control plane that can be cut off: its role loses the right to connect, and its connections."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def _admin(self, statement: str) -> None:
        with self._registry.owner.cluster.admin() as admin:
            admin.execute(statement.encode())

    def close(self) -> None:
        self._admin(f"ALTER ROLE {self._registry.reader.username} NOLOGIN")
        self._admin(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{self._registry.reader.username}'"
        )

    def open(self) -> None:
        self._admin(f"ALTER ROLE {self._registry.reader.username} LOGIN")


def test_a_dead_control_plane_takes_nothing_away_that_was_known(registry: Registry) -> None:
    registry.add("acme")
    registry.add("globex")
    gate = Gate(registry)
    with Tenantry(registry.config(entitlements_ttl=0.2)) as sdk:
        assert sdk.entitled("reports", "acme")
        gate.close()
        wait_until(lambda: sdk.entitlement_status().failing_for > 0)
        assert sdk.entitled("reports", "acme")
        with pytest.raises(ControlPlaneUnavailable):
            sdk.entitled("reports", "globex")
        wait_until(lambda: sdk.entitlements("acme").staleness > 0.5)
        assert sdk.entitlement_status().staleness > 0.5
        registry.set("acme", features=["sso"])  # unheard of
        gate.open()
        wait_until(lambda: sdk.entitled("sso", "acme"), 20)
        assert not sdk.entitled("reports", "acme")
        wait_until(lambda: sdk.entitlement_status().failing_for == 0)


def test_what_ends_while_nobody_answers_ends(registry: Registry) -> None:
    registry.add("acme")
    override(registry, "feature", "sso", granted=True, ends=timedelta(seconds=1.5))
    gate = Gate(registry)
    with Tenantry(registry.config(entitlements_ttl=0.5, listen=False)) as sdk:
        assert sdk.entitled("sso", "acme")
        gate.close()
        wait_until(lambda: not sdk.entitled("sso", "acme"))
        assert sdk.entitlement_status().failing_for > 0
        assert sdk.entitled("reports", "acme")


def test_an_application_restarts_while_the_control_plane_is_down(registry: Registry, tmp_path: Path) -> None:
    registry.add("acme", rates=RATES)
    override(registry, "limit", "projects", value=12, ends=timedelta(hours=1))
    file = tmp_path / "entitlements.json"
    config = registry.config(entitlements_file=str(file))
    with Tenantry(config) as sdk:
        before = sdk.entitlements("acme")
    assert file.stat().st_mode & 0o777 == 0o600
    Gate(registry).close()
    with Tenantry(config) as restarted:
        kept = restarted.entitlements("acme")
        assert replace(kept, read_at=0.0) == replace(before, read_at=0.0)
        assert 0 < kept.staleness < 60
        assert restarted.entitled("reports", "acme")
        with pytest.raises(ControlPlaneUnavailable):
            restarted.entitlements("globex")
    file.chmod(0o660)  # others may have written it
    with Tenantry(config) as wary, pytest.raises(ControlPlaneUnavailable):
        wary.entitlements("acme")
    default = Entitlements("any", plan="starter", features=frozenset({"projects"}))
    with Tenantry(registry.config(entitlements_default=default)) as lenient:
        assert lenient.entitled("projects", "acme")
        assert lenient.entitlements("acme").staleness == float("inf")


def test_an_asyncio_application_asks_without_awaiting_once_it_is_loaded(registry: Registry) -> None:
    registry.add("acme")

    async def application() -> None:
        async with AsyncTenantry(registry.config()) as sdk:
            with tenant_context("acme"):
                with pytest.raises(EntitlementsNotLoaded, match="await"):
                    sdk.entitled("reports")
                assert (await sdk.entitlements()).plan == "team"
                assert sdk.entitled("reports")
                assert sdk.limit("projects") == 10
            registry.set("acme", features=["sso"])
            deadline = time.monotonic() + 10
            while not sdk.entitled("sso", "acme"):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.02)

    asyncio.run(application())


def test_ten_of_ten_projects_leave_room_for_none(sdk: Tenantry, registry: Registry) -> None:
    assert sdk.check_limit("projects", used=9, tenant_id="acme").percent == 100
    with pytest.raises(LimitExceeded, match="10 of 10 projects"):
        sdk.check_limit("projects", used=10, tenant_id="acme")
    with (
        sdk.quota("projects", 8, tenant_id="acme"),
        sdk.quota("projects", 8, tenant_id="acme"),
        pytest.raises(LimitExceeded),
        sdk.quota("projects", 8, tenant_id="acme"),
    ):
        pass
    registry.set("acme", soft_limits=["projects"])
    wait_until(lambda: "projects" in sdk.entitlements("acme").soft_limits)
    assert sdk.check_limit("projects", used=10, tenant_id="acme").exceeded


def test_the_registry_tells_an_operator_what_the_sdk_is_told(sdk: Tenantry, registry: Registry) -> None:
    override(registry, "feature", "sso", granted=True)
    effective = registry.run(lambda connection: registry_entitlements.effective(connection, "acme"))
    assert effective is not None
    assert frozenset(effective["features"]) == sdk.entitlements("acme").features == {"reports", "sso"}
    (only,) = registry.run(lambda connection: registry_entitlements.of_tenant(connection, "acme"))
    assert (only.kind, only.name, only.author, only.expired) == ("feature", "sso", "olivia", None)
