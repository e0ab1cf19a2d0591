"""Operations through the gate: the real engine, the real registry, rules and data of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
import pulumi
import pytest
from psycopg_pool import AsyncConnectionPool

from policies.model import Facts, Resource, Rule, Severity, Stack, Violation
from provisioner import approving
from provisioner.deployer import Operation, OperationResult
from provisioner.errors import ApprovalNeeded, NotFound, PolicyBlocked, TenantryError
from provisioner.gate.gatekeeper import Gatekeeper
from provisioner.gate.stack_gate import StackGate
from provisioner.operate import Operator, Pool
from provisioner.registry import approvals, operations, timeline
from provisioner.registry.approvals import Answer
from provisioner.registry.migrate import migrate
from provisioner.registry.operations import OperationKind
from provisioner.stack_request import StackInputs

STACK = "acme"
Program = Callable[[], None]


def _small(resource: Resource, facts: Facts) -> Iterator[str]:
    if resource.get("size") > 5:
        yield f"{resource.name} is too big"


def _cheap(stack: Stack, facts: Facts) -> Iterator[Violation]:
    for thing in stack.of_type("fake:index:Thing"):
        if thing.get("url") == "fake://dear":
            yield Violation(thing.urn, f"{thing.name} turned out dear")


RULES = (
    Rule("small", "Things are small", Severity.HIGH, "Make it smaller", frozenset({"fake:index:Thing"}), _small),
    Rule("cheap", "Things are cheap", Severity.HIGH, "Name it otherwise", stack=_cheap),
)


@dataclass
class Gated:
    pool: Pool
    operator: Operator

    async def up(self, program: Program, kind: OperationKind = OperationKind.UPDATE) -> OperationResult:
        async with self.operator.hold(STACK, wait_s=20) as held:
            inputs = StackInputs(STACK, program, {})
            return await self.operator.run(held, Operation.UP, kind, inputs, tenant_id=STACK, reason="test")

    async def last(self) -> operations.OperationRecord:
        async with self.pool.connection() as connection:
            return (await operations.list_operations(connection, tenant_id=STACK, limit=1))[0]

    async def story(self) -> list[str]:
        async with self.pool.connection() as connection:
            return [f"{each.kind}: {each.summary}" for each in await timeline.of_tenant(connection, STACK)]

    async def answer(self, operation_id: int, answer: Answer, **options: Any) -> approvals.ApprovalRecord:
        async with self.pool.connection() as connection:
            return await approving.answer(connection, operation_id, answer, by="ada", reason="it is empty", **options)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def gated(workbench: Any) -> Callable[..., Any]:
    url = workbench.backend_url.replace("postgres://", "postgresql://")
    migrate(url, url)

    @asynccontextmanager
    async def open_(valid: timedelta = timedelta(hours=1)) -> AsyncIterator[Gated]:
        pool: Pool
        async with AsyncConnectionPool(url, min_size=1, max_size=4, open=False) as pool:
            keeper = Gatekeeper(RULES, stateful={"fake:index:Thing": "a thing"})
            gate = StackGate(keeper, workbench.state, valid)
            operator = Operator(pool, url, workbench.deployer(), None, gate)
            try:
                yield Gated(pool, operator)
            finally:
                operator.close()

    return open_


def things(thing: Any, **sizes: int) -> Program:
    def program() -> None:
        for name, size in sizes.items():
            thing(name, size=size)

    return program


@pytest.mark.anyio
async def test_a_violation_parks_the_operation_before_anything_changes(gated: Any, thing: Any, fake_cloud: Any) -> None:
    async with gated() as service:
        with pytest.raises(PolicyBlocked, match="small: fake:index:Thing big: big is too big") as raised:
            await service.up(things(thing, fine=1, big=9))
        assert "Make it smaller" in raised.value.hint
        assert fake_cloud.names() == set()
        record = await service.last()
        assert record.status == "blocked"
        assert record.error is not None
        assert record.error["findings"][0]["rule"] == "small"
        assert any("blocked" in line and "big is too big" in line for line in await service.story())


@pytest.mark.anyio
async def test_a_value_that_only_the_update_tells_fails_closed(gated: Any, thing: Any, fake_cloud: Any) -> None:
    def program() -> None:
        first = thing("first", size=1)
        thing("second", size=first.id.apply(lambda _: 1))

    async with gated() as service:
        with pytest.raises(PolicyBlocked, match="size is not known before the update"):
            await service.up(program)
        assert fake_cloud.names() == set()


@pytest.mark.anyio
async def test_what_the_update_has_made_is_judged_again(gated: Any, thing: Any, fake_cloud: Any) -> None:
    async with gated() as service:
        # Its URL is the cloud's to choose: the preview can't tell, and this rule does not look at what is missing.
        with pytest.raises(PolicyBlocked, match=r"the update was made.*dear turned out dear"):
            await service.up(things(thing, dear=1))
        assert fake_cloud.names() == {"dear"}
        assert (await service.last()).status == "blocked"


@pytest.mark.anyio
async def test_a_change_past_the_gate_is_noticed_by_the_next_operation(gated: Any, workbench: Any, thing: Any) -> None:
    from provisioner.deployer import StackRequest

    async with gated() as service:
        await service.up(things(thing, one=1))
        workbench.deployer().up(StackRequest(STACK, things(thing, one=9)))
        await service.up(things(thing, one=1))
        story = await service.story()
        assert any("what stands violates 1 policy rule" in line and "one is too big" in line for line in story)
        assert (await service.last()).status == "succeeded"


@pytest.mark.anyio
async def test_taking_access_away_is_not_stopped_by_what_stands_already(gated: Any, workbench: Any, thing: Any) -> None:
    from provisioner.deployer import StackRequest

    workbench.deployer().up(StackRequest(STACK, things(thing, one=9)))
    async with gated() as service:
        await service.up(things(thing, one=9, two=1), OperationKind.SUSPEND)
        with pytest.raises(PolicyBlocked, match="three is too big"):
            await service.up(things(thing, one=9, two=1, three=8), OperationKind.SUSPEND)
        with pytest.raises(PolicyBlocked, match="one is too big"):
            await service.up(things(thing, one=9, two=1), OperationKind.UPDATE)


@pytest.mark.anyio
async def test_data_is_only_destroyed_after_a_named_operator_approved_exactly_that(
    gated: Any, thing: Any, fake_cloud: Any
) -> None:
    async with gated() as service:
        await service.up(things(thing, kept=1, dropped=1))
        with pytest.raises(ApprovalNeeded, match="delete fake:index:Thing dropped: a thing"):
            await service.up(things(thing, kept=1))
        assert fake_cloud.names() == {"kept", "dropped"}
        parked = await service.last()
        assert parked.status == "awaiting_approval"
        record = await service.answer(parked.operation_id, Answer.APPROVED)
        assert (record.decided_by, record.decision) == ("ada", "approved")

        # Another diff than the approved one is asked about anew.
        with pytest.raises(ApprovalNeeded):
            await service.up(things(thing, kept=2))
        assert fake_cloud.names() == {"kept", "dropped"}
        # Asking anew does not take back what was approved.
        await service.up(things(thing, kept=1))
        assert fake_cloud.names() == {"kept"}
        async with service.pool.connection() as connection:
            used = await approvals.get(connection, parked.operation_id)
        assert used is not None
        assert used.used_by == (await service.last()).operation_id
        assert any(line.startswith("operator: ada approved operation") for line in await service.story())

        # An approval is good for once.
        await service.up(things(thing, kept=1, dropped=1))
        with pytest.raises(ApprovalNeeded):
            await service.up(things(thing, kept=1))


@pytest.mark.anyio
async def test_a_rejected_or_expired_or_forged_answer_lets_nothing_happen(
    gated: Any, workbench: Any, thing: Any, fake_cloud: Any
) -> None:
    async with gated() as service:
        await service.up(things(thing, dropped=1))
        with pytest.raises(ApprovalNeeded):
            await service.up(things(thing))
        first = (await service.last()).operation_id
        with pytest.raises(approving.NotAwaited, match="another diff"):
            await service.answer(first, Answer.APPROVED, diff_hash="0" * 64)
        await service.answer(first, Answer.REJECTED)
        with pytest.raises(approving.NotAwaited, match="was rejected by ada"):
            await service.answer(first, Answer.APPROVED)
        with pytest.raises(ApprovalNeeded):
            await service.up(things(thing))
        taken_back = (await service.last()).operation_id
        await service.answer(taken_back, Answer.APPROVED)
        await service.answer(taken_back, Answer.REJECTED)
        with pytest.raises(ApprovalNeeded):
            await service.up(things(thing))
        second = (await service.last()).operation_id
        await service.answer(second, Answer.APPROVED)
        with psycopg.connect(workbench.backend_url, autocommit=True) as connection:
            connection.execute("UPDATE registry.approval SET expires_at = now() - interval '1 second'")
        with pytest.raises(ApprovalNeeded):
            await service.up(things(thing))
        third = (await service.last()).operation_id
        with psycopg.connect(workbench.backend_url, autocommit=True) as connection:
            connection.execute("UPDATE registry.approval SET expires_at = now() - interval '1 second'")
        with pytest.raises(approving.NotAwaited, match="expired"):
            await service.answer(third, Answer.APPROVED)
        with pytest.raises(NotFound):
            await service.answer(third + 100, Answer.APPROVED)
        with pytest.raises(approving.NotAwaited, match="never waited"):
            await service.answer(1, Answer.APPROVED)
        assert fake_cloud.names() == {"dropped"}


@pytest.mark.anyio
async def test_secrets_show_neither_in_the_diff_nor_in_the_error(gated: Any, thing: Any) -> None:
    def with_secret(value: str) -> Program:
        return lambda: thing("vault", size=1, secret=pulumi.Output.secret(value)) and None

    async with gated() as service:
        await service.up(with_secret("hunter2"))
        error: TenantryError
        with pytest.raises(ApprovalNeeded) as raised:
            await service.up(things(thing))
        error = raised.value
        assert "hunter2" not in repr(raised.value.diff) + error.message + error.hint
