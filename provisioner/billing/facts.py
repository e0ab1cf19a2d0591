"""What a decision saw of Stripe, as JSON beside the tenant: for people, messages and the sweep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from provisioner.billing.history import OpenInvoice, PaymentHistory
from provisioner.billing.verdict import Verdict


def billing_facts(verdict: Verdict, history: PaymentHistory) -> dict[str, Any]:
    """Times are Unix seconds; what is absent is left out. No personal data."""
    facts: dict[str, Any] = {"reason": verdict.reason.value}
    state = verdict.subscription
    if state is not None:
        facts |= {
            "subscription": state.subscription_id,
            "status": state.status.value,
            "plan": state.plan,
            "created": state.created,
            "period_start": state.period_start,
            "period_end": state.current_period_end,
            "trial_end": state.trial_end,
            "cancel_at": state.cancel_at,
            "canceled_at": state.canceled_at,
            "ended_at": state.ended_at,
            "prices": [item.lookup_key or item.price_id for item in state.items],
        }
    facts |= {
        "since": verdict.since,
        "next_change_at": verdict.next_change_at,
        "retain_until": verdict.retain_until,
        "open_invoices": [
            {
                "invoice": each.invoice_id,
                "subscription": each.subscription_id,
                "owed_since": each.owed_since,
                "next_attempt_at": each.next_attempt_at,
                "attempts": each.attempts,
            }
            for each in sorted(history.open_invoices, key=lambda each: each.invoice_id)
        ],
        "last_paid_at": dict(history.last_paid_at),
        "refused_trials": sorted(history.refused_trials),
    }
    return {name: value for name, value in facts.items() if value not in (None, "", [], {})}


def remembered(facts: Mapping[str, Any]) -> PaymentHistory:
    """The part of the history that ``billing_facts`` wrote down: disputes and refunds have rows of their own."""
    return PaymentHistory(
        open_invoices=tuple(
            OpenInvoice(
                each["invoice"], each["subscription"], each["owed_since"], each["next_attempt_at"], each["attempts"]
            )
            for each in facts.get("open_invoices", ())
        ),
        last_paid_at=tuple(sorted(facts.get("last_paid_at", {}).items())),
        refused_trials=frozenset(facts.get("refused_trials", ())),
    )
