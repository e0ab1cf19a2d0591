"""What is due when, and moving time: each step happens at its own moment, in order, as if the time had passed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from localcloud.stripe.account import Account
from localcloud.stripe.store import Object
from localcloud.stripe.subscriptions import lifecycle
from localcloud.stripe.subscriptions.cancellation import ENDED, cancel_now

MAX_STEPS = 100_000


@dataclass(frozen=True)
class Step:
    at: int
    perform: Callable[[], None]


def next_step(account: Account, clock: str | None) -> Step | None:
    """The earliest step that something on this clock (None: the account's own time) waits for."""
    steps: list[Step] = []
    for invoice in account.store.all("invoice"):
        if invoice["test_clock"] == clock:
            steps += _invoice_steps(account, invoice)
    for subscription in account.store.all("subscription"):
        if subscription["test_clock"] == clock and subscription["status"] not in ENDED:
            steps += _subscription_steps(account, subscription)
    return min(steps, key=lambda step: step.at, default=None)


def _invoice_steps(account: Account, invoice: Object) -> list[Step]:
    if invoice["status"] == "draft" and invoice["automatically_finalizes_at"] is not None:
        return [Step(invoice["automatically_finalizes_at"], lambda: lifecycle.finalize_due(account, invoice))]
    if invoice["status"] == "open" and invoice["next_payment_attempt"] is not None:
        return [Step(invoice["next_payment_attempt"], lambda: _retry(account, invoice))]
    return []


def _retry(account: Account, invoice: Object) -> None:
    lifecycle.collect(account, invoice)


def _subscription_steps(account: Account, subscription: Object) -> list[Step]:
    steps = []
    status = subscription["status"]
    if subscription["cancel_at"] is not None and not subscription["cancel_at_period_end"]:
        steps.append(Step(subscription["cancel_at"], lambda: cancel_now(account, subscription)))
    collection = subscription["pause_collection"]
    if collection and collection["resumes_at"] is not None:
        steps.append(Step(collection["resumes_at"], lambda: _resume_collection(account, subscription)))
    if status == "trialing":
        if not account.store.get("_trial_notice", subscription["id"]):
            notice = subscription["trial_end"] - lifecycle.TRIAL_NOTICE_S
            steps.append(Step(notice, lambda: _trial_notice(account, subscription)))
        steps.append(Step(subscription["trial_end"], lambda: lifecycle.end_trial(account, subscription)))
    elif status == "incomplete":
        expiry = subscription["created"] + lifecycle.FIRST_PAYMENT_S
        steps.append(Step(expiry, lambda: lifecycle.expire_first_payment(account, subscription)))
    elif status in ("active", "past_due", "unpaid"):
        end = min(item["current_period_end"] for item in subscription["items"]["data"])
        steps.append(Step(end, lambda: lifecycle.renew(account, subscription)))
    return steps


def _trial_notice(account: Account, subscription: Object) -> None:
    account.store.add({"object": "_trial_notice", "id": subscription["id"]})
    account.emit("customer.subscription.trial_will_end", subscription)


def _resume_collection(account: Account, subscription: Object) -> None:
    with account.updating(subscription, lifecycle.UPDATED):
        subscription["pause_collection"] = None


def run_due(account: Account, clock: str | None, until: int, move: Callable[[int], None]) -> int:
    """Perform every step up to ``until``; ``move`` sets the clock to a step's moment before it. Returns how many."""
    for count in range(MAX_STEPS):
        step = next_step(account, clock)
        if step is None or step.at > until:
            return count
        move(step.at)
        step.perform()
    raise RuntimeError(f"more than {MAX_STEPS} billing steps before {until}: move the clock in smaller parts")


def advance_account(account: Account, seconds: int) -> int:
    """Move the account's own time; returns how many billing steps that took."""
    start = account.now()
    target = start + seconds

    def move(moment: int) -> None:
        behind = moment - account.now()
        if behind > 0:
            account.set_setting("clock_offset", int(account.setting("clock_offset", 0)) + behind)

    count = run_due(account, None, target, move)
    move(target)
    return count


def tick(account: Account) -> int:
    """Perform what real time has made due."""
    return run_due(account, None, account.now(), lambda _: None)
