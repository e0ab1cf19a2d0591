"""Sessions of Stripe's customer portal, with the configuration that the catalogue's push made."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum

from provisioner.billing.gateway import Document
from provisioner.billing.sales import StripeSales
from provisioner.billing.stripe_catalogue.wanted import MANAGED_KEY
from provisioner.errors import ConfigurationInvalid, OperatorNeeded
from provisioner.selling.errors import NotChangeable

TTL_S = 300.0


class Flow(StrEnum):
    """What the customer portal opens with; https://docs.stripe.com/customer-management/portal-deep-links"""

    PAYMENT_METHOD_UPDATE = "payment_method_update"
    SUBSCRIPTION_UPDATE = "subscription_update"
    SUBSCRIPTION_CANCEL = "subscription_cancel"


class Portal:
    def __init__(self, sales: StripeSales, clock: Callable[[], float] = time.monotonic) -> None:
        self._sales = sales
        self._clock = clock
        self._configuration: str | None = None
        self._asked_at: float | None = None

    async def open(self, customer_id: str, return_url: str, flow: Flow | None, subscription_id: str | None) -> str:
        """The URL of a session, good for some minutes. ``subscription_id``: for flows about a subscription."""
        params: Document = {"customer": customer_id, "return_url": return_url}
        configuration = await self._own()
        if configuration is not None:
            params["configuration"] = configuration
        if flow is not None:
            params["flow_data"] = {"type": flow.value}
            if subscription_id is not None:
                params["flow_data"][flow.value] = {"subscription": subscription_id}
        try:
            opened = await self._sales.create_portal(params)
        except OperatorNeeded as refused:
            if flow is None or isinstance(refused, ConfigurationInvalid):
                raise
            raise NotChangeable(
                f"the portal has no {flow.value} for this subscription: {refused.message}",
                hint="allow it in [portal] of the catalogue and push it; or open the portal without a flow",
            ) from refused
        return str(opened["url"])

    async def _own(self) -> str | None:
        """The id of our configuration; None: the account's default is to be used."""
        if self._asked_at is None or self._clock() - self._asked_at > TTL_S:
            found = await self._sales.portal_configurations()
            ours = (str(each["id"]) for each in found if MANAGED_KEY in (each.get("metadata") or {}))
            self._configuration = next(ours, None)
            self._asked_at = self._clock()
        return self._configuration
