"""Moving time: each step happens at its own moment, in order, as if the time had passed. ``due`` says what is when."""

from __future__ import annotations

from collections.abc import Callable

from localcloud.stripe.account import Account
from localcloud.stripe.store import Object
from localcloud.stripe.subscriptions import checkouts, lifecycle, phases, previews
from localcloud.stripe.subscriptions.cancellation import cancel_now

MAX_STEPS = 100_000


def _trial_notice(account: Account, subscription: Object) -> None:
    account.store.edit(subscription)["_trial_noticed"] = True
    account.emit("customer.subscription.trial_will_end", subscription)


def _resume_collection(account: Account, subscription: Object) -> None:
    with account.updating(subscription, lifecycle.UPDATED):
        subscription["pause_collection"] = None


def _upcoming(account: Account, subscription: Object) -> None:
    end = min(item["current_period_end"] for item in subscription["items"]["data"])
    invoice = previews.upcoming(account, subscription)
    account.store.edit(subscription)["_upcoming_told"] = end
    if invoice is not None:
        account.emit("invoice.upcoming", invoice, test_clock=subscription["test_clock"])


def _retry(account: Account, invoice: Object) -> None:
    lifecycle.collect(account, invoice)


#: The steps that ``due`` names. Each changes its document so that it waits for the step no longer.
STEPS: dict[str, Callable[[Account, Object], None]] = {
    "cancel": cancel_now,
    "end_trial": lifecycle.end_trial,
    "expire_checkout": checkouts.expire,
    "expire_first_payment": lifecycle.expire_first_payment,
    "expire_resumption": lifecycle.expire_resumption,
    "finalize": lifecycle.finalize_due,
    "renew": lifecycle.renew,
    "resume_collection": _resume_collection,
    "retry": _retry,
    "trial_notice": _trial_notice,
    "upcoming": _upcoming,
    "begin_schedule": phases.begin,
    "next_phase": phases.advance,
    "schedule_notice": phases.give_notice,
}


def run_due(
    account: Account, clock: str | None, until: int, move: Callable[[int], None], *, limit: int = MAX_STEPS
) -> int:
    """Perform the steps up to ``until``, ``limit`` at most; ``move`` sets the clock to a step's moment before it.

    Returns how many were performed: ``limit`` when more may be due.
    """
    for count in range(limit):
        entry = account.agenda.next(clock)
        if entry is None or entry.at > until:
            return count
        move(entry.at)
        STEPS[entry.name](account, entry.document)
    return limit


def run_clock(account: Account, clock: Object, until: int) -> None:
    """Move a test clock to ``until``, through everything that is due on it."""

    def move(moment: int) -> None:
        account.store.edit(clock)["frozen_time"] = max(clock["frozen_time"], moment)

    if run_due(account, clock["id"], until, move) == MAX_STEPS:
        raise RuntimeError(f"more than {MAX_STEPS} billing steps before {until}: move the clock in smaller parts")
    move(until)


def advance_account(account: Account, target: int, *, limit: int = MAX_STEPS) -> int:
    """Move the account's own time towards ``target`` (Unix seconds), through at most ``limit`` billing steps.

    Returns how many that took; fewer than ``limit``: the time is ``target``.
    """

    def move(moment: int) -> None:
        behind = moment - account.now()
        if behind > 0:
            account.set_setting("clock_offset", int(account.setting("clock_offset", 0)) + behind)

    count = run_due(account, None, target, move, limit=limit)
    if count < limit:
        move(target)
    return count


def tick(account: Account, *, limit: int = MAX_STEPS) -> int:
    """Perform what the wall's time has made due, each step as of its own moment but never before the last tick's.

    Returns how many steps that took, ``limit`` when more may be due.
    """
    until = account.now()
    for count in range(limit):
        entry = account.agenda.next(None)
        if entry is None or entry.at > until:
            account.ticked_at = until
            return count
        account.ticked_at = max(account.ticked_at, entry.at)
        with account.as_of(account.ticked_at):
            STEPS[entry.name](account, entry.document)
    return limit
