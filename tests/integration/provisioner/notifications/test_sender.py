"""Once each: whatever happens to looks, to senders and to the mail server, and in whatever order."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from provisioner.notifications.smtp import Verdict
from tests.integration.provisioner.notifications.world import BEGAN, DAY, Crash, World, codes, open_world


class Stage:
    """One world for all examples: opening one takes longer than playing ten."""

    def __init__(self, database: str) -> None:
        self._runner = asyncio.Runner()
        self._open = open_world(database)
        self.world: World = self._runner.run(self._open.__aenter__())

    def run(self, scenario: Any) -> None:
        self._runner.run(scenario)

    def close(self) -> None:
        self._runner.run(self._open.__aexit__(None, None, None))
        self._runner.close()


@pytest.fixture
def stage(database: str) -> Iterator[Stage]:
    made = Stage(database)
    yield made
    made.close()


TENANTS = ("acme", "globex")
ACTIONS = st.one_of(
    st.tuples(st.just("look"), st.sampled_from(TENANTS)),
    st.tuples(st.just("look_twice_at_once"), st.sampled_from(TENANTS)),
    st.tuples(st.just("fail"), st.sampled_from(TENANTS)),
    st.tuples(st.just("pay"), st.sampled_from(TENANTS)),
    st.tuples(st.just("send"), st.sampled_from([*Verdict])),
    st.tuples(st.just("two_send_at_once"), st.just("")),
    st.tuples(st.just("crash"), st.sampled_from(["before", "after"])),
    st.tuples(st.just("claims_end"), st.just("")),
    st.tuples(st.just("days"), st.sampled_from([0.1, 1.0, 4.0, 8.0])),
)


async def perform(world: World, action: tuple[str, Any], attempts: Counter[str]) -> bool:
    """Whether the server took a message that its sender did not live to record."""
    name, value = action
    planner, sender = world.notifier.planner, world.notifier.sender
    match name:
        case "look":
            await planner.look(value, world.now)
        case "look_twice_at_once":
            await asyncio.gather(planner.look(value, world.now), planner.look(value, world.now))
        case "fail":
            attempts[value] += 1
            world.owe(BEGAN, attempts=attempts[value], tenant=value)
            await world.sell("past_due", tenant=value)
        case "pay":
            world.owe(BEGAN, attempts=attempts[value], paid=True, tenant=value)
            await world.sell("active", tenant=value)
        case "send":
            world.post.answers = list(codes(value))
            await sender.run_due(world.now)
        case "two_send_at_once":
            world.post.answers.clear()
            await asyncio.gather(sender.run_due(world.now), sender.run_due(world.now))
        case "crash":
            taken = len(world.post.arrived)
            world.post.answers.clear()
            world.post.crash = value
            try:
                await sender.run_due(world.now)
            except Crash:
                return len(world.post.arrived) > taken
            world.post.crash = None  # nothing was due
        case "claims_end":
            await world.end_claims()
        case "days":
            await world.at(world.now + value * DAY)
    return False


@settings(
    max_examples=25,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(actions=st.lists(ACTIONS, min_size=3, max_size=25))
def test_every_message_is_sent_once_or_again_with_the_same_id(stage: Stage, actions: list[tuple[str, Any]]) -> None:
    async def scenario() -> None:
        world = stage.world
        await world.clear()
        attempts: Counter[str] = Counter()
        for tenant in TENANTS:
            await world.sell(tenant=tenant)
        unrecorded = 0
        for action in actions:
            unrecorded += await perform(world, action, attempts)
        # Everything is well again: what is owed goes out.
        world.post.answers.clear()
        for _ in range(3):
            await world.end_claims()
            await world.work()
        counted = Counter(world.post.ids())
        assert sum(counted.values()) - len(counted) <= unrecorded
        records = await world.outbox()
        assert {record.status for record in records} <= {"sent", "refused", "withdrawn", "expired"}
        keys = [(record.tenant_id, record.kind, record.occasion) for record in records]
        assert len(keys) == len(set(keys))
        # counted by what they are about, not by the keys that were made of it
        about = Counter(
            (record.tenant_id, record.kind, record.fields.get("attempt"), record.fields.get("access"))
            for record in records
            if record.kind in ("welcome", "payment_failed", "access_changed")
        )
        assert not about or max(about.values()) == 1
        sent = {record.message_id for record in records if record.status == "sent"}
        assert sent <= set(counted)
        # only what was taken without a record may have been withdrawn, refused or expired all the same
        assert len(set(counted) - sent) <= unrecorded
        # contents of two different messages never share an id
        for identifier in counted:
            same = [m for m in world.post.arrived if str(m["Message-ID"]) == identifier]
            assert len({(str(m["Subject"]), str(m["To"])) for m in same}) == 1

    stage.run(scenario())


def test_a_sender_that_dies_after_the_server_took_a_message_repeats_it_with_its_id(stage: Stage) -> None:
    async def scenario() -> None:
        world = stage.world
        await world.clear()
        await world.sell()
        await world.notifier.planner.run_due(world.now)
        world.post.crash = "after"
        with pytest.raises(Crash):
            await world.notifier.sender.run_due(world.now)
        await world.notifier.sender.run_due(world.now)  # its claim still stands
        assert len(world.post.arrived) == 1
        await world.end_claims()
        await world.notifier.sender.run_due(world.now)
        first, second = world.post.ids()
        assert first == second
        assert await world.states() == [("welcome", "sent")]

    stage.run(scenario())


@pytest.mark.parametrize(
    ("verdict", "status"),
    [(Verdict.LATER, "pending"), (Verdict.UNREACHABLE, "pending"), (Verdict.REFUSED, "refused")],
)
def test_what_the_server_says_decides(stage: Stage, verdict: Verdict, status: str) -> None:
    async def scenario() -> None:
        world = stage.world
        await world.clear()
        await world.sell()
        world.post.answers += codes(verdict)
        await world.work()
        (record,) = await world.outbox()
        assert (record.status, record.reason, record.sent_at) == (status, verdict.value, None)
        assert (record.retry_at is not None) == (status == "pending")

    stage.run(scenario())


def test_a_server_that_is_away_is_asked_once_a_round(stage: Stage) -> None:
    async def scenario() -> None:
        world = stage.world
        await world.clear()
        for tenant in TENANTS:
            await world.sell(tenant=tenant)
        await world.notifier.planner.run_due(world.now)
        world.post.answers += codes(Verdict.UNREACHABLE, Verdict.UNREACHABLE)
        await world.notifier.sender.run_due(world.now)
        assert len(world.post.answers) == 1
        world.post.answers.clear()
        await world.notifier.sender.run_due(world.now)  # the other one does not wait for the first
        assert len(world.post.arrived) == 1

    stage.run(scenario())


def test_a_message_is_given_up_after_days_and_one_that_is_of_no_use_at_once(stage: Stage) -> None:
    async def scenario() -> None:
        world = stage.world
        await world.clear()
        await world.sell()
        await world.notifier.planner.run_due(world.now)
        world.post.answers += codes(Verdict.LATER)
        await world.execute("UPDATE registry.notification SET planned_at = now() - interval '4 days 1 hour'")
        await world.notifier.sender.run_due(world.now)
        assert await world.states() == [("welcome", "failed")]
        await world.execute("UPDATE registry.notification SET status = 'pending', retry_at = NULL")
        await world.notifier.sender.run_due(world.now + 10 * DAY)
        assert await world.states() == [("welcome", "expired")]
        assert world.post.arrived == []

    stage.run(scenario())


def test_no_more_go_out_in_a_minute_than_allowed(stage: Stage) -> None:
    async def scenario() -> None:
        world = stage.world
        await world.clear()
        for tenant in ("acme", "globex", "initech", "umbrella"):
            await world.sell(tenant=tenant)
        await world.notifier.planner.run_due(world.now)
        sender = world.notifier.sender
        sender.per_minute = 3
        try:
            await asyncio.gather(*(sender.run_due(world.now) for _ in range(4)))
            assert len(world.post.arrived) == 3
            await world.execute("UPDATE registry.notification SET attempted_at = attempted_at - interval '61 s'")
            await sender.run_due(world.now)
            assert len(world.post.arrived) == 4
        finally:
            sender.per_minute = 0

    stage.run(scenario())


def test_the_end_of_a_process_waits_for_the_record_of_what_was_taken(stage: Stage) -> None:
    async def scenario() -> None:
        world = stage.world
        await world.clear()
        await world.sell()
        await world.notifier.planner.run_due(world.now)
        settled = world.notifier.sender._settle
        begun = asyncio.Event()

        async def slow(*arguments: Any, **options: Any) -> None:
            begun.set()
            await asyncio.sleep(0.05)
            await settled(*arguments, **options)

        world.notifier.sender._settle = slow  # type: ignore[method-assign]
        task = asyncio.create_task(world.notifier.sender.run_due(world.now))
        await begun.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        world.notifier.sender._settle = settled  # type: ignore[method-assign]
        for _ in range(100):
            if await world.states() == [("welcome", "sent")]:
                break
            await asyncio.sleep(0.02)
        assert await world.states() == [("welcome", "sent")]

    stage.run(scenario())
