"""How much the cache of placements trusts itself."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenantry.placement import TENANT_ID, Placement, PlacementCache, Trust
from tests.unit.tenantry.placements import placement


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> PlacementCache:
    return PlacementCache(ttl=30, unknown_ttl=2, max_staleness=900, size=3, clock=clock)


def put(cache: PlacementCache, tenant: str, found: Placement | None) -> None:
    cache.put(cache.ticket(tenant), found)


def test_an_answer_is_fresh_then_stale_then_nothing(cache: PlacementCache, clock: Clock) -> None:
    acme = placement()
    assert cache.get("acme") == (Trust.NONE, None)
    put(cache, "acme", acme)
    for age, expected in ((0, Trust.FRESH), (29.9, Trust.FRESH), (30, Trust.STALE), (899, Trust.STALE)):
        clock.now = 1000.0 + age
        assert cache.get("acme") == (expected, acme)
    clock.now = 1900.0
    assert cache.get("acme") == (Trust.NONE, None)


def test_no_such_tenant_is_believed_for_a_moment_and_never_stale(cache: PlacementCache, clock: Clock) -> None:
    put(cache, "nobody", None)
    assert cache.get("nobody") == (Trust.FRESH, None)
    clock.now += 2
    assert cache.get("nobody") == (Trust.NONE, None)
    put(cache, "nobody", None)
    cache.distrust("nobody")
    assert cache.get("nobody") == (Trust.NONE, None)


def test_an_answers_age_counts_from_the_question(cache: PlacementCache, clock: Clock) -> None:
    ticket = cache.ticket("acme")
    clock.now += 31
    cache.put(ticket, placement())
    assert cache.get("acme")[0] is Trust.STALE


def test_a_changed_placement_is_used_no_more_even_if_nobody_answers(cache: PlacementCache) -> None:
    put(cache, "acme", placement())
    cache.invalidate("acme")
    assert cache.get("acme") == (Trust.NONE, None)


def test_an_answer_that_was_under_way_when_its_tenant_changed_is_not_kept(cache: PlacementCache) -> None:
    ticket, other = cache.ticket("acme"), cache.ticket("globex")
    cache.invalidate("acme")
    cache.put(ticket, placement())
    cache.put(other, placement("globex"))
    assert cache.get("acme") == (Trust.NONE, None)
    assert cache.get("globex")[0] is Trust.FRESH


def test_after_missed_notifications_everything_is_asked_again_and_serves_meanwhile(cache: PlacementCache) -> None:
    put(cache, "acme", placement())
    under_way = cache.ticket("globex")
    cache.flush()
    cache.put(under_way, placement("globex"))
    assert [cache.get(tenant)[0] for tenant in ("acme", "globex")] == [Trust.STALE, Trust.STALE]
    put(cache, "acme", placement())
    assert cache.get("acme")[0] is Trust.FRESH


def test_the_tenants_used_last_are_kept(cache: PlacementCache) -> None:
    for tenant in ("one", "two", "three"):
        put(cache, tenant, placement(tenant))
    cache.get("one")
    put(cache, "four", placement("four"))
    assert [cache.get(tenant)[0] for tenant in ("one", "two", "three", "four")] == [
        Trust.FRESH,
        Trust.NONE,
        Trust.FRESH,
        Trust.FRESH,
    ]


def test_forgotten_notifications_still_stop_old_answers(cache: PlacementCache) -> None:
    ticket = cache.ticket("acme")
    cache.invalidate("acme")
    for tenant in ("one", "two", "three", "four"):
        cache.invalidate(tenant)  # more than the cache remembers one by one
    cache.put(ticket, placement())
    assert cache.get("acme") == (Trust.NONE, None)


STEPS = st.lists(
    st.sampled_from(["change", "heard", "ask", "answer", "distrust", "flush", "wait"]), min_size=1, max_size=40
)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_what_is_fresh_is_never_older_than_the_last_notification_heard(steps: list[str]) -> None:
    clock = Clock()
    cache = PlacementCache(ttl=30, unknown_ttl=2, max_staleness=900, clock=clock)
    truth = heard = 1
    asked: list[tuple[object, int]] = []
    for step in steps:
        if step == "change":
            truth += 1
        elif step == "heard":
            heard = truth
            cache.invalidate("acme")
        elif step == "ask":
            asked.append((cache.ticket("acme"), truth))
        elif step == "answer" and asked:
            ticket, epoch = asked.pop(0)
            cache.put(ticket, placement(epoch=epoch))  # type: ignore[arg-type]
        elif step == "distrust":
            cache.distrust("acme")
        elif step == "flush":
            cache.flush()
        elif step == "wait":
            clock.now += 20
        trust, found = cache.get("acme")
        if trust is not Trust.NONE:
            assert found is not None
            assert found.epoch >= heard


@pytest.mark.parametrize("id", ["acme", "a1b", "a-b-c", "a" * 40])
def test_ids_of_tenants(id: str) -> None:
    assert TENANT_ID.fullmatch(id)


@pytest.mark.parametrize("id", ["", "ab", "a" * 41, "Acme", "1ab", "a--b", "ab-", "-ab", "a_b", "acme\n", "äcme"])
def test_ids_of_nobody(id: str) -> None:
    assert not TENANT_ID.fullmatch(id)


def test_the_ids_are_those_of_the_control_plane() -> None:
    from components.spec import TENANT_ID as THEIRS

    assert TENANT_ID.pattern == THEIRS.pattern
