"""The SDK's settings: given, or read from the environment by ``Config.from_env``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tenantry.entitlements import Entitlements, LimitCheck
from tenantry.errors import ConfigurationInvalid
from tenantry.placement import Placement


def _no_overrides(placement: Placement) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Config:
    """All durations are seconds.

    How stale routing may be: while notifications arrive, a round trip; if one is lost, ``placement_ttl``; while
    the control plane can't be reached, ``max_staleness``. A database refuses a stale entry whatever the SDK
    believes, so staleness costs a retry or a refusal, never a look at another tenant.
    """

    database_url: str = field(repr=False)  #: control plane; a role that may read schema tenantry_v1 and LISTEN
    api_url: str  #: where the broker listens
    application_token: str = field(repr=False)
    database_ca: str | None = None  #: CA bundle of the tenants' databases; None: the system's
    aws_endpoint_url: str | None = None

    placement_ttl: float = 30.0
    unknown_ttl: float = 2.0  #: how long "no such tenant" is believed without asking again
    max_staleness: float = 900.0
    listen: bool = True  #: LISTEN on a connection of its own; needs a direct connection or session pooling
    routing_timeout: float = 3.0
    broker_timeout: float = 10.0
    billing_timeout: float = 60.0  #: Stripe is asked behind it, several times for some requests
    connect_timeout: float = 5.0
    pool_timeout: float = 10.0

    max_connections: int = 64  #: open connections to tenants' databases, all logins together
    max_connections_per_login: int = 8
    max_pool_connections: int = 32  #: the same for the pool's shared login, which serves many tenants
    entitlements_ttl: float = 45.0  #: read again after two thirds to four thirds of it, in the background
    entitlements_idle: float = 900.0  #: how long those of a tenant that nobody asks for are kept
    entitlements_file: str | None = None  #: where the last known ones outlive a restart; one a process, mode 0600
    entitlements_default: Entitlements | None = None  #: serves while a tenant's own could never be read
    max_tenants: int = 10_000  #: whose entitlements and rates are kept in memory
    #: called with tenant and finding when a soft limit or rate is exceeded; None: it is logged, once a minute each
    on_soft_limit: Callable[[str, LimitCheck], None] | None = field(default=None, repr=False)

    spool_dir: str | None = None  #: where usage waits for delivery; None: tenantry/usage in the user's state directory
    spool_max_bytes: int = 256 * 1024 * 1024
    usage_interval: float = 5.0  #: between two deliveries of usage
    usage_when_full: Literal["raise", "drop"] = "raise"  #: what ``meter.record`` does when the spool is full

    idle_timeout: float = 120.0
    max_lifetime: float = 1800.0

    #: libpq parameters laid over a placement's own, e.g. ``{"host": "pgbouncer.internal", "port": 6432}``
    connect_overrides: Callable[[Placement], Mapping[str, Any]] = field(default=_no_overrides, repr=False)

    def __post_init__(self) -> None:
        for name in ("database_url", "api_url", "application_token"):
            if not getattr(self, name):
                raise ConfigurationInvalid(f"{name} is empty", hint=f"set TENANTRY_{name.upper()}")
        for name in ("max_connections", "max_connections_per_login", "max_pool_connections", "max_tenants"):
            if getattr(self, name) < 1:
                raise ConfigurationInvalid(f"{name} is {getattr(self, name)}", hint="it must be at least 1")
        if self.entitlements_ttl <= 0:
            raise ConfigurationInvalid(f"entitlements_ttl is {self.entitlements_ttl}", hint="30 to 60 is reasonable")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Config:
        """Settings of ``TENANTRY_DATABASE_URL``, ``TENANTRY_API_URL``, ``TENANTRY_APPLICATION_TOKEN``,
        ``TENANTRY_DATABASE_CA``, ``TENANTRY_ENTITLEMENTS_FILE``, ``TENANTRY_SPOOL_DIR`` and ``AWS_ENDPOINT_URL``;
        ``overrides`` win. Raises ConfigurationInvalid naming what is missing.
        """
        env = os.environ if environ is None else environ
        names = {
            "database_url": "TENANTRY_DATABASE_URL",
            "api_url": "TENANTRY_API_URL",
            "application_token": "TENANTRY_APPLICATION_TOKEN",
            "database_ca": "TENANTRY_DATABASE_CA",
            "entitlements_file": "TENANTRY_ENTITLEMENTS_FILE",
            "aws_endpoint_url": "AWS_ENDPOINT_URL",
            "spool_dir": "TENANTRY_SPOOL_DIR",
        }
        found: dict[str, Any] = {name: env[variable] for name, variable in names.items() if env.get(variable)}
        settings = found | overrides
        missing = [names[name] for name in ("database_url", "api_url", "application_token") if not settings.get(name)]
        if missing:
            raise ConfigurationInvalid(
                f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set",
                hint='locally: eval "$(tenantry local env)"',
            )
        return cls(**settings)

    def connection_parameters(self, placement: Placement, username: str, password: str) -> dict[str, Any]:
        """libpq's parameters to reach ``placement``: TLS with the server's certificate verified, dead peers noticed."""
        return {
            "host": placement.db_host,
            "port": placement.db_port,
            "dbname": placement.db_name,
            "user": username,
            "password": password,
            "sslmode": "verify-full",
            "sslrootcert": self.database_ca or "system",
            "connect_timeout": max(1, round(self.connect_timeout)),
            "application_name": "tenantry-sdk",
            **KEEPALIVES,
            **self.connect_overrides(placement),
        }

    def login_limit(self, placement: Placement) -> int:
        return self.max_pool_connections if placement.pooled else self.max_connections_per_login


#: a peer that vanished without a word is noticed within ten seconds, idle or not
KEEPALIVES = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 10000,
}
