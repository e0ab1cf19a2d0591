"""Windows and shares: never more than the amount, whoever asks whenever; and a refusal says when to come again."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry import LocalRateLimiter, Rate, RateLimited, RateStoreUnavailable, SharedRateLimiter
from tenantry.rates import SHARE, Share, Taken, Wanted, Window

STEPS = st.lists(st.tuples(st.floats(0, 25), st.integers(0, 6)), min_size=1, max_size=120)


@given(STEPS, st.integers(0, 20), st.integers(1, 20))
def test_no_aligned_window_sees_more_than_the_amount_and_a_sliding_one_its_weighted_share(
    steps: list[tuple[float, int]], amount: int, seconds: int
) -> None:
    rate, window, now = Rate("api", amount, seconds), Window(), 1_000_000.0
    taken: Counter[int] = Counter()
    for passed, wanted in steps:
        now += passed
        answer = window.take(rate, wanted, now)
        number = int(now // seconds)
        before = taken[number - 1] * (1 - now / seconds % 1)
        # the oracle: as much as is left beside what counts of the window before, and not one more
        left = max(0, math.floor(amount - taken[number] - before + 1e-9))
        assert abs(answer.granted - min(wanted, left)) <= (
            1 if math.isclose(left, amount - taken[number] - before) else 0
        )
        taken[number] += answer.granted
        assert taken[number] <= amount
        assert 0 <= answer.remaining <= amount
        assert 0 <= answer.ends_in <= seconds


@given(STEPS, st.integers(1, 20), st.integers(1, 20))
def test_whoever_comes_again_when_told_is_let_through(
    steps: list[tuple[float, int]], amount: int, seconds: int
) -> None:
    rate, window, now = Rate("api", amount, seconds), Window(), 1_000_000.0
    for passed, wanted in steps:
        now += passed
        answer = window.take(rate, wanted, now)
        if answer.remaining:
            assert answer.free_in == 0
        else:
            assert 0 <= answer.free_in <= 2 * seconds
            again = Window()
            again.number, again.seconds, again.taken, again.before = (
                window.number,
                window.seconds,
                window.taken,
                window.before,
            )
            assert again.take(rate, 1, now + answer.free_in + 1e-6 * seconds).granted == 1


def test_a_change_of_plan_is_no_way_to_more_calls() -> None:
    window = Window()
    assert window.take(Rate("api", 10, 60), 10, 600.0).granted == 10
    assert window.take(Rate("api", 10, 30), 10, 601.0).granted == 0
    assert window.take(Rate("api", 20, 60), 20, 602.0).granted <= 20 - 9


def test_a_clock_that_goes_back_begins_no_new_window() -> None:
    rate, window = Rate("api", 5, 60), Window()
    assert window.take(rate, 5, 1200.0).granted == 5
    assert window.take(rate, 5, 1100.0).granted == 0


class Wall:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_call_that_one_rate_refuses_takes_nothing_of_the_others() -> None:
    wall = Wall()
    limiter = LocalRateLimiter(wall=wall)
    many, few = Rate("many", 100, 60), Rate("few", 1, 60)
    assert not limiter.take("acme", [many, few]).refused
    refused = limiter.take("acme", [many, few])
    assert [state.rate.name for state in refused.refused] == ["few"]
    with pytest.raises(RateLimited, match="try again in") as caught:
        refused.require()
    assert caught.value.retry_after > 0
    assert limiter.take("acme", [many]).states[0].remaining == 98
    assert not limiter.take("globex", [few]).refused, "another tenant's calls are its own"


def test_a_soft_rate_reports_and_lets_through() -> None:
    limiter = LocalRateLimiter(wall=Wall())
    soft = Rate("api", 1, 60, soft=True)
    assert not limiter.take("acme", [soft]).reported
    verdict = limiter.take("acme", [soft])
    assert [state.rate for state in verdict.reported] == [soft]
    assert verdict.refused == ()
    verdict.require()


def test_threads_share_one_count() -> None:
    limiter, rate = LocalRateLimiter(wall=Wall()), Rate("api", 500, 3600)
    let_through = []

    def run() -> None:
        let_through.append(sum(not limiter.take("acme", [rate]).refused for _ in range(300)))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(let_through) == 500


def test_memory_is_bounded_by_the_number_of_tenants() -> None:
    limiter = LocalRateLimiter(max_tenants=10, wall=Wall())
    for number in range(1000):
        limiter.take(f"t{number}", [Rate("api", 5, 60)])
    assert len(limiter._windows) == 10


class FakeStore:
    """What processes share, in one; its clock is the limiters'."""

    failures: tuple[type[Exception], ...] = (ConnectionError,)

    def __init__(self, clock: Wall) -> None:
        self.clock = clock
        self.windows: dict[tuple[str, str], Window] = {}
        self.asked = 0
        self.up = True
        self.hangs = False

    async def take(self, tenant_id: str, wanted: Sequence[Wanted]) -> Sequence[Taken]:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if not self.up:
            raise ConnectionError
        await asyncio.sleep(0)
        return [
            self.windows.setdefault((tenant_id, each.rate.name), Window()).take(each.rate, each.calls, self.clock.now)
            for each in wanted
        ]

    async def close(self) -> None:
        pass


def limiters(store: FakeStore, count: int, **options: Any) -> list[SharedRateLimiter]:
    return [SharedRateLimiter(store, clock=store.clock, wall=store.clock, **options) for _ in range(count)]


@given(
    st.integers(0, 300),
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 3), st.floats(0, 9), st.integers(1, 3), st.integers(1, 20)), max_size=60),
)
def test_processes_that_share_a_store_never_let_more_through_than_the_amount(
    amount: int, processes: int, steps: list[tuple[int, float, int, int]]
) -> None:
    async def run() -> None:
        wall = Wall()
        store = FakeStore(wall)
        group = limiters(store, processes)
        rate = Rate("api", amount, 10)
        through: Counter[int] = Counter()
        for index, passed, calls, at_once in steps:
            wall.now += passed
            limiter = group[index % processes]
            verdicts = await asyncio.gather(*(limiter.take("acme", [rate], calls) for _ in range(at_once)))
            through[int(wall.now // 10)] += sum(calls for verdict in verdicts if not verdict.refused)
            assert not any(verdict.degraded for verdict in verdicts)
        assert all(count <= amount for count in through.values()), through
        for limiter in group:
            await limiter.close()

    asyncio.run(run())


def test_one_process_gets_all_but_its_last_share() -> None:
    async def run() -> None:
        store = FakeStore(Wall())
        (limiter,) = limiters(store, 1)
        rate = Rate("api", 1000, 60)
        through = 0
        for _ in range(1100):
            through += not (await limiter.take("acme", [rate])).refused
        assert through == 1000
        assert store.asked < 100, "it is asked for shares, not for calls"
        await limiter.close()

    asyncio.run(run())


def test_what_others_hold_unspent_is_all_that_is_refused_early() -> None:
    async def run() -> None:
        store = FakeStore(Wall())
        group = limiters(store, 4)
        rate = Rate("api", 1000, 60)
        through = 0
        for turn in range(4000):
            through += not (await group[turn % 4].take("acme", [rate])).refused
        assert 1000 - 3 * 1000 * SHARE <= through <= 1000
        for limiter in group:
            await limiter.close()

    asyncio.run(run())


@pytest.mark.parametrize("hangs", [True, False], ids=["hangs", "refuses"])
def test_while_the_store_is_silent_each_process_counts_for_itself(hangs: bool) -> None:
    async def run() -> None:
        wall = Wall()
        store = FakeStore(wall)
        store.up, store.hangs = hangs, hangs
        (limiter,) = limiters(store, 1, timeout=0.01)
        rate = Rate("api", 3, 60)
        verdicts = [await limiter.take("acme", [rate]) for _ in range(5)]
        assert [bool(verdict.refused) for verdict in verdicts] == [False] * 3 + [True] * 2
        assert all(verdict.degraded for verdict in verdicts)
        assert store.asked == 1, "a dead store is not asked for every call"
        store.up, store.hangs = True, False
        wall.now += 2
        assert not (await limiter.take("acme", [rate])).degraded
        assert limiter.failing_since is None
        await limiter.close()

    asyncio.run(run())


def test_a_limiter_that_fails_closed_says_so() -> None:
    async def run() -> None:
        store = FakeStore(Wall())
        store.up = False
        (limiter,) = limiters(store, 1, fail_open=False)
        for _ in range(2):
            with pytest.raises(RateStoreUnavailable):
                await limiter.take("acme", [Rate("api", 3, 60)])
        await limiter.close()

    asyncio.run(run())


def test_a_raised_limit_counts_at_once() -> None:
    async def run() -> None:
        store = FakeStore(Wall())
        (limiter,) = limiters(store, 1)
        for _ in range(5):
            await limiter.take("acme", [Rate("api", 2, 60)])
        assert (await limiter.take("acme", [Rate("api", 2, 60)])).refused
        assert not (await limiter.take("acme", [Rate("api", 10, 60)])).refused
        await limiter.close()

    asyncio.run(run())


def test_a_share_is_never_spent_after_its_window() -> None:
    share, rate = Share(Rate("api", 100, 10)), Rate("api", 100, 10)
    share.fit(rate, 0.0)
    share.add(Wanted(rate, 5), Taken(5, 95, ends_in=2.0, free_in=0.0), asked_at=1.0, now=1.5)
    share.fit(rate, 2.9)
    assert share.tokens == 5
    share.fit(rate, 3.0)
    assert share.tokens == 0
    share.add(Wanted(rate, 5), Taken(5, 95, ends_in=0.1, free_in=0.0), asked_at=3.0, now=3.2)
    assert share.tokens == 0, "it came too late"
