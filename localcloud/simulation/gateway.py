"""The product's own gateway to Stripe, with the local Stripe called in process instead of over HTTP."""

from __future__ import annotations

from datetime import datetime

from localcloud.simulation.clock import VirtualClock
from localcloud.stripe.api_faults import ConnectionLost
from localcloud.stripe.errors import ApiError
from localcloud.stripe.inprocess import InProcess
from provisioner.billing.gateway import Document
from provisioner.billing.gateway_stripe import StripeGateway
from provisioner.errors import NotFound, OperatorNeeded, StripeUnavailable


class DirectGateway(StripeGateway):
    """While ``down`` is set every call fails as a network failure does. Answers are the local Stripe's documents."""

    def __init__(self, stripe: InProcess, clock: VirtualClock) -> None:
        self._stripe = stripe
        self._clock = clock
        self._livemode = False
        self.down = False

    async def now(self, test_clock: str | None = None) -> datetime:
        return self._clock.moment

    async def close(self) -> None:
        """Nothing is open."""

    async def _get(self, path: str, params: Document) -> Document:
        if self.down:
            raise StripeUnavailable("Stripe could not be reached (an outage of the simulation)")
        try:
            return self._stripe.call("GET", path, params)
        except ConnectionLost as error:
            raise StripeUnavailable(str(error)) from None
        except ApiError as error:
            if error.status == 404:
                raise NotFound(f"Stripe has no such object: {error.message}") from None
            if error.status >= 500 or error.status == 429:
                raise StripeUnavailable(error.message) from None
            raise OperatorNeeded(f"Stripe refused a request: {error.message}", hint="the simulation is wrong") from None
