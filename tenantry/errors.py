"""Every error the SDK raises on purpose, as one tree. Errors of your own statements pass through unchanged.

TenantryError
├── NoTenant               no tenant was named, and none is in the context
├── TenantConflict         work for one tenant was begun inside another tenant's
├── UnknownTenant          no such tenant stands
├── TenantSuspended        the tenant's access is withdrawn
├── EntryRefused           the tenant's database refused its credentials twice, the second time fresh ones
├── SessionEnded           a session, or a cursor of it, was used after its block
├── InvalidFileName        a name that can't be a file of the tenant
├── ConfigurationInvalid   the SDK's own settings
└── Unavailable            may pass; try again
    ├── ControlPlaneUnavailable   routing could not be read and nothing recent enough is known
    ├── BrokerUnavailable         the credential broker did not answer
    ├── DatabaseUnavailable       the tenant's database could not be reached
    └── PoolTimeout               no connection came free in time
"""

from __future__ import annotations


class TenantryError(Exception):
    """``message`` says what and where, ``hint`` what to do. Neither ever holds a secret."""

    code = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class NoTenant(TenantryError):
    code = "no_tenant"


class TenantConflict(TenantryError):
    code = "tenant_conflict"


class UnknownTenant(TenantryError):
    code = "unknown_tenant"


class TenantSuspended(TenantryError):
    code = "tenant_suspended"


class EntryRefused(TenantryError):
    code = "entry_refused"


class SessionEnded(TenantryError):
    code = "session_ended"


class InvalidFileName(TenantryError, ValueError):
    code = "invalid_file_name"


class ConfigurationInvalid(TenantryError):
    code = "configuration_invalid"


class Unavailable(TenantryError):
    code = "unavailable"


class ControlPlaneUnavailable(Unavailable):
    code = "control_plane_unavailable"


class BrokerUnavailable(Unavailable):
    code = "broker_unavailable"


class DatabaseUnavailable(Unavailable):
    code = "database_unavailable"


class PoolTimeout(Unavailable):
    code = "pool_timeout"
