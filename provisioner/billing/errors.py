"""Stripe's errors in terms of what to do about them. Never repeats a key, not even Stripe's redacted form of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import stripe

from provisioner.errors import ConfigurationInvalid, NotFound, OperatorNeeded, StripeUnavailable, TenantryError


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turns what the library raises inside into an error of ours; ``doing`` completes "Stripe failed while ..."."""
    try:
        yield
    except stripe.StripeError as error:
        raise translate_error(error, doing) from error


def translate_error(error: stripe.StripeError, doing: str) -> TenantryError:
    status, reference = error.http_status, f" (request {error.request_id})" if error.request_id else ""
    if isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
        return ConfigurationInvalid(
            f"Stripe refused the API key while {doing}{reference}",
            hint="Check TENANTRY_STRIPE_API_KEY: its mode, its permissions, and that it was not rolled",
        )
    if isinstance(error, stripe.APIConnectionError):
        return StripeUnavailable(
            f"Stripe could not be reached while {doing}", hint="Check the network and Stripe's status"
        )
    if isinstance(error, stripe.RateLimitError) or status in (409, 429) or error.code == "lock_timeout":
        return StripeUnavailable(f"Stripe asked to slow down while {doing}{reference}")
    if status == 404 or error.code == "resource_missing":
        return NotFound(f"Stripe has no such object, while {doing}{reference}: {error.user_message}")
    if isinstance(error, stripe.InvalidRequestError | stripe.CardError | stripe.IdempotencyError):
        return OperatorNeeded(f"Stripe refused the request while {doing}{reference}: {error.user_message}")
    return StripeUnavailable(f"Stripe failed while {doing}{reference}, status {status or 'unknown'}")
