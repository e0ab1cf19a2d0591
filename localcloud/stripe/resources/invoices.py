"""/v1/invoices: those that subscriptions make; creating one by hand is not implemented."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.cards import card_of
from localcloud.stripe.errors import declined, invalid
from localcloud.stripe.fields import merge_metadata
from localcloud.stripe.lists import page
from localcloud.stripe.routing import route
from localcloud.stripe.store import Object
from localcloud.stripe.subscriptions import invoices, lifecycle


@route("GET", "/v1/invoices/{invoice}", "InvoiceRetrieveParams")
def retrieve(account: Account, params: dict[str, Any], invoice: str) -> Object:
    return account.find("invoice", invoice)


@route("POST", "/v1/invoices/{invoice}", "InvoiceUpdateParams")
def update(account: Account, params: dict[str, Any], invoice: str) -> Object:
    found = account.find("invoice", invoice)
    unsupported = set(params) - {"metadata", "description", "auto_advance"}
    if unsupported:
        name = sorted(unsupported)[0]
        raise invalid(f"This server does not implement the parameter {name}", param=name)
    with account.updating(found):
        found["metadata"] = merge_metadata(found["metadata"], params.get("metadata"))
        if "description" in params:
            found["description"] = params["description"] or None
        if "auto_advance" in params:
            found["auto_advance"] = params["auto_advance"]
            draft = found["status"] == "draft" and params["auto_advance"]
            found["automatically_finalizes_at"] = account.now(found["test_clock"]) + invoices.HOUR if draft else None
    return found


@route("POST", "/v1/invoices/{invoice}/finalize", "InvoiceFinalizeInvoiceParams")
def finalize(account: Account, params: dict[str, Any], invoice: str) -> Object:
    found = account.find("invoice", invoice)
    invoices.finalize(account, found)
    return found


@route("POST", "/v1/invoices/{invoice}/pay", "InvoicePayParams")
def pay(account: Account, params: dict[str, Any], invoice: str) -> Object:
    """402 when the card fails: nothing of the attempt is kept then, except that Stripe counts it and this doesn't."""
    found = account.find("invoice", invoice)
    if found["status"] == "paid":
        raise invalid("Invoice is already paid", code="invoice_already_paid")
    if found["status"] in ("void", "uncollectible"):
        raise invalid(f"Invoices that are {found['status']} can't be paid.")
    if found["status"] == "draft":
        invoices.finalize(account, found)
    method = account.find("payment_method", params["payment_method"]) if "payment_method" in params else None
    subscription = account.store.get("subscription", invoices.subscription_of(found) or "")
    if params.get("paid_out_of_band"):
        invoices.mark_paid(account, found)
        if subscription is not None:
            lifecycle.after_payment(account, subscription)
    elif found["status"] == "open":
        if method is None and subscription is not None:
            method = invoices.payment_method_of(account, subscription)
        if method is None:
            raise invalid("There is no default_payment_method set on this Customer or Invoice.", code="invoice_payment")
        if not card_of(method).charges:
            raise declined()
        lifecycle.collect(account, found, method)
    return found


@route("POST", "/v1/invoices/{invoice}/void", "InvoiceVoidInvoiceParams")
def void(account: Account, params: dict[str, Any], invoice: str) -> Object:
    return _close(account, invoice, "void")


@route("POST", "/v1/invoices/{invoice}/mark_uncollectible", "InvoiceMarkUncollectibleParams")
def mark_uncollectible(account: Account, params: dict[str, Any], invoice: str) -> Object:
    return _close(account, invoice, "uncollectible")


def _close(account: Account, identifier: str, status: str) -> Object:
    found = account.find("invoice", identifier)
    if found["status"] not in ("open", "uncollectible") or found["status"] == status:
        raise invalid(f"An invoice that is {found['status']} can't become {status}.")
    invoices.close(account, found, status)
    subscription = account.store.get("subscription", invoices.subscription_of(found) or "")
    if status == "void" and subscription is not None and subscription["status"] != "incomplete":
        lifecycle.after_payment(account, subscription)
    return found


@route("GET", "/v1/invoices", "InvoiceListParams")
def list_all(account: Account, params: dict[str, Any]) -> Object:
    def keep(invoice: Object) -> bool:
        return (
            params.get("customer") in (None, invoice["customer"])
            and params.get("subscription") in (None, invoices.subscription_of(invoice))
            and params.get("status") in (None, invoice["status"])
            and params.get("collection_method") in (None, invoice["collection_method"])
        )

    return page(account, "invoice", params, "/v1/invoices", keep)
