"""Checkout sessions: at most one that can be completed for a tenant, so that nobody pays twice."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import AsyncConnection

from provisioner.billing.catalogue import Catalogue
from provisioner.billing.gateway import Document
from provisioner.billing.sales import StripeSales
from provisioner.billing.translate import TENANT_KEY
from provisioner.errors import OperatorNeeded
from provisioner.registry import storefront
from provisioner.selling import trials
from provisioner.selling.change import Prices, full_items
from provisioner.selling.standing import Selection

REQUEST_KEY = "tenantry_request"  #: in the session's metadata: fingerprint of what was asked for
LIFE = timedelta(hours=24)  #: Stripe's default, and its longest
USEFUL = timedelta(minutes=30)  #: less time than that, and the customer gets a new session


@dataclass(frozen=True)
class Checkout:
    """``url``: where to send the customer. ``trial_refused``: why the plan's trial is not in it; None: no reason."""

    url: str
    session_id: str
    expires_at: datetime
    trial_days: int
    trial_refused: str | None


@dataclass(frozen=True)
class Pages:
    """Where the customer goes, and what the page offers. The URLs have been checked."""

    success_url: str
    cancel_url: str
    promotion_codes: bool = False
    locale: str | None = None


async def open_checkout(
    connection: AsyncConnection,
    sales: StripeSales,
    catalogue: Catalogue,
    prices: Prices,
    tenant_id: str,
    customer: Document,
    selection: Selection,
    pages: Pages,
) -> Checkout:
    """A session for a tenant without a subscription. The same request gets the session that is open already; another
    one closes it. The caller is the only one who sells to the tenant meanwhile."""
    now = await sales.now(customer.get("test_clock"))
    days = catalogue.plan(selection.plan).terms.trial.days
    offer = await trials.offer(connection, tenant_id, customer, days, now=now, open_for=LIFE)
    params = _params(catalogue, prices, tenant_id, str(customer["id"]), selection, pages, offer.days)
    fingerprint = hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()
    session: Document | None = None
    for found in await sales.open_checkouts(str(customer["id"])):
        same = (found.get("metadata") or {}).get(REQUEST_KEY) == fingerprint
        if same and session is None and _moment(found["expires_at"]) - now > USEFUL:
            session = found
        else:
            await sales.expire_checkout(found["id"])
    if session is None:
        session = await _created(connection, sales, tenant_id, params, fingerprint)
    return Checkout(session["url"], session["id"], _moment(session["expires_at"]), offer.days, offer.refused)


async def _created(
    connection: AsyncConnection, sales: StripeSales, tenant_id: str, params: dict[str, Any], fingerprint: str
) -> Document:
    params["metadata"][REQUEST_KEY] = fingerprint
    for _ in range(2):
        key = await storefront.checkout_key(connection, tenant_id, fingerprint)
        try:
            session = await sales.create_checkout(params, key=f"tenantry-checkout-{key}")
        except OperatorNeeded:
            await storefront.forget_checkout(connection, tenant_id)  # Stripe would answer the key with this refusal
            raise
        await storefront.answer_checkout(connection, tenant_id, session["id"])
        # An answer that was lost comes again as it was: what it tells of may have been completed or closed since.
        session = await sales.checkout(session["id"])
        if session["status"] == "open":
            return session
    return session


def _params(
    catalogue: Catalogue,
    prices: Prices,
    tenant_id: str,
    customer_id: str,
    selection: Selection,
    pages: Pages,
    trial_days: int,
) -> dict[str, Any]:
    trial = catalogue.plan(selection.plan).terms.trial
    params: dict[str, Any] = {
        "mode": "subscription",
        "customer": customer_id,
        "client_reference_id": tenant_id,
        "line_items": full_items(selection, catalogue, prices),
        "success_url": pages.success_url,
        "cancel_url": pages.cancel_url,
        "metadata": {TENANT_KEY: tenant_id},
        "subscription_data": {"metadata": {TENANT_KEY: tenant_id}},
    }
    if pages.promotion_codes:
        params["allow_promotion_codes"] = True
    if pages.locale is not None:
        params["locale"] = pages.locale
    if catalogue.automatic_tax:
        params["automatic_tax"] = {"enabled": True}
        params["customer_update"] = {"address": "auto"}
    if trial_days:
        params["payment_method_collection"] = "always" if trial.requires_payment_method else "if_required"
        params["subscription_data"] |= {
            "trial_period_days": trial_days,
            "trial_settings": {"end_behavior": {"missing_payment_method": trial.without_payment_method.value}},
        }
    return params


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
