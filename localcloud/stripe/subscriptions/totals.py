"""The sums of an invoice: subtotal, discounts, taxes, the customer's balance, what is due."""

from __future__ import annotations

from localcloud.stripe.account import Account
from localcloud.stripe.store import Object
from localcloud.stripe.subscriptions import discounts, taxes


def compute(account: Account, invoice: Object) -> None:
    """Write every amount that follows from a draft's lines, its discounts, its customer's taxes and balance.

    A total below zero is nothing due: ``finalize`` gives it to the customer's balance, which later invoices use up.
    """
    customer = account.find("customer", invoice["customer"])
    lines = invoice["lines"]["data"]
    taken = discounts.apply(account, lines, invoice["discounts"])
    exclusive, inclusive = taxes.apply(account, invoice, customer)
    subtotal = sum(line["amount"] for line in lines)
    off = sum(taken.values())
    total = subtotal - off + exclusive
    due = max(0, total + customer["balance"])
    invoice.update(
        subtotal=subtotal,
        subtotal_excluding_tax=subtotal - inclusive,
        total=total,
        total_excluding_tax=total - exclusive - inclusive,
        total_discount_amounts=[{"amount": amount, "discount": name} for name, amount in taken.items()],
        total_pretax_credit_amounts=[
            {"amount": amount, "discount": name, "type": "discount"} for name, amount in taken.items()
        ],
        starting_balance=customer["balance"],
        amount_due=due,
        amount_remaining=due,
    )


def settle_balance(account: Account, invoice: Object, customer: Object) -> None:
    """At the finalization: what the balance gave to the invoice leaves it, what the invoice is below zero joins it."""
    ending = invoice["starting_balance"] + invoice["total"] - invoice["amount_due"]
    invoice["ending_balance"] = ending
    if ending != customer["balance"]:
        with account.updating(customer):
            customer["balance"] = ending


def return_balance(account: Account, invoice: Object) -> None:
    """An invoice that is voided gives back what it took from the balance."""
    taken = (invoice["ending_balance"] or 0) - invoice["starting_balance"]
    if invoice["ending_balance"] is not None and taken:
        customer = account.find("customer", invoice["customer"])
        with account.updating(customer):
            customer["balance"] -= taken
