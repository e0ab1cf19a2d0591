"""Every error the SDK raises on purpose, as one tree. Errors of your own statements pass through unchanged.

TenantryError
├── NoTenant               no tenant was named, and none is in the context
├── TenantConflict         work for one tenant was begun inside another tenant's
├── UnknownTenant          no such tenant stands
├── TenantSuspended        the tenant's access is withdrawn
├── TenantReadOnly         the tenant may read and not write; says why
├── NotEntitled            the tenant's plan does not have the feature
├── LimitExceeded          it would be more than the tenant's plan allows
├── RateLimited            the tenant has made all the calls that its plan allows for now
├── EntitlementsNotLoaded  an asyncio application asked before they were loaded
├── EntryRefused           the tenant's database refused its credentials twice, the second time fresh ones
├── SessionEnded           a session, or a cursor of it, was used after its block
├── BillingRefused         what was asked of the subscription can't be done; its `code` says why
│   └── PaymentFailed      the payment method was declined; nothing was changed
├── InvalidFileName        a name that can't be a file of the tenant
├── ConfigurationInvalid   the SDK's own settings
├── InvalidUsage           a record of usage that can't be counted: negative, no whole number, of another time
│   └── UnknownMeter       no meter of the catalogue has the name
└── Unavailable            may pass; try again
    ├── ControlPlaneUnavailable   routing could not be read and nothing recent enough is known
    ├── BrokerUnavailable         the credential broker did not answer
    ├── RateStoreUnavailable      the store that processes share to count calls did not answer
    ├── BillingUnavailable        the service, or Stripe behind it, did not answer
    ├── DatabaseUnavailable       the tenant's database could not be reached
    ├── SpoolFull                 usage can't be kept on this machine, and was not recorded
    └── PoolTimeout               no connection came free in time
"""

from __future__ import annotations

import math


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


class TenantReadOnly(TenantryError):
    code = "tenant_read_only"


class NotEntitled(TenantryError):
    """``access`` is set if it is withdrawn: then no feature is had."""

    code = "not_entitled"

    def __init__(self, tenant_id: str, feature: str, *, plan: str | None, access: str | None = None) -> None:
        why = f"its access is {access}" if access else f"plan {plan} does not have it" if plan else "it has no plan"
        super().__init__(
            f"tenant {tenant_id!r} is not entitled to {feature!r}: {why}",
            hint="its subscription decides" if access or not plan else "a plan that has the feature must be bought",
        )
        self.tenant_id = tenant_id
        self.feature = feature
        self.plan = plan
        self.access = access


class LimitExceeded(TenantryError):
    code = "limit_exceeded"

    def __init__(self, tenant_id: str, name: str, *, limit: int, used: int, adding: int, plan: str | None) -> None:
        super().__init__(
            f"tenant {tenant_id!r} has {used} of {limit} {name}: {adding} more would be too many",
            hint=f"plan {plan} allows no more" if plan else "it has no plan",
        )
        self.tenant_id = tenant_id
        self.name = name
        self.limit = limit
        self.used = used
        self.adding = adding
        self.plan = plan


class RateLimited(TenantryError):
    """``retry_after``: seconds until a call is let through again, if nobody else takes it."""

    code = "rate_limited"

    def __init__(self, tenant_id: str, name: str, *, amount: int, seconds: int, retry_after: float) -> None:
        super().__init__(
            f"tenant {tenant_id!r} has made its {amount} calls of {name!r} in {seconds} s",
            hint=f"try again in {max(1, math.ceil(retry_after))} s",
        )
        self.tenant_id = tenant_id
        self.name = name
        self.amount = amount
        self.seconds = seconds
        self.retry_after = retry_after


class EntitlementsNotLoaded(TenantryError):
    code = "entitlements_not_loaded"


class EntryRefused(TenantryError):
    code = "entry_refused"


class SessionEnded(TenantryError):
    code = "session_ended"


class BillingRefused(TenantryError):
    """``code``: ``already_subscribed``, ``not_changeable``, ``not_found`` (the plan), ``not_subscribed``,
    ``payment_failed``, ``return_url_refused``, ``seats_refused``, ``tenant_taken``, ``invalid_request``."""

    code = "billing_refused"

    def __init__(self, message: str, *, code: str | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        if code is not None:
            self.code = code


class PaymentFailed(BillingRefused):
    code = "payment_failed"


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


class RateStoreUnavailable(Unavailable):
    code = "rate_store_unavailable"


class BillingUnavailable(Unavailable):
    code = "billing_unavailable"


class DatabaseUnavailable(Unavailable):
    code = "database_unavailable"


class PoolTimeout(Unavailable):
    code = "pool_timeout"


class InvalidUsage(TenantryError, ValueError):
    code = "invalid_usage"


class UnknownMeter(InvalidUsage):
    code = "unknown_meter"


class SpoolFull(Unavailable):
    code = "spool_full"
