"""/v1/invoices: those that subscriptions make; creating one by hand is not implemented."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.due import HOUR
from localcloud.stripe.errors import declined, invalid
from localcloud.stripe.fields import merge_metadata
from localcloud.stripe.lists import page
from localcloud.stripe.routing import PAGING, route
from localcloud.stripe.store import Object, subscription_of
from localcloud.stripe.subscriptions import invoices, lifecycle


@route("GET", "/v1/invoices/{invoice}", "InvoiceRetrieveParams")
def retrieve(account: Account, params: dict[str, Any], invoice: str) -> Object:
    return account.find("invoice", invoice)


@route("POST", "/v1/invoices/{invoice}", "InvoiceUpdateParams", "metadata description auto_advance")
def update(account: Account, params: dict[str, Any], invoice: str) -> Object:
    found = account.find("invoice", invoice)
    with account.updating(found):
        found["metadata"] = merge_metadata(found["metadata"], params.get("metadata"))
        if "description" in params:
            found["description"] = params["description"] or None
        if "auto_advance" in params:
            found["auto_advance"] = params["auto_advance"]
            draft = found["status"] == "draft" and params["auto_advance"]
            found["automatically_finalizes_at"] = account.now(found["test_clock"]) + HOUR if draft else None
    return found


@route("POST", "/v1/invoices/{invoice}/finalize", "InvoiceFinalizeInvoiceParams", "auto_advance")
def finalize(account: Account, params: dict[str, Any], invoice: str) -> Object:
    found = account.find("invoice", invoice)
    invoices.finalize(account, found)
    return found


@route("POST", "/v1/invoices/{invoice}/pay", "InvoicePayParams", "payment_method paid_out_of_band off_session")
def pay(account: Account, params: dict[str, Any], invoice: str) -> Object:
    """402 when the card fails: the attempt counts all the same, with its event, and its next date."""
    found = account.find("invoice", invoice)
    if found["status"] == "paid":
        raise invalid("Invoice is already paid", code="invoice_already_paid")
    if found["status"] in ("void", "uncollectible"):
        raise invalid(f"Invoices that are {found['status']} can't be paid.")
    if found["status"] == "draft":
        invoices.finalize(account, found)
    method = None
    if "payment_method" in params:
        method = account.find("payment_method", params["payment_method"], param="payment_method")
    subscription = account.store.get("subscription", subscription_of(found) or "")
    if params.get("paid_out_of_band"):
        invoices.mark_paid(account, found)
        if subscription is not None:
            lifecycle.after_payment(account, subscription, found)
    elif found["status"] == "open":
        if method is None and subscription is not None:
            method = invoices.payment_method_of(account, subscription)
        if method is None:
            raise invalid("There is no default_payment_method set on this Customer or Invoice.", code="invoice_payment")
        if (refusal := lifecycle.collect(account, found, method)) is not None:
            raise declined(refusal.code, refusal.decline_code, keeps_changes=True)
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
    subscription = account.store.get("subscription", subscription_of(found) or "")
    if subscription is not None and subscription["status"] != "incomplete":
        if status == "void" and subscription["status"] == "paused":
            account.store.edit(subscription).pop("_resumption", None)
        else:
            lifecycle.after_payment(account, subscription, found)
    return found


@route("GET", "/v1/invoices", "InvoiceListParams", f"{PAGING} created customer subscription status collection_method")
def list_all(account: Account, params: dict[str, Any]) -> Object:
    def keep(invoice: Object) -> bool:
        return (
            params.get("customer") in (None, invoice["customer"])
            and params.get("subscription") in (None, subscription_of(invoice))
            and params.get("status") in (None, invoice["status"])
            and params.get("collection_method") in (None, invoice["collection_method"])
        )

    documents = None
    for index in ("subscription", "customer"):
        if index in params:
            account.find(index, params[index], param=index)
            documents = account.store.where("invoice", index, params[index])
    return page(account, "invoice", params, "/v1/invoices", keep, documents=documents)


@route("GET", "/v1/invoices/{invoice}/lines", "InvoiceLineItemListParams", PAGING)
def list_lines(account: Account, params: dict[str, Any], invoice: str) -> Object:
    lines = list(reversed(account.find("invoice", invoice)["lines"]["data"]))  # shown in the order of the invoice
    return page(account, "line_item", params, f"/v1/invoices/{invoice}/lines", documents=lines)
