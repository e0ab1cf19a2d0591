"""The catalogue's checks know of a login that may only read: what it could write with is a fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from components.spec import Access
from isolation.broker import Broker
from isolation.catalogue.inspection import Inspection
from isolation.subject import Subject
from providers.postgres import privileges
from tenantry import Tenantry
from tests.integration.isolation.estate import Estate

TENANT = "initech"


@contextmanager
def privileges_of(estate: Estate, access: str) -> Iterator[None]:
    """The tenant's login with the privileges of ``access``."""
    outputs = estate.tenants[TENANT]
    names = estate.names(TENANT)
    login = privileges.Privileges(
        outputs.database.name, outputs.db_schema, names.postgres_owner, names.postgres_login, "read_only"
    )
    server = estate.stacks[TENANT].server
    if access == "read_only":
        privileges.converge(server, login)
    try:
        yield
    finally:
        privileges.converge(
            server, privileges.Privileges(login.database, login.schema, login.owner, login.role, "full")
        )


def faults(estate: Estate, sdk: Tenantry, broker: Broker) -> dict[str, str]:
    """By check, of a tenant whose stack says that it may only read."""
    outputs = estate.tenants[TENANT].model_copy(update={"access": Access.READ_ONLY})
    probes = Inspection([Subject(outputs, sdk, broker)], whole=False).probes()
    attempts = [probe.run(TENANT, TENANT) for probe in probes if probe.name in ("grants", "default-privileges")]
    assert len(attempts) == 2
    return {each.name: each.actual for each in attempts if not each.passed}


@pytest.fixture
def broker(estate: Estate) -> Iterator[Broker]:
    made = Broker(estate.config())
    yield made
    made.close()


def test_a_login_that_lost_what_writes_has_no_fault(estate: Estate, sdk: Tenantry, broker: Broker) -> None:
    with privileges_of(estate, "read_only"):
        assert faults(estate, sdk, broker) == {}


def test_a_login_that_kept_what_writes_is_found(estate: Estate, sdk: Tenantry, broker: Broker) -> None:
    with privileges_of(estate, "full"):
        found = faults(estate, sdk, broker)
    assert set(found) == {"grants", "default-privileges"}
    assert "INSERT is granted" in found["grants"]


@pytest.mark.parametrize(
    ("privilege", "said"),
    [
        ("INSERT ON {}.project", "INSERT is granted"),
        ("DELETE ON {}.comment", "DELETE is granted"),
        ("USAGE ON SEQUENCE {}.project_project_id_seq", "USAGE is granted"),
        ("UPDATE (name) ON {}.project", "UPDATE is granted"),
    ],
)
def test_one_privilege_too_many_is_found(
    estate: Estate, sdk: Tenantry, broker: Broker, privilege: str, said: str
) -> None:
    outputs = estate.tenants[TENANT]
    with privileges_of(estate, "read_only"), estate.owner(TENANT) as admin:
        admin.execute(f"GRANT {privilege.format(outputs.db_schema)} TO {outputs.login}".encode())
        assert said in faults(estate, sdk, broker)["grants"]
        admin.execute(f"REVOKE {privilege.format(outputs.db_schema)} FROM {outputs.login}".encode())
