"""When a subscription or an invoice asks for something next, and for what. Pure: it reads the document alone."""

from __future__ import annotations

from localcloud.stripe.store import Object

HOUR = 3600
DAY = 86400
TRIAL_NOTICE_S = 3 * DAY
#: days before a renewal that `invoice.upcoming` announces it; 0: never
DEFAULT_UPCOMING_DAYS = 7
SCHEDULE_NOTICE_S = 7 * DAY
FIRST_PAYMENT_S = 23 * HOUR
ENDED = ("canceled", "incomplete_expired")

#: (Unix seconds, the name of the step; see ``subscriptions.schedule.STEPS``)
Due = tuple[int, str]


def next_due(document: Object) -> Due | None:
    """The earliest step that a document waits for; None when it waits for nothing."""
    steps = _STEPS[document["object"]](document)
    return min(steps, key=lambda step: step[0], default=None)


def _of_invoice(invoice: Object) -> list[Due]:
    steps: list[Due] = []
    if invoice["status"] == "draft" and invoice["automatically_finalizes_at"] is not None:
        steps.append((invoice["automatically_finalizes_at"], "finalize"))
    elif invoice["status"] == "open":
        if invoice.get("_expires_at") is not None:
            steps.append((invoice["_expires_at"], "expire_resumption"))
        if invoice["next_payment_attempt"] is not None:
            steps.append((invoice["next_payment_attempt"], "retry"))
    return steps


def _of_subscription(subscription: Object) -> list[Due]:
    status = subscription["status"]
    if status in ENDED:
        return []
    steps: list[Due] = []
    if subscription["cancel_at"] is not None and not subscription["cancel_at_period_end"]:
        steps.append((subscription["cancel_at"], "cancel"))
    collection = subscription["pause_collection"]
    if collection and collection["resumes_at"] is not None:
        steps.append((collection["resumes_at"], "resume_collection"))
    end = min(item["current_period_end"] for item in subscription["items"]["data"])
    lead = subscription.get("_upcoming_lead", 0)
    if (
        lead
        and status in ("trialing", "active", "past_due")
        and not subscription["cancel_at_period_end"]
        and subscription.get("_upcoming_told") != end
        and min(item["current_period_start"] for item in subscription["items"]["data"]) < end - lead
    ):
        steps.append((end - lead, "upcoming"))
    if status == "trialing":
        if not subscription.get("_trial_noticed"):
            steps.append((subscription["trial_end"] - TRIAL_NOTICE_S, "trial_notice"))
        steps.append((subscription["trial_end"], "end_trial"))
    elif status == "incomplete":
        steps.append((subscription["created"] + FIRST_PAYMENT_S, "expire_first_payment"))
    elif status in ("active", "past_due", "unpaid"):
        steps.append((end, "renew"))
    return steps


def _of_schedule(schedule: Object) -> list[Due]:
    if schedule["status"] == "not_started":
        return [(schedule["phases"][0]["start_date"], "begin_schedule")]
    if schedule["status"] != "active":
        return []
    last = schedule["phases"][-1]["end_date"]
    steps: list[Due] = [(schedule["current_phase"]["end_date"], "next_phase")]
    if schedule.get("_expiry_told") != last:
        steps.append((last - SCHEDULE_NOTICE_S, "schedule_notice"))
    return steps


def _of_checkout(session: Object) -> list[Due]:
    return [(session["expires_at"], "expire_checkout")] if session["status"] == "open" else []


_STEPS = {
    "checkout.session": _of_checkout,
    "invoice": _of_invoice,
    "subscription": _of_subscription,
    "subscription_schedule": _of_schedule,
}
