"""Proofs as a worker runs them: queued with what they are about, in a child, out of customers' way."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from isolation.evidence.document import ScopeKind, Trigger
from provisioner import jobs, metrics
from provisioner.explain import explain
from provisioner.operate import Pool
from provisioner.proving import child
from provisioner.proving.child import ChildProver, ProofDidNotRun, ProofInterrupted
from provisioner.proving.nightly import Nightly
from provisioner.proving.request import ProofRequest
from provisioner.registry import queue
from provisioner.registry.proofs import ProofStatus
from provisioner.registry.queue import Priority
from tests.integration.provisioner.proving.conftest import World
from tests.unit.isolation.evidence.documents import attempt

FAST = ProofRequest.after_operation("acme", "default", 7)


async def in_child(world: World, code: str, *, during: Any = None) -> None:
    """A proof whose child is Python's ``code``; ``during(prover, pool)`` runs beside it."""
    pool: Pool
    async with AsyncConnectionPool(world.url, min_size=1, max_size=2, open=False) as pool:
        prover = ChildProver(world.settings, pool, (sys.executable, "-I", "-c", code))
        beside = None if during is None else asyncio.create_task(during(prover, pool))
        try:
            await prover.prove(FAST)
        finally:
            if beside is not None:
                await beside


def customer_pays(world: World) -> None:
    """A reconcile waits from now on."""

    async def pays(connection: AsyncConnection) -> None:
        await queue.defer_reconcile(connection, ["globex"], reason="test", priority=Priority.EVENT)

    world.ask(pays)


def test_the_child_is_told_what_to_prove(world: World, tmp_path: Path) -> None:
    told = tmp_path / "told"
    asyncio.run(in_child(world, f"import sys; open({str(told)!r}, 'w').write(sys.argv[1])"))
    assert json.loads(told.read_text()) == {
        "kind": "tenant",
        "tenants": ["acme"],
        "cell": "default",
        "fast": True,
        "trigger": "operation",
        "operation_id": 7,
    }


@pytest.mark.parametrize(("code", "kept"), [(child.RETRY, 0), (1, 1)])
def test_a_child_that_fails_is_tried_again_and_one_that_could_not_say_why_is_recorded(
    world: World, code: int, kept: int
) -> None:
    with pytest.raises(ProofDidNotRun):
        asyncio.run(in_child(world, f"raise SystemExit({code})"))
    assert world.rows("SELECT count(*) FROM registry.proof WHERE status = 'not_run'") == [(kept,)]
    if kept:
        reason = world.verdicts()["acme"].reason
        assert reason is not None
        assert "ended with exit code 1" in reason


def test_what_can_never_be_proved_is_not_tried_again(world: World) -> None:
    asyncio.run(in_child(world, f"raise SystemExit({child.REFUSED})"))


def test_a_worker_that_stops_ends_its_child_and_hands_the_job_back(world: World, tmp_path: Path) -> None:
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    code = (
        "import signal, sys, time\n"
        f"signal.signal(signal.SIGTERM, lambda *_: (open({str(ended)!r}, 'w').close(), sys.exit(1)))\n"
        f"open({str(begun)!r}, 'w').close()\n"
        "time.sleep(60)"
    )

    async def stop(prover: ChildProver, _: Pool) -> None:
        while not begun.exists():
            await asyncio.sleep(0.01)
        prover.hand_back()

    with pytest.raises(ProofInterrupted):
        asyncio.run(in_child(world, code, during=stop))
    assert ended.exists()
    assert world.rows("SELECT count(*) FROM registry.proof") == [(0,)]


def test_a_proof_stands_back_while_a_tenant_is_changed(world: World, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    customer_pays(world)

    async def customer(_: ChildProver, pool: Pool) -> None:
        await asyncio.sleep(3 * child.LOOK_S)
        assert not begun.exists()
        async with pool.connection() as connection:
            await connection.execute("UPDATE procrastinate_jobs SET status = 'succeeded'")

    asyncio.run(in_child(world, f"open({str(begun)!r}, 'w').close()", during=customer))
    assert begun.exists()


def test_a_worker_that_stops_does_not_stand_back_for_long(world: World) -> None:
    async def stop(prover: ChildProver, _: Pool) -> None:
        prover.hand_back()

    customer_pays(world)
    with pytest.raises(ProofInterrupted):
        asyncio.run(asyncio.wait_for(in_child(world, "raise SystemExit(9)", during=stop), 10))


def test_one_proof_waits_per_tenant_and_cell_and_jobs_become_requests(world: World) -> None:
    asked: list[ProofRequest] = []

    class Prover:
        async def prove(self, request: ProofRequest) -> None:
            asked.append(request)

    async def queued() -> None:
        async with AsyncConnectionPool(world.url, min_size=1, max_size=2, open=False) as pool:
            for _ in range(2):
                async with pool.connection() as connection:
                    await queue.defer_proof(connection, "acme", "default")
                    await queue.defer_proof(connection, "globex", "default")
                    await queue.defer_cell_proof(connection, "default", nightly=False)
                    await queue.defer_cell_proof(connection, "empty", nightly=False)
                assert await Nightly(pool, "00:00", 400).queue_due() == []
                assert await Nightly(pool, "never", 400).queue_due() == []
        handlers = jobs.Handlers(inbox=None, reconciler=None, cells=None, prover=Prover())  # type: ignore[arg-type]
        app = jobs.make_app(world.url, handlers)
        async with app.open_async():
            await app.run_worker_async(queues=[jobs.PROOFS_QUEUE], wait=False, install_signal_handlers=False)

    world.rows(
        "INSERT INTO registry.operation (tenant_id, stack_name, kind, status, reason, fencing, holder)"
        " VALUES ('acme', 'acme', 'provision', 'succeeded', 'x', 1, 'x')"
    )
    asyncio.run(queued())
    acme, globex, cell = asked
    assert acme.operation_id is not None
    assert acme == ProofRequest.after_operation("acme", "default", acme.operation_id)
    assert globex == ProofRequest.after_operation("globex", "default", None)
    assert cell == ProofRequest(ScopeKind.ALL, cell="default", trigger=Trigger.OPERATION)


def test_the_night_is_queued_once_and_not_after_all_were_proved(world: World) -> None:
    async def due() -> list[list[str]]:
        async with AsyncConnectionPool(world.url, min_size=1, max_size=1, open=False) as pool:
            nightly = Nightly(pool, "00:00", 400)
            return [await nightly.queue_due(), await nightly.queue_due()]

    assert asyncio.run(due()) == [["default"], []]
    world.rows("DELETE FROM procrastinate_jobs")
    world.prove(ProofRequest.of_cell("default", Trigger.OPERATION))
    assert asyncio.run(due()) == [[], []]


def test_the_proof_of_the_only_tenant_is_queued_though_it_is_suspended(world: World) -> None:
    world.rows("UPDATE registry.tenant SET state = 'suspended', access = 'suspended'")

    async def changed(connection: AsyncConnection) -> None:
        await queue.defer_proof(connection, "acme", "default")
        await queue.defer_cell_proof(connection, "default", nightly=False)

    world.ask(changed)
    assert world.rows("SELECT lock FROM procrastinate_jobs") == [("proof:tenant:acme",)]


def test_a_breach_shows_in_the_story_and_in_metrics_and_says_what_to_do(world: World) -> None:
    world.attempts = [attempt("globex", "acme", refused=False)]
    proof = world.prove(ProofRequest.of_cell("default", Trigger.NIGHTLY))

    async def asked() -> tuple[dict[str, Any], str]:
        pool: Pool
        async with AsyncConnectionPool(world.url, min_size=1, max_size=2, open=False) as pool:
            async with pool.connection() as connection:
                story = await explain(connection, "acme")
            return story, (await metrics.render(pool)).decode()

    story, exposed = asyncio.run(asked())
    assert story["isolation"]["status"] is ProofStatus.NOT_ISOLATED
    assert story["tenant"]["isolation"] == "not_isolated"
    assert f"tenantry prove export {proof.record.proof_id}" in story["next"]
    assert "tenantry tenants reconcile acme" in story["next"]
    assert story["timeline"][-1]["summary"].startswith("NOT ISOLATED (full): 1 attempt failed")
    for line in (
        'tenantry_tenants_isolation{verdict="not_isolated"} 2.0',
        'tenantry_proof_isolated{cell="default"} 0.0',
        'tenantry_proofs{status="not_isolated",trigger="nightly"} 1.0',
    ):
        assert line in exposed
    assert 'tenantry_proof_timestamp_seconds{cell="default"}' in exposed
