"""The proof through PgBouncer in transaction mode: what is between the SDK and the server is attacked as well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from isolation.proof import prove_pair
from isolation.report import explain
from tenantry import Tenantry
from tests.integration.isolation.estate import Estate
from tests.integration.tenantry.pgbouncer import pgbouncer

#: what a server connection that is handed from transaction to transaction could get wrong
OF_CONNECTIONS = {
    "no-tenant",
    "reset-all",
    "after-error",
    "after-rollback",
    "after-commit",
    "after-savepoint",
    "after-chain",
    "after-failed-commit",
    "after-killed-client",
    "session-after-error",
    "session-after-lost-server",
    "session-after-leftovers",
}


@pytest.fixture(scope="module")
def pooled(estate: Estate, service_directory: Path) -> Iterator[Tenantry]:
    """An SDK whose connections to the pool are two server connections behind a PgBouncer."""
    login = estate.shared.value(estate.pool_login_secret)
    home = service_directory / f"pgbouncer-{estate.installation}"
    with (
        pgbouncer(estate.server, home, {login["username"]: login["password"]}, pool_size=2) as port,
        Tenantry(estate.config(connect_overrides=lambda placement: {"port": port})) as sdk,
    ):
        yield sdk


def test_tenants_of_a_pool_are_isolated_behind_pgbouncer(estate: Estate, pooled: Tenantry) -> None:
    acme, globex = estate.outputs("acme", "globex")
    known = estate.installation_known()
    attempts = prove_pair(acme, globex, sdk=pooled, aws=estate.aws, installation=known)
    tried = {each.name: each for each in attempts}
    assert tried.keys() >= OF_CONNECTIONS
    assert [explain(tried[name]) for name in sorted(OF_CONNECTIONS) if not tried[name].passed] == []
    assert [explain(each) for each in attempts if not each.passed] == []
