"""The package ``tenantry-postgres``: its types and what its configuration means."""

from __future__ import annotations

from providers.base import UNKNOWN, Properties, Provider, require
from providers.postgres import handlers
from providers.postgres.connection import Server

NAME = "tenantry-postgres"
VERSION = "0.1.0"
_REQUIRED = ("host", "port", "masterSecretArn", "region")


def provider() -> Provider[Server]:
    return Provider(
        NAME,
        VERSION,
        handlers.ALL,
        configure=_configure,
        check_config=_check_config,
    )


def _configure(config: Properties) -> Server:
    # In a preview the server may not exist yet: unknown values are kept, nothing connects.
    port = config.get("port")
    return Server(
        host=config.get("host", UNKNOWN),
        port=int(port) if isinstance(port, str | int) else 0,
        master_secret_arn=config.get("masterSecretArn", UNKNOWN),
        region=config.get("region", UNKNOWN),
        stopped=str(config.get("stopped", False)).lower() == "true",
    )


def _check_config(config: Properties) -> Properties:
    failures = [(key, "is required") for key in _REQUIRED if key not in config]
    port = config.get("port")
    if port is not None and port is not UNKNOWN and not (str(port).isdecimal() and 0 < int(port) < 65536):
        failures.append(("port", f"{port!r} is not a port"))
    require(failures)
    return config
