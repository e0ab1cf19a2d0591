"""Identifiers in Stripe's form: a prefix that names the kind of object and a random part."""

from __future__ import annotations

import secrets
import string

_ALPHABET = string.ascii_letters + string.digits

PREFIXES = {
    "customer": "cus_",
    "product": "prod_",
    "price": "price_",
    "payment_method": "pm_",
    "subscription": "sub_",
    "subscription_item": "si_",
    "invoice": "in_",
    "line_item": "il_",
    "invoiceitem": "ii_",
    "event": "evt_",
    "webhook_endpoint": "we_",
    "test_helpers.test_clock": "clock_",
    "billing.meter": "mtr_",
    "billing.meter_event": "mev_",
    "entitlements.feature": "feat_",
    "product_feature": "pft_",
    "entitlements.active_entitlement": "ent_",
    "checkout.session": "cs_test_",
    "billing_portal.session": "bps_",
}


def new_id(kind: str) -> str:
    """A fresh id of a kind (the value of the object's ``object`` field)."""
    prefix = PREFIXES[kind]
    length = 14 if prefix in ("cus_", "prod_", "si_") else 24
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(length))


def request_id() -> str:
    return "req_" + "".join(secrets.choice(_ALPHABET) for _ in range(14))
