"""Handlers of the API's operations, one module a resource. Importing this package registers all of them."""

from localcloud.stripe.resources import (
    customers,
    events,
    payment_methods,
    prices,
    products,
    subscriptions,
    test_clocks,
    webhook_endpoints,
)

__all__ = [
    "customers",
    "events",
    "payment_methods",
    "prices",
    "products",
    "subscriptions",
    "test_clocks",
    "webhook_endpoints",
]
