"""Handlers of the API's operations, one module a resource. Importing this package registers all of them."""

from localcloud.stripe.resources import (
    checkout,
    customers,
    entitlements,
    events,
    invoices,
    meters,
    payment_methods,
    portal,
    prices,
    products,
    subscription_items,
    subscriptions,
    test_clocks,
    webhook_endpoints,
)

__all__ = [
    "checkout",
    "customers",
    "entitlements",
    "events",
    "invoices",
    "meters",
    "payment_methods",
    "portal",
    "prices",
    "products",
    "subscription_items",
    "subscriptions",
    "test_clocks",
    "webhook_endpoints",
]
