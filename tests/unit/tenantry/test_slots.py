"""Which connection to use, open, close or wait for."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tenantry.slots import Slot, Slots


class Pool:
    """Slots of numbered connections, as a pool would use them."""

    def __init__(self, limit: int = 3, *, idle: float = 60, life: float = 600) -> None:
        self.now = 0.0
        self.slots: Slots[int] = Slots(limit=limit, idle_timeout=idle, max_lifetime=life, clock=lambda: self.now)
        self.opened = 0
        self.closed: list[int] = []

    def take(self, key: str, tenant: str | None = None, limit: int = 8) -> Slot[int] | None:
        taken = self.slots.take(key, tenant, limit)
        self.closed += taken.close
        if taken.slot is not None and taken.slot.connection is None:
            self.opened += 1
            taken.slot.connection = self.opened
        if taken.slot is not None:
            taken.slot.tenant_id = tenant
        return taken.slot

    def give(self, slot: Slot[int] | None, *, reusable: bool = True) -> None:
        assert slot is not None
        self.closed += self.slots.give(slot, reusable=reusable)

    @property
    def open(self) -> int:
        return self.opened - len(self.closed)


def test_an_idle_connection_is_used_again() -> None:
    pool = Pool()
    pool.give(pool.take("a"))
    pool.give(pool.take("a"))
    assert (pool.opened, pool.slots.total, pool.slots.busy) == (1, 1, 0)


def test_the_connection_that_served_the_tenant_last_is_preferred() -> None:
    pool = Pool()
    one, two = pool.take("pool", "acme"), pool.take("pool", "globex")
    assert one is not None
    mine = one.connection
    pool.give(one)
    pool.give(two)
    again = pool.take("pool", "acme")
    assert again is not None
    assert again.connection == mine


def test_connections_are_never_shared_by_two_logins() -> None:
    pool = Pool()
    pool.give(pool.take("a"))
    other = pool.take("b")
    assert other is not None
    assert other.connection == 2


def test_a_full_pool_closes_the_idle_connection_of_whoever_was_served_longest_ago() -> None:
    pool = Pool(limit=2)
    pool.give(pool.take("a"))
    pool.give(pool.take("b"))
    pool.take("c")
    assert pool.closed == [1]
    assert pool.take("d") is not None
    assert pool.take("e") is None
    assert pool.slots.total == 2


def test_a_login_has_a_limit_of_its_own() -> None:
    pool = Pool()
    first = pool.take("a", limit=1)
    assert pool.take("a", limit=1) is None
    assert pool.take("b", limit=1) is not None
    pool.give(first)
    assert pool.take("a", limit=1) is not None


def test_broken_old_and_long_idle_connections_are_closed() -> None:
    pool = Pool(idle=60, life=600)
    pool.give(pool.take("a"), reusable=False)
    assert pool.closed == [1]
    pool.give(pool.take("a"))
    pool.now = 61
    pool.give(pool.take("b"))
    assert pool.closed == [1, 2]
    held = pool.take("c")
    pool.now = 700
    pool.give(held)
    assert pool.open == 0
    assert pool.slots.total == 0


def test_forgetting_a_login_spares_the_others_and_what_is_in_use() -> None:
    pool = Pool()
    used = pool.take("a")
    pool.give(pool.take("b"))
    assert pool.slots.forget("a") == []
    assert pool.slots.forget("b") == [2]
    pool.give(used)
    assert pool.slots.clear() == [1]
    assert pool.slots.total == 0


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from(["take", "give", "break", "wait", "forget"]))))
def test_no_connection_is_lost_or_in_two_places(steps: list[tuple[str, str]]) -> None:
    pool = Pool(limit=3)
    held: list[Slot[int]] = []
    for key, step in steps:
        if step == "take":
            slot = pool.take(key, key, 2)
            if slot is None:
                assert pool.slots.busy == 3 or sum(each.key == key for each in held) == 2
            else:
                held.append(slot)
        elif step in ("give", "break") and held:
            pool.give(held.pop(0), reusable=step == "give")
        elif step == "wait":
            pool.now += 40
        elif step == "forget":
            pool.closed += pool.slots.forget(key)
        assert pool.slots.total == pool.open <= 3
        assert pool.slots.busy == len(held)
        assert len({each.connection for each in held}) == len(held)
        assert not {each.connection for each in held} & set(pool.closed)
        assert len(set(pool.closed)) == len(pool.closed)
