"""/v1/customers/{id}/balance_transactions: credit that is given by hand. Invoices use the balance up by themselves."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.errors import no_such
from localcloud.stripe.fields import merge_metadata
from localcloud.stripe.ids import new_id
from localcloud.stripe.lists import page
from localcloud.stripe.resources import customers
from localcloud.stripe.routing import PAGING, route
from localcloud.stripe.store import Object

KIND = "customer_balance_transaction"


@route(
    "POST",
    "/v1/customers/{customer}/balance_transactions",
    "CustomerBalanceTransactionCreateParams",
    "amount currency description metadata",
)
def create(account: Account, params: dict[str, Any], customer: str) -> Object:
    """A negative amount is credit that the next invoices use up."""
    found = customers.live(account, customer)
    with account.updating(found):
        found["balance"] += params["amount"]
    return account.store.add(
        {
            "id": new_id(KIND),
            "object": KIND,
            "amount": params["amount"],
            "created": account.now(found["test_clock"]),
            "credit_note": None,
            "currency": params["currency"],
            "customer": customer,
            "customer_account": None,
            "description": params.get("description"),
            "ending_balance": found["balance"],
            "invoice": None,
            "livemode": False,
            "metadata": merge_metadata({}, params.get("metadata")),
            "type": "adjustment",
        }
    )


@route(
    "GET",
    "/v1/customers/{customer}/balance_transactions/{transaction}",
    "CustomerBalanceTransactionRetrieveParams",
)
def retrieve(account: Account, params: dict[str, Any], customer: str, transaction: str) -> Object:
    found = account.find(KIND, transaction)
    if found["customer"] != customer:
        raise no_such(KIND, transaction)
    return found


@route("GET", "/v1/customers/{customer}/balance_transactions", "CustomerBalanceTransactionListParams", PAGING)
def list_all(account: Account, params: dict[str, Any], customer: str) -> Object:
    account.find("customer", customer)
    url = f"/v1/customers/{customer}/balance_transactions"
    return page(account, KIND, params, url, lambda found: bool(found["customer"] == customer))
