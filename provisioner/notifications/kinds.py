"""Every message that there is, and how each behaves in time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Kind(StrEnum):
    WELCOME = "welcome"
    TRIAL_ENDING = "trial_ending"
    TRIAL_ENDED = "trial_ended"
    RENEWAL_UPCOMING = "renewal_upcoming"
    CARD_EXPIRING = "card_expiring"
    PAYMENT_FAILED = "payment_failed"
    PAYMENT_ACTION_REQUIRED = "payment_action_required"
    ACCESS_AHEAD = "access_ahead"
    ACCESS_CHANGED = "access_changed"
    RECOVERED = "recovered"
    CANCELLATION_SCHEDULED = "cancellation_scheduled"
    CANCELLED = "cancelled"
    DELETION_AHEAD = "deletion_ahead"
    DELETED = "deleted"
    USAGE = "usage"
    EXPORT_READY = "export_ready"
    TEST = "test"


@dataclass(frozen=True)
class Traits:
    """``reminder``: it comes before a date, so that a weekend moves it forward, to the last working day before; any
    other one waits for the next. ``conditional``: it is withdrawn, unless it was sent, when its cause is gone.
    ``any_time``: nights and weekends hold it up only if the policy says so. ``valid``: how long after its time a late
    one is still sent."""

    says: str
    reminder: bool = False
    conditional: bool = True
    any_time: bool = False
    valid: timedelta = timedelta(days=4)
    days_before: tuple[int, ...] = ()


TRAITS: dict[Kind, Traits] = {
    Kind.WELCOME: Traits("the tenant is ready for the first time", conditional=False, any_time=True),
    Kind.TRIAL_ENDING: Traits("the trial ends, and what then", reminder=True, days_before=(7, 1)),
    Kind.TRIAL_ENDED: Traits("the trial has ended, with or without a payment method"),
    Kind.RENEWAL_UPCOMING: Traits("the next period will be charged", reminder=True, days_before=(14,)),
    Kind.CARD_EXPIRING: Traits("the card expires before the next payment", reminder=True, days_before=(30, 7)),
    Kind.PAYMENT_FAILED: Traits("an attempt to collect a payment failed, and when the next one is"),
    Kind.PAYMENT_ACTION_REQUIRED: Traits("the bank wants the customer to confirm a payment"),
    Kind.ACCESS_AHEAD: Traits("what will be taken away unless a payment arrives", reminder=True, days_before=(3,)),
    Kind.ACCESS_CHANGED: Traits("what was taken away"),
    Kind.RECOVERED: Traits("the payment arrived, and everything is back"),
    Kind.CANCELLATION_SCHEDULED: Traits("the subscription will end, and when"),
    Kind.CANCELLED: Traits("the subscription has ended, and how long the data is kept", valid=timedelta(days=7)),
    Kind.DELETION_AHEAD: Traits("the data will be deleted", reminder=True, days_before=(14, 3)),
    Kind.DELETED: Traits("the data was deleted", conditional=False, valid=timedelta(days=14)),
    Kind.USAGE: Traits("a meter or a limit has reached a share of what is included", conditional=False),
    Kind.EXPORT_READY: Traits("an export of the data can be fetched", conditional=False, any_time=True),
    Kind.TEST: Traits("`tenantry notifications test`: that mail arrives at all", conditional=False, any_time=True),
}
