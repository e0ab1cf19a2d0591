"""Identifiers in Stripe's form: a prefix that names the kind of object and a random part."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_ALPHABET = string.ascii_letters + string.digits
#: byte -> letter
_LETTERS = bytes(_ALPHABET[byte % len(_ALPHABET)].encode()[0] for byte in range(256))
#: Seeded by the operating system; a simulation brings a generator of its own.
_generator: ContextVar[random.Random] = ContextVar("generator", default=random.Random())  # noqa: S311, B039 - names, no secrets

PREFIXES = {
    "account": "acct_",
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
    "payment_intent": "pi_",
    "invoice_payment": "inpay_",
    "charge": "ch_",
    "balance_transaction": "txn_",
    "refund": "re_",
    "dispute": "du_",
    "coupon": "",
    "promotion_code": "promo_",
    "discount": "di_",
    "subscription_schedule": "sub_sched_",
    "billing_portal.configuration": "bpc_",
    "customer_balance_transaction": "cbtxn_",
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

_LENGTHS = {"cus_": 14, "prod_": 14, "si_": 14, "": 8}


@contextmanager
def drawn_from(generator: random.Random) -> Iterator[None]:
    """Ids made inside come from ``generator``: the same again for the same seed."""
    token = _generator.set(generator)
    try:
        yield
    finally:
        _generator.reset(token)


def new_id(kind: str) -> str:
    """A fresh id of a kind (the value of the object's ``object`` field)."""
    prefix = PREFIXES[kind]
    return prefix + _random(_LENGTHS.get(prefix, 24))


def request_id() -> str:
    return "req_" + _random(14)


def _random(length: int) -> str:
    return _generator.get().randbytes(length).translate(_LETTERS).decode()
