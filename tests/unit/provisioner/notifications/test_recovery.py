"""Episodes of overdue payments: opened once, only ever further, closed as recovered or lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from components.spec import Access
from provisioner.notifications.facts import Facts, Invoice, Money, Recipient, Subscription
from provisioner.notifications.recovery import LOST, RECOVERED, Change, change, tabulated
from provisioner.registry.dunning import EpisodeRecord

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def facts(status: str = "past_due", access: Access = Access.GRACE, *, owed: int = 1, **changes: Any) -> Facts:
    subscription = Subscription("sub_1", status, "month", NOW + 30 * DAY, ended_at=changes.pop("ended_at", None))
    invoices = tuple(
        Invoice(f"in_{index}", "sub_1", NOW - (5 - index) * DAY, Money(1000, "eur"), 1) for index in range(owed)
    )
    standard = Facts(
        "acme", 1, Recipient(), "Team", access, access_since=NOW - DAY, subscription=subscription, invoices=invoices
    )
    return replace(standard, **changes)


def applied(current: EpisodeRecord | None, changed: Change) -> EpisodeRecord | None:
    """As the registry does it."""
    if current is not None and changed.close is not None:
        current = None
    if current is not None and changed.update is not None:
        return replace(current, **changed.update)
    if changed.open is not None:
        return EpisodeRecord(1, "acme", 1, last_kind=None, closed_at=None, outcome=None, **changed.open)
    return current


def test_an_episode_goes_from_the_first_failure_to_the_payment() -> None:
    first = change(None, facts(), NOW)
    assert first.open is not None
    assert (first.open["opened_at"], first.open["amount"], first.open["step"]) == (NOW - 5 * DAY, 1000, "grace")
    current = applied(None, first)
    assert change(current, facts(), NOW) == Change()  # nothing new
    current = applied(current, change(current, facts(access=Access.READ_ONLY, owed=2), NOW))
    assert current is not None
    assert (current.step, current.amount, [step["access"] for step in current.steps]) == (
        "read_only", 2000, ["grace", "read_only"],
    )  # fmt: skip
    # a look that comes after the payment still knows how far it went
    done = change(current, facts("active", Access.FULL, owed=0), NOW).close
    assert done is not None
    assert (done["outcome"], done["step"], done["closed_at"]) == (RECOVERED, "read_only", NOW)


def test_a_subscription_that_ends_unpaid_is_lost_when_it_ended() -> None:
    current = applied(None, change(None, facts(), NOW))
    ended = change(current, facts("canceled", Access.RETAINED, ended_at=NOW - DAY), NOW).close
    assert ended is not None
    assert (ended["outcome"], ended["closed_at"]) == (LOST, NOW - DAY)
    gone = change(current, replace(facts(), subscription=None), NOW).close
    assert gone is not None
    assert gone["outcome"] == LOST


def test_another_subscription_begins_another_episode() -> None:
    current = applied(None, change(None, facts(), NOW))
    assert current is not None
    changed = change(replace(current, subscription_id="sub_0"), facts(), NOW)
    assert changed.close is not None
    assert changed.open is not None
    assert changed.close["outcome"] == LOST


def test_who_has_never_paid_has_nothing_to_come_back_to() -> None:
    assert change(None, facts("incomplete", Access.SUSPENDED), NOW) == Change()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["past_due", "unpaid", "active", "canceled"]),
            st.sampled_from(list(Access)),
            st.integers(0, 3),
        ),
        max_size=12,
    )
)
def test_an_open_episode_never_goes_back(looks: list[tuple[str, Access, int]]) -> None:
    order = ["grace", "throttled", "read_only", "suspended", "hibernated"]
    current: EpisodeRecord | None = None
    for status, access, owed in looks:
        before = current
        current = applied(before, change(before, facts(status, access, owed=owed), NOW))
        if before is not None and current is not None:
            assert order.index(current.step) >= order.index(before.step)
            assert current.attempts >= before.attempts
            assert current.amount >= before.amount
        if current is not None:
            assert len({step["access"] for step in current.steps}) == len(current.steps)


def test_a_rate_leaves_open_episodes_out() -> None:
    def row(step: str, recovered: int, lost: int, still: int) -> dict[str, Any]:
        return {"step": step, "episodes": 0, "recovered": recovered, "lost": lost, "open": still, "median_days": None}

    found = tabulated({"by_step": [row("suspended", 0, 0, 2), row("grace", 3, 1, 7)]})
    assert [(each["step"], each["rate"]) for each in found["by_step"]] == [("grace", 0.75), ("suspended", None)]
