"""Tenantry's SDK: who the tenant is, which database and files are its own, and how to reach them safely.

    from tenantry import Tenantry

    sdk = Tenantry.from_env()
    with sdk.session("acme") as session:
        session.execute("INSERT INTO orders (customer_id, total_cents) VALUES (%s, %s)", (1, 500))

Importing it opens nothing. ``docs/sdk.md`` has the whole of it.
"""

from tenantry.aio import AsyncTenantry
from tenantry.asgi import TenantMiddleware
from tenantry.billing import AsyncBilling, Billing, Checkout, PlannedChange, Preview, PreviewLine, Subscription
from tenantry.client import Tenantry
from tenantry.config import Config
from tenantry.context import current_tenant, tenant_context
from tenantry.entitlement_cache import CacheStatus
from tenantry.entitlements import Entitlements, LimitCheck, Rate, StorageUsage
from tenantry.errors import (
    BillingRefused,
    BillingUnavailable,
    BrokerUnavailable,
    ConfigurationInvalid,
    ControlPlaneUnavailable,
    DatabaseUnavailable,
    EntitlementsNotLoaded,
    EntryRefused,
    InvalidFileName,
    InvalidUsage,
    LimitExceeded,
    NoTenant,
    NotEntitled,
    PaymentFailed,
    PoolTimeout,
    RateLimited,
    RateStoreUnavailable,
    SessionEnded,
    SpoolFull,
    TenantConflict,
    TenantReadOnly,
    TenantryError,
    TenantSuspended,
    Unavailable,
    UnknownMeter,
    UnknownTenant,
)
from tenantry.files import AsyncTenantFiles, FileInfo, TenantFiles
from tenantry.limit_middleware import LimitMiddleware
from tenantry.metering import Meter, MeterStatistics
from tenantry.placement import Placement
from tenantry.rate_limiter import LocalRateLimiter, RateVerdict, SharedRateLimiter
from tenantry.rate_stores import LimitsRateStore, PostgresRateStore
from tenantry.session import AsyncTenantSession, TenantSession

__all__ = [
    "AsyncBilling",
    "AsyncTenantFiles",
    "AsyncTenantSession",
    "AsyncTenantry",
    "Billing",
    "BillingRefused",
    "BillingUnavailable",
    "BrokerUnavailable",
    "CacheStatus",
    "Checkout",
    "Config",
    "ConfigurationInvalid",
    "ControlPlaneUnavailable",
    "DatabaseUnavailable",
    "Entitlements",
    "EntitlementsNotLoaded",
    "EntryRefused",
    "FileInfo",
    "InvalidFileName",
    "InvalidUsage",
    "LimitCheck",
    "LimitExceeded",
    "LimitMiddleware",
    "LimitsRateStore",
    "LocalRateLimiter",
    "Meter",
    "MeterStatistics",
    "NoTenant",
    "NotEntitled",
    "PaymentFailed",
    "Placement",
    "PlannedChange",
    "PoolTimeout",
    "PostgresRateStore",
    "Preview",
    "PreviewLine",
    "Rate",
    "RateLimited",
    "RateStoreUnavailable",
    "RateVerdict",
    "SessionEnded",
    "SharedRateLimiter",
    "SpoolFull",
    "StorageUsage",
    "Subscription",
    "TenantConflict",
    "TenantFiles",
    "TenantMiddleware",
    "TenantReadOnly",
    "TenantSession",
    "TenantSuspended",
    "Tenantry",
    "TenantryError",
    "Unavailable",
    "UnknownMeter",
    "UnknownTenant",
    "current_tenant",
    "tenant_context",
]
