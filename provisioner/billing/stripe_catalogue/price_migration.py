"""Moves the subscribers of a superseded price to its successor, in waves. A crash at any point leaves it resumable:
every subscription is recorded before Stripe is told, and none is moved twice."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Concatenate, ParamSpec, TypeVar

from psycopg import AsyncConnection

from provisioner.billing.stripe_catalogue import subscribers as stripe
from provisioner.billing.stripe_catalogue.api import CatalogueApi
from provisioner.billing.stripe_catalogue.subscribers import Effective, Proration, Subscriber
from provisioner.errors import NotFound, OperatorNeeded, Reject, StripeUnavailable
from provisioner.registry import price_migrations, timeline
from provisioner.registry.price_migrations import Item, ItemStatus, Migration, MigrationStatus

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Progress:
    """What became of one run."""

    moved: int = 0
    failed: int = 0
    skipped: int = 0
    left: int = 0
    waves: int = 0
    failures: list[str] = field(default_factory=list)


#: Asked before each wave but the first of a run, with what there was so far: False ends the run.
Between = Callable[[Progress, int], Awaitable[bool]]


def waves(candidates: Sequence[Subscriber], size: int) -> list[Sequence[Subscriber]]:
    return [candidates[start : start + size] for start in range(0, len(candidates), size)]


def wave_size(candidates: int, *, size: int | None, percent: float | None) -> int:
    """Subscriptions a wave: a number, or a share of all, rounded up; without either, all at once."""
    if percent is not None:
        return max(1, math.ceil(candidates * percent / 100))
    return max(1, candidates if size is None else size)


async def open_or_begin(
    connection: AsyncConnection,
    *,
    from_price: str,
    to_price: str,
    plan: str,
    effective: Effective,
    proration: Proration,
    by: str,
) -> Migration:
    """The migration that wasn't finished, or a new one. ``Reject`` if the one that is open goes elsewhere."""
    found = await price_migrations.open_of(connection, from_price)
    if found is None:
        found = await price_migrations.begin(
            connection,
            from_price=from_price,
            to_price=to_price,
            plan=plan,
            effective=effective,
            proration_behavior=proration,
            by=by,
        )
        await connection.commit()
    asked = (to_price, effective.value, proration.value)
    if (found.to_price, found.effective, found.proration_behavior) != asked:
        raise Reject(
            f"migration {found.migration_id} of {from_price} isn't finished, and goes to {found.to_price} "
            f"(--at {found.effective} --proration {found.proration_behavior})",
            hint="Finish it with the same options, or end it: --abandon",
        )
    return found


async def run(
    connection: AsyncConnection,
    api: CatalogueApi,
    migration: Migration,
    *,
    size: int | None = None,
    percent: float | None = None,
    max_failures: int = 3,
    between: Between | None = None,
) -> Progress:
    """Move whoever can be moved; what happened is committed subscription by subscription.

    Ends the migration when nobody is left, stops it after ``max_failures`` failures or when ``between`` says so.
    ``Reject`` if another process is at it. ``StripeUnavailable`` passes through: the next run goes on.
    """
    if not await price_migrations.lock(connection, migration.migration_id):
        raise Reject(f"migration {migration.migration_id} is being run by another process", hint="Wait for it")
    try:
        async with _repeatable(api, migration):
            progress, stopped = await _run(connection, api, migration, size, percent, max_failures, between)
        status = MigrationStatus.FINISHED if stopped is None else MigrationStatus.STOPPED
        await price_migrations.set_status(connection, migration.migration_id, status, stopped)
        await connection.commit()
        return progress
    finally:
        await connection.rollback()
        await price_migrations.unlock(connection, migration.migration_id)
        await connection.commit()


@contextlib.asynccontextmanager
async def _repeatable(api: CatalogueApi, migration: Migration) -> AsyncIterator[None]:
    """A schedule repeats the price that is left at its end, and Stripe takes no archived price in a request: it is
    active meanwhile. Nobody can buy it: it has no lookup key. What a crash leaves active, a push archives."""
    if migration.effective != Effective.RENEWAL:
        yield
        return
    await asyncio.to_thread(stripe.set_active, api, migration.from_price, True)
    try:
        yield
    finally:
        with contextlib.suppress(StripeUnavailable):
            await asyncio.to_thread(stripe.set_active, api, migration.from_price, False)


async def _run(
    connection: AsyncConnection,
    api: CatalogueApi,
    migration: Migration,
    size: int | None,
    percent: float | None,
    max_failures: int,
    between: Between | None,
) -> tuple[Progress, str | None]:
    """With why it stopped; None: nobody is left."""
    number, progress = migration.migration_id, Progress()
    await price_migrations.set_status(connection, number, MigrationStatus.RUNNING)
    await connection.commit()
    known = {item.subscription_id: item for item in await price_migrations.items(connection, number)}
    mover = _Mover(connection, api, migration)
    for item in known.values():
        if item.status == ItemStatus.MOVING:  # a run before this one ended in the middle
            await _count(progress, mover.resume(item))
    found = await asyncio.to_thread(stripe.subscribers, api, migration.from_price)
    moved = {key for key, item in known.items() if item.status in (ItemStatus.MOVED, ItemStatus.MOVING)}
    candidates = []
    last_wave = max((item.wave for item in known.values()), default=0)
    for subscriber in found:
        if subscriber.subscription_id in moved:
            continue  # its schedule has yet to come, or it was resumed above
        if subscriber.skip is not None:
            await mover.skip(subscriber, last_wave + 1)
            progress.skipped += 1
        else:
            candidates.append(subscriber)
    step = wave_size(len(candidates), size=size, percent=percent)
    done = 0
    for index, wave in enumerate(waves(candidates, step)):
        if index and between is not None and not await between(progress, len(candidates) - done):
            progress.left = len(candidates) - done
            return progress, f"an operator ended it after wave {last_wave + index}"
        progress.waves += 1
        for subscriber in wave:
            await _count(progress, mover.move(subscriber, last_wave + index + 1))
            done += 1
            if progress.failed >= max_failures:
                progress.left = len(candidates) - done
                return progress, f"{progress.failed} subscriptions could not be moved"
    if progress.failed or progress.skipped:
        return progress, f"{progress.failed} failed and {progress.skipped} were skipped"
    return progress, None


async def _count(progress: Progress, attempt: Awaitable[str | None]) -> None:
    failure = await attempt
    if failure is None:
        progress.moved += 1
    else:
        progress.failed += 1
        progress.failures.append(failure)


class _Mover:
    def __init__(self, connection: AsyncConnection, api: CatalogueApi, migration: Migration) -> None:
        self._connection = connection
        self._api = api
        self._migration = migration

    async def skip(self, subscriber: Subscriber, wave: int) -> None:
        await self._record(subscriber.subscription_id, ItemStatus.SKIPPED, subscriber.tenant_id, wave, subscriber.skip)
        await self._connection.commit()

    async def move(self, subscriber: Subscriber, wave: int) -> str | None:
        """None when it is moved, else why it isn't."""
        await self._record(subscriber.subscription_id, ItemStatus.MOVING, subscriber.tenant_id, wave)
        await self._connection.commit()
        return await self._try(subscriber, wave, None)

    async def resume(self, item: Item) -> str | None:
        """What was recorded as about to be moved: look whether it was, else do it."""
        try:
            now = await self._ask(stripe.load, item.subscription_id, self._migration.from_price)
        except NotFound:
            now = None
        if now is None:  # the request had arrived; or the subscription is gone, and there is nothing to move
            await self._done(item.subscription_id, item.tenant_id, item.wave, None)
            return None
        # Before the item was recorded it had no schedule: one that it has now is this migration's.
        schedule = item.schedule_id or now.schedule_id
        if now.skip is not None and schedule is None:
            return await self._failed(now, item.wave, now.skip)
        return await self._try(now, item.wave, schedule)

    async def _try(self, subscriber: Subscriber, wave: int, schedule: str | None) -> str | None:
        migration, move = self._migration, str(self._migration.migration_id)
        try:
            if migration.effective == Effective.NOW:
                proration = Proration(migration.proration_behavior)
                await self._ask(stripe.move_now, subscriber, migration.to_price, proration, move=move)
                await self._done(subscriber.subscription_id, subscriber.tenant_id, wave, None)
                return None
            if schedule is None:
                schedule = await self._ask(stripe.begin_schedule, subscriber, move=move)
                await self._record(
                    subscriber.subscription_id, ItemStatus.MOVING, subscriber.tenant_id, wave, schedule=schedule
                )
                await self._connection.commit()
            at = await self._ask(stripe.finish_schedule, schedule, migration.from_price, migration.to_price)
        except (OperatorNeeded, NotFound) as error:
            return await self._failed(subscriber, wave, error.message)
        await self._done(subscriber.subscription_id, subscriber.tenant_id, wave, at, schedule)
        return None

    async def _done(
        self, subscription_id: str, tenant_id: str | None, wave: int, at: int | None, schedule: str | None = None
    ) -> None:
        migration = self._migration
        await self._record(subscription_id, ItemStatus.MOVED, tenant_id, wave, schedule=schedule)
        if tenant_id is not None:
            when = "" if at is None else f" from {datetime.fromtimestamp(at, UTC):%Y-%m-%d} on"
            await timeline.add(
                self._connection,
                tenant_id,
                timeline.EntryKind.OPERATOR,
                f"moved from price {migration.from_price} to {migration.to_price}{when}",
                detail={
                    "migration_id": migration.migration_id,
                    "subscription_id": subscription_id,
                    "effective": migration.effective,
                    "proration_behavior": migration.proration_behavior,
                    "by": migration.started_by,
                },
            )
        await self._connection.commit()

    async def _failed(self, subscriber: Subscriber, wave: int, reason: str) -> str:
        await self._record(subscriber.subscription_id, ItemStatus.FAILED, subscriber.tenant_id, wave, reason)
        await self._connection.commit()
        return f"{subscriber.subscription_id}: {reason}"

    async def _record(
        self,
        subscription_id: str,
        status: ItemStatus,
        tenant_id: str | None,
        wave: int,
        reason: str | None = None,
        *,
        schedule: str | None = None,
    ) -> None:
        await price_migrations.put_item(
            self._connection,
            self._migration.migration_id,
            subscription_id,
            status,
            tenant_id=tenant_id,
            wave=wave,
            schedule_id=schedule,
            reason=reason,
        )

    async def _ask(
        self, question: Callable[Concatenate[CatalogueApi, P], R], *arguments: P.args, **named: P.kwargs
    ) -> R:
        return await asyncio.to_thread(question, self._api, *arguments, **named)
