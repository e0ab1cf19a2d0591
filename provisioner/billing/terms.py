"""What a plan promises around its payments: trials, what an unpaid tenant keeps, and how its data ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from components.spec import Access


class WithoutPaymentMethod(StrEnum):
    """What a trial's end does when there is nothing to charge.

    https://docs.stripe.com/api/subscriptions/object#subscription_object-trial_settings-end_behavior
    """

    CANCEL = "cancel"
    PAUSE = "pause"
    CREATE_INVOICE = "create_invoice"


@dataclass(frozen=True)
class Trial:
    days: int = 0  #: 0: none
    requires_payment_method: bool = False
    without_payment_method: WithoutPaymentMethod = WithoutPaymentMethod.CANCEL


@dataclass(frozen=True)
class Dunning:
    """What an unpaid tenant keeps, by the time since its oldest open payment failed. None: the step is left out.

    Until the first step the access is ``grace``. ``hibernated_after`` counts for paused subscriptions too, from the
    pause on.
    """

    throttled_after: timedelta | None = timedelta(days=7)
    read_only_after: timedelta | None = timedelta(days=14)
    suspended_after: timedelta | None = timedelta(days=21)
    hibernated_after: timedelta | None = timedelta(days=30)

    def steps(self) -> Iterator[tuple[timedelta, Access]]:
        """(time since the failure, the access from then on), in order; the first is ``grace`` at 0."""
        yield timedelta(0), Access.GRACE
        for after, access in (
            (self.throttled_after, Access.THROTTLED),
            (self.read_only_after, Access.READ_ONLY),
            (self.suspended_after, Access.SUSPENDED),
            (self.hibernated_after, Access.HIBERNATED),
        ):
            if after is not None:
                yield after, access


class Deletion(StrEnum):
    """How the data of a tenant of the plan ends."""

    CRYPTO_SHRED = "crypto_shred"  #: the tenant's key is scheduled for deletion: its snapshots can't be read any more
    ARCHIVE = "archive"  #: an encrypted copy is kept under the archive key for ``archive_days``


@dataclass(frozen=True)
class Terms:
    trial: Trial = field(default_factory=Trial)
    dunning: Dunning = field(default_factory=Dunning)
    on_dispute: Access = Access.READ_ONLY  #: while a payment of the tenant is disputed
    on_dispute_lost: Access = Access.SUSPENDED  #: until a later payment succeeds
    on_refund: Access = Access.FULL  #: after the present period's payment was refunded in full
    asleep_after: timedelta | None = timedelta(days=1)  #: after the end of a subscription its own instance is stopped
    deletion: Deletion = Deletion.CRYPTO_SHRED
    archive_days: int = 365
    throttled_percent: int = 10  #: what is left of quotas and rates while throttled


DEFAULT_TERMS = Terms()


class PortalCancellation(StrEnum):
    """Whether and when a customer may end a subscription in Stripe's billing portal."""

    AT_PERIOD_END = "at_period_end"
    IMMEDIATELY = "immediately"
    OFF = "off"


@dataclass(frozen=True)
class Portal:
    """What customers find in Stripe's billing portal."""

    headline: str | None = None
    privacy_policy_url: str | None = None
    terms_of_service_url: str | None = None
    return_url: str | None = None  #: where its link back leads when a session names none
    cancellation: PortalCancellation = PortalCancellation.AT_PERIOD_END
    plan_changes: bool = True


DEFAULT_PORTAL = Portal()
