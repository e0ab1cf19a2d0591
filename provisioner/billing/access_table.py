"""The table of access in ``docs/lifecycle.md``: situations, judged by ``verdict.judge`` at the moments that matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from components.spec import Access
from components.tiers import Tier
from provisioner.billing.catalogue import Catalogue, Plan
from provisioner.billing.history import (
    NO_HISTORY,
    Dispute,
    DisputeStatus,
    OpenInvoice,
    PaymentHistory,
    Refund,
)
from provisioner.billing.translate import CollectionPause, SubscriptionState, SubscriptionStatus
from provisioner.billing.verdict import DAY, judge

#: When every situation begins, Unix seconds.
BEGAN = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
RETENTION_DAYS = 60
PLAN = Plan("team", "Team", Tier.BRIDGE, (), (), {}, RETENTION_DAYS, 20, None)
CATALOGUE = Catalogue("plans.toml", {"team": PLAN})
#: Days after the beginning: a step down of the default terms lies at the beginning of each.
DAYS = (0, 7, 14, 21, 30, RETENTION_DAYS)

MEANING: dict[Access, str] = {
    Access.FULL: "everything that the plan entitles to",
    Access.GRACE: "as full; the SDK says that a payment is overdue",
    Access.THROTTLED: "as full; quotas and rates are cut to the plan's `throttled_percent`",
    Access.READ_ONLY: "as throttled; database and bucket refuse the tenant's writes, and the SDK's `TenantReadOnly` "
    "says why",
    Access.SUSPENDED: "logins are closed, the pool, the broker and the AWS role refuse; data is untouched",
    Access.HIBERNATED: "as suspended; an instance of the tenant's own is stopped",
    Access.RETAINED: "as suspended, an own instance is stopped after `asleep_after`; data is kept for the plan's days",
    Access.DELETED: "a final export is made, the stack is destroyed, a certificate says what is left",
}


@dataclass(frozen=True)
class Situation:
    """Something that begins at ``BEGAN`` and lasts."""

    name: str
    subscriptions: tuple[SubscriptionState, ...]
    history: PaymentHistory = NO_HISTORY

    def access(self, days: int) -> Access:
        now = datetime.fromtimestamp(BEGAN, UTC) + timedelta(days=days)
        return judge(self.subscriptions, self.history, CATALOGUE, now).access


def subscription(status: SubscriptionStatus, **changes: object) -> SubscriptionState:
    """Of plan ``PLAN``, a month old when the situation begins."""
    state = SubscriptionState(
        subscription_id="sub_1",
        customer_id="cus_1",
        tenant_id="acme",
        status=status,
        plan=PLAN.name,
        items=(),
        created=BEGAN - 30 * DAY,
        current_period_end=BEGAN + 30 * DAY,
        cancel_at=None,
        cancel_at_period_end=False,
        canceled_at=None,
        ended_at=BEGAN if status.ended else None,
        trial_end=None,
        collection_paused=None,
        livemode=False,
        period_start=BEGAN,
    )
    return replace(state, **changes)  # type: ignore[arg-type]


def situations() -> Sequence[Situation]:
    status = SubscriptionStatus
    active = subscription(status.ACTIVE)
    owed = PaymentHistory(open_invoices=(OpenInvoice("in_1", "sub_1", BEGAN, BEGAN + 3 * DAY, 1),))

    def disputed(what: DisputeStatus) -> PaymentHistory:
        return PaymentHistory(disputes=(Dispute("du_1", what, BEGAN, "sub_1"),))

    lost = disputed(DisputeStatus.LOST)
    refund = Refund("ch_1", BEGAN, "sub_1", BEGAN + 30 * DAY)
    return (
        Situation("`trialing`", (subscription(status.TRIALING, trial_end=BEGAN + 90 * DAY),)),
        Situation(
            "`trialing`, and the customer or its domain has had a trial",
            (subscription(status.TRIALING, trial_end=BEGAN + 90 * DAY),),
            PaymentHistory(refused_trials=frozenset({"sub_1"})),
        ),
        Situation("`active`", (active,)),
        Situation("`active`, a coupon of 100 %: nothing is charged", (active,)),
        Situation("`active`, cancelled at the period's end", (replace(active, cancel_at=BEGAN + 90 * DAY),)),
        *(
            Situation(f"`active`, `pause_collection` {pause}", (replace(active, collection_paused=pause),))
            for pause in CollectionPause
        ),
        *(Situation(f"`active`, a dispute {what}", (active,), disputed(what)) for what in DisputeStatus),
        Situation(
            "`active`, a dispute lost, and a later invoice paid",
            (active,),
            replace(lost, last_paid_at=(("sub_1", BEGAN + 1),)),
        ),
        Situation("`active`, the period's payment refunded in full", (active,), PaymentHistory(refunds=(refund,))),
        Situation("`past_due`: Stripe retries", (subscription(status.PAST_DUE),), owed),
        Situation("`unpaid`: Stripe has given up", (subscription(status.UNPAID),), owed),
        Situation("`paused`: a trial ended without a payment method", (subscription(status.PAUSED, trial_end=BEGAN),)),
        Situation("`incomplete`: the first payment is open", (subscription(status.INCOMPLETE),)),
        Situation("`incomplete_expired`", (subscription(status.INCOMPLETE_EXPIRED),)),
        Situation(f"`canceled`, with {RETENTION_DAYS} days of retention", (subscription(status.CANCELED),)),
        Situation(
            "`unpaid`, and another subscription `active`",
            (subscription(status.UNPAID), replace(active, subscription_id="sub_2")),
            owed,
        ),
        Situation(
            "`canceled`, and another subscription `past_due`",
            (subscription(status.CANCELED, subscription_id="sub_0"), subscription(status.PAST_DUE)),
            owed,
        ),
        Situation("no subscription", ()),
    )


def as_lines() -> list[str]:
    """Markdown: what each access is, and which one a situation gives."""
    lines = ["| access | what it is |", "|---|---|"]
    lines += [f"| `{access}` | {MEANING[access]} |" for access in Access]
    lines += ["", "| situation | " + " | ".join(_heading(days) for days in DAYS) + " |"]
    lines.append("|---" * (len(DAYS) + 1) + "|")
    for each in situations():
        lines.append(f"| {each.name} | " + " | ".join(f"`{each.access(days)}`" for days in DAYS) + " |")
    return lines


def _heading(days: int) -> str:
    return f"day {days}"
