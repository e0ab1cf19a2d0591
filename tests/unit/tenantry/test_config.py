"""The SDK's settings."""

from __future__ import annotations

import pytest

from tenantry import Config, ConfigurationInvalid
from tests.unit.tenantry.placements import placement

ENVIRONMENT = {
    "TENANTRY_DATABASE_URL": "postgresql://reader:hidden@control/tenantry",
    "TENANTRY_API_URL": "https://tenantry.internal",
    "TENANTRY_APPLICATION_TOKEN": "hidden-token",
}


def test_settings_come_from_the_environment_and_arguments_win() -> None:
    config = Config.from_env({**ENVIRONMENT, "TENANTRY_DATABASE_CA": "/ca.pem"}, max_connections=5, api_url="http://x")
    assert (config.database_ca, config.max_connections, config.api_url) == ("/ca.pem", 5, "http://x")


@pytest.mark.parametrize("missing", sorted(ENVIRONMENT))
@pytest.mark.parametrize("empty", [True, False])
def test_what_is_missing_is_named(missing: str, empty: bool) -> None:
    environ = {name: value for name, value in ENVIRONMENT.items() if name != missing} | ({missing: ""} if empty else {})
    with pytest.raises(ConfigurationInvalid, match=missing):
        Config.from_env(environ)


@pytest.mark.parametrize("name", ["max_connections", "max_connections_per_login", "max_pool_connections"])
def test_a_pool_without_connections_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationInvalid, match=name):
        Config.from_env(ENVIRONMENT, **{name: 0})


def test_no_secret_shows() -> None:
    assert "hidden" not in repr(Config.from_env(ENVIRONMENT))


def test_tenants_databases_are_verified_whatever_the_environment_says() -> None:
    parameters = Config.from_env(ENVIRONMENT).connection_parameters(placement(), "login", "password")
    assert (parameters["sslmode"], parameters["sslrootcert"]) == ("verify-full", "system")
    assert (parameters["host"], parameters["port"], parameters["dbname"]) == ("db.internal", 5432, "tenantry")


def test_overrides_are_laid_over_the_placements_address() -> None:
    config = Config.from_env(ENVIRONMENT, connect_overrides=lambda placement: {"host": f"{placement.cell}.bouncer"})
    assert config.connection_parameters(placement(), "login", "password")["host"] == "default.bouncer"


def test_the_pools_login_may_have_more_connections() -> None:
    config = Config.from_env(ENVIRONMENT, max_pool_connections=32, max_connections_per_login=8)
    assert [config.login_limit(placement(tier=tier)) for tier in ("pool", "bridge", "silo")] == [32, 8, 8]
