"""What customers are told over a life, on a real PostgreSQL: once each, and only what is still true."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from provisioner.billing.fake import customer_document
from provisioner.errors import StripeUnavailable
from provisioner.notifications.planner import UNAVAILABLE
from provisioner.notifications.smtp import Verdict
from provisioner.registry import dunning, notifications, timeline
from tests.integration.provisioner.notifications.world import BEGAN, DAY, World, card, codes, open_world

Scenario = Callable[[World], Awaitable[None]]


@pytest.fixture
def play(database: str) -> Callable[..., None]:
    def run(scenario: Scenario, **options: Any) -> None:
        async def inside() -> None:
            async with open_world(database, **options) as world:
                await scenario(world)

        asyncio.run(inside())

    return run


def test_a_payment_that_fails_and_arrives_late(play: Callable[..., None]) -> None:
    """The team plan: throttled after 7 days, read-only after 14, suspended after 21, hibernated after 30."""

    async def scenario(world: World) -> None:
        await world.sell()
        await world.work()
        assert world.post.subjects() == ["Your Example account is ready"]
        await world.work()
        assert len(world.post.arrived) == 1
        world.owe(BEGAN)
        await world.sell("past_due")
        told: dict[float, list[str]] = {}
        for days in (0, 0.5, 3, 4.5, 7.1, 11.5, 14.1, 18.5, 21.1):
            await world.at(BEGAN + days * DAY)
            if days == 3:
                world.owe(BEGAN, attempts=2)
                await world.sell("past_due")
            before = len(world.post.arrived)
            await world.work()
            await world.work()
            told[days] = [record.kind for record in (await world.outbox())[before:]]
        assert told == {
            0: ["payment_failed"],
            0.5: [],
            3: ["payment_failed"],
            4.5: ["access_ahead"],
            7.1: ["access_changed"],
            11.5: ["access_ahead"],
            14.1: ["access_changed"],
            18.5: ["access_ahead"],
            21.1: ["access_changed"],
        }
        read_only = str(world.post.arrived[-3].get_body(("plain",)).get_content())  # type: ignore[union-attr]
        assert "Your account is read-only" in " ".join(read_only.split())
        assert "99,00" in read_only  # as in Austria
        world.owe(BEGAN, paid=True)
        await world.sell("active")
        await world.at(BEGAN + 22 * DAY)
        await world.work()
        assert (await world.states())[-1] == ("recovered", "sent")
        async with world.service.pool.connection() as connection:
            report = await dunning.report(connection, BEGAN)
        (row,) = report["by_step"]
        assert (row["step"], row["episodes"], row["recovered"], row["open"]) == ("suspended", 1, 1, 0)
        assert float(row["median_days"]) == pytest.approx(22)
        assert report["by_message"] == [{"kind": "access_changed", "recovered": 1}]
        assert report["by_currency"] == [{"currency": "usd", "recovered": 9900, "lost": 0, "open": 0}]

    play(scenario)


def test_what_waits_is_taken_back_when_the_payment_arrives(play: Callable[..., None]) -> None:
    async def scenario(world: World) -> None:
        await world.sell()
        await world.work()
        world.owe(BEGAN)
        await world.sell("past_due")
        world.post.answers += codes(Verdict.LATER)
        await world.work()
        assert (await world.states())[-1] == ("payment_failed", "pending")
        world.owe(BEGAN, paid=True)
        await world.sell("active")
        await world.work()
        states = await world.states()
        assert ("payment_failed", "withdrawn") in states
        assert states[-1] == ("recovered", "sent")
        await world.end_claims()
        await world.work()
        assert len(world.post.arrived) == 2

    play(scenario)


def test_a_trial_from_its_reminders_to_its_end_without_a_card(play: Callable[..., None]) -> None:
    async def scenario(world: World) -> None:
        bare = world.customer(invoice_settings={"default_payment_method": None})
        end = BEGAN + 14 * DAY
        trial: dict[str, Any] = {"customer": bare, "trial_end": int(end.timestamp())}
        await world.sell("trialing", **trial)
        for days in (0, 6.9, 7.1, 12.9, 13.1, 13.5):
            await world.at(BEGAN + days * DAY)
            await world.work()
        assert [kind for kind, _ in await world.states()] == ["welcome", "trial_ending", "trial_ending"]
        assert "add a payment method" in world.post.arrived[-1].as_string()
        await world.sell("paused", **trial)
        await world.at(end)
        await world.work()
        assert [kind for kind, _ in await world.states()][3:] == ["trial_ended"]
        await world.sell("active", **{**trial, "customer": world.customer()})
        await world.at(end + DAY)
        await world.work()
        assert [kind for kind, _ in await world.states()][4:] == []  # it has been told that the trial ended

    play(scenario)


def test_an_end_is_told_with_its_reason_kept(play: Callable[..., None]) -> None:
    async def scenario(world: World) -> None:
        ends = BEGAN + 10 * DAY
        details = {"reason": "cancellation_requested", "feedback": "too_expensive", "comment": "Sorry, we're broke"}
        scheduled: dict[str, Any] = {"cancel_at": int(ends.timestamp()), "canceled_at": int(BEGAN.timestamp())}
        await world.sell("active", cancellation_details=details, **scheduled)
        await world.work()
        await world.sell("active")  # the customer thinks again
        await world.work()
        assert await world.execute("SELECT count(*) FROM registry.cancellation_detail") == [(0,)]
        await world.at(ends)
        await world.sell("canceled", cancellation_details=details, ended_at=int(ends.timestamp()), **scheduled)
        await world.work()
        for days in (16.5, 27.5, 29):  # the plan keeps data for 30 days
            await world.at(ends + days * DAY)
            await world.work()
        kinds = [kind for kind, _ in await world.states()]
        assert kinds == ["welcome", "cancellation_scheduled", "cancelled", "deletion_ahead", "deletion_ahead"]
        async with world.service.pool.connection() as connection:
            report = await dunning.report(connection, BEGAN)
        assert report["cancellations"] == [{"why": "too_expensive", "subscriptions": 1, "pending": 0}]
        await world.at(ends + 31 * DAY)
        await world.work()
        assert (await world.states())[-1] == ("deleted", "sent")
        assert (await world.service.tenant("acme")).state == "destroyed"

    play(scenario)


def test_a_deleted_customer_is_written_to_where_it_was_known_last(play: Callable[..., None]) -> None:
    async def scenario(world: World) -> None:
        await world.sell()
        await world.work()
        ended: dict[str, Any] = {"ended_at": int(BEGAN.timestamp())}
        await world.sell("canceled", customer={"id": "cus_acme", "object": "customer", "deleted": True}, **ended)
        await world.at(BEGAN + DAY / 24)
        await world.work()
        assert (await world.states())[-1] == ("cancelled", "sent")
        assert world.post.recipients[-1] == "acme@example.com"

    play(scenario)


def test_a_renewal_names_its_amount_and_a_card_its_end(play: Callable[..., None]) -> None:
    async def scenario(world: World) -> None:
        document = await world.sell(plan="team_annual")
        document["items"]["data"][0]["price"]["recurring"]["interval"] = "year"
        document["items"]["data"][0]["current_period_end"] = int((BEGAN + 365 * DAY).timestamp())
        world.gateway.put_subscription(document)
        world.gateway.renewals["sub_acme"] = {"amount_due": 118800, "currency": "eur"}
        world.gateway.payment_methods["pm_1"] = card(2, 2028)
        for days in (0, 340, 351.5, 360):
            await world.at(BEGAN + days * DAY)
            await world.execute("UPDATE registry.notification_profile SET look_at = '-infinity'")
            await world.work()
        texts = [str(m.get_body(("plain",)).get_content()) for m in world.post.arrived]  # type: ignore[union-attr]
        kinds = [kind for kind, _ in await world.states()]
        assert kinds == ["welcome", "card_expiring", "renewal_upcoming", "card_expiring"]
        assert "1.188,00" in texts[2]  # as in Austria
        assert "4242" in texts[1]

    play(scenario)


def test_a_template_that_is_wrong_holds_up_nobody_else(play: Callable[..., None], tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        (tmp_path / "de").mkdir()
        wrong = tmp_path / "de" / "welcome.j2"
        wrong.write_text("{% block subject %}{{ 1 // 0 }}{% endblock %}")
        await world.sell(customer=world.customer(preferred_locales=["de"]))
        await world.sell(tenant="globex")
        await world.work()
        assert await world.states("globex") == [("welcome", "sent")]
        (record,) = await world.outbox("acme")
        assert record.status == "quarantined"
        assert "de/welcome.j2" in (record.reason or "")
        wrong.unlink()
        async with world.service.pool.connection() as connection:
            assert await notifications.retry(connection, None, now=world.now) == [record.notification_id]
        await world.work()
        assert await world.states("acme") == [("welcome", "sent")]
        async with world.service.pool.connection() as connection:
            entries = await timeline.of_tenant(connection, "acme")
        assert [entry.summary for entry in entries if entry.kind == "message"] == [
            "welcome could not be written (template_failed)",
            "welcome was sent",
        ]

    play(scenario, own=tmp_path)


def test_an_address_that_is_corrected_is_used_by_a_retry(play: Callable[..., None]) -> None:
    async def scenario(world: World) -> None:
        await world.sell(customer=world.customer(email="ada at example.com"))
        await world.work()
        (record,) = await world.outbox()
        assert (record.status, (record.reason or "").split(":")[0]) == ("quarantined", "address_unusable")
        world.gateway.put_customer(corrected := world.customer())
        await world.sell(customer=corrected)
        async with world.service.pool.connection() as connection:
            await notifications.retry(connection, [record.notification_id], now=world.now)
        await world.work()
        assert world.post.recipients == ["acme@example.com"]

    play(scenario)


def test_one_tenant_that_cant_be_read_holds_up_nobody_else(play: Callable[..., None]) -> None:
    async def scenario(world: World) -> None:
        await world.sell()
        await world.sell(tenant="globex")
        broken = world.gateway.subscriptions_of

        async def subscriptions_of(customer: str) -> Any:
            if customer == "cus_acme":
                raise RuntimeError("a bug")
            return await broken(customer)

        world.gateway.subscriptions_of = subscriptions_of  # type: ignore[method-assign, assignment]
        await world.work()
        assert await world.states() == [("welcome", "sent")]
        (failure,) = await world.execute("SELECT failure FROM registry.notification_profile WHERE failure IS NOT NULL")
        assert failure == ("failed with RuntimeError",)
        world.gateway.subscriptions_of = broken  # type: ignore[method-assign]
        await world.work()
        assert len(world.post.arrived) == 1  # it waits a minute
        await world.execute("UPDATE registry.notification_profile SET retry_at = now() WHERE retry_at IS NOT NULL")
        await world.work()
        assert await world.states("acme") == [("welcome", "sent")]

    play(scenario)


def test_a_stripe_that_is_away_is_not_asked_for_every_tenant(play: Callable[..., None]) -> None:
    async def scenario(world: World) -> None:
        names = [f"tenant{index}" for index in range(30)]
        for name in names:
            await world.execute(
                "INSERT INTO registry.tenant (tenant_id, stripe_customer_id) VALUES (%s, %s)", name, f"cus_{name}"
            )
        world.gateway.unavailable = True
        with pytest.raises(StripeUnavailable):
            await world.work()
        ((failed,),) = await world.execute("SELECT count(*) FROM registry.notification_profile WHERE failure <> ''")
        assert UNAVAILABLE <= failed < 2 * UNAVAILABLE
        world.gateway.unavailable = False
        await world.work()
        ((looked,),) = await world.execute("SELECT count(*) FROM registry.notification_profile WHERE failure IS NULL")
        assert looked == 30 - failed

    play(scenario)


def test_mail_goes_out_while_stripe_cant_be_asked(play: Callable[..., None]) -> None:
    async def scenario(world: World) -> None:
        await world.sell()
        world.post.answers += codes(Verdict.LATER)
        await world.work()
        await world.end_claims()
        world.gateway.unavailable = True
        await world.work()
        assert await world.states() == [("welcome", "sent")]

    play(scenario)


def test_others_tell_of_usage_exports_and_deletions_once(play: Callable[..., None]) -> None:
    async def scenario(world: World) -> None:
        await world.sell()
        await world.work()

        async def tell(percent: int, tenant: str = "acme") -> bool:
            async with world.service.pool.connection() as connection:
                return await world.announcements.usage(
                    connection,
                    tenant,
                    meter="api_calls",
                    title="API calls",
                    percent=percent,
                    used=percent * 10,
                    included=1000,
                    period="2027-03",
                    period_until=BEGAN + 30 * DAY,
                    billed=True,
                    blocked=False,
                    now=world.now,
                )

        assert [await tell(80), await tell(80), await tell(100), await tell(80, "nobody")] == [True, False, True, False]
        async with world.service.pool.connection() as connection:
            assert await world.announcements.export_ready(
                connection, "acme", export_id="x1", url="https://x.example/", size="1 MB", until=None, now=world.now
            )
        await world.work()
        assert [kind for kind, _ in await world.states()] == ["welcome", "usage", "usage", "export_ready"]
        assert "API calls: 80 % of what your plan includes" in world.post.subjects()

    play(scenario)


def test_personal_data_goes_and_the_record_stays(play: Callable[..., None]) -> None:
    async def scenario(world: World) -> None:
        await world.sell()
        await world.work()
        async with world.service.pool.connection() as connection:
            assert await notifications.redact(connection, "acme") == 1
        (record,) = await world.outbox()
        assert (record.recipient, record.fields, record.status) == ({}, {}, "sent")
        dump = str(await world.execute("SELECT * FROM registry.notification, registry.notification_profile"))
        assert "example.com" not in dump.replace("@example.com>", "")
        assert "Ada" not in dump
        await world.work()  # and it is not sent again
        assert len(world.post.arrived) == 1

    play(scenario)


def test_a_customer_that_stripe_deleted_whole_is_no_reason_to_stop(play: Callable[..., None]) -> None:
    async def scenario(world: World) -> None:
        await world.sell()
        await world.work()
        world.gateway.clear()
        world.gateway.put_customer(customer_document("cus_other"))
        await world.at(BEGAN + 8 * DAY)
        await world.work()
        assert await world.execute("SELECT count(*) FROM registry.notification_profile WHERE failure IS NOT NULL") == [
            (0,)
        ]

    play(scenario)
