"""The audit finds what disagrees between Stripe, the registry and what stands, and mends what needs no judgement."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from provisioner.audit.auditor import Auditor
from provisioner.audit.compare import Resource
from provisioner.audit.findings import Finding, FindingKind
from provisioner.audit.tagged import ResourcesUnreadable
from provisioner.billing.fake import customer_document, subscription_document
from provisioner.errors import StripeUnavailable
from provisioner.registry import audits
from tests.integration.provisioner.service.harness import CATALOGUE, INSTALLATION, Service, open_service

Scenario = Callable[["Books"], Awaitable[None]]
NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
SECONDS = int(NOW.timestamp())


class Books:
    """The service, its auditor, and AWS's resources as the test says."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.resources: list[Resource] = []
        self.aws_fails = False
        self.auditor = Auditor(
            service.pool,
            service.inbox,
            CATALOGUE,
            INSTALLATION,
            service.stacks,
            lambda regions: self._list(),
        )

    def _list(self) -> Sequence[Resource]:
        if self.aws_fails:
            raise ResourcesUnreadable("AWS is away")
        return self.resources

    async def sell(self, tenant: str = "acme", *, told: bool = True, **changes: Any) -> None:
        name = changes.pop("name", f"sub_{tenant}".replace("-", "_"))
        changes.setdefault("created", SECONDS)
        document = subscription_document(
            name, tenant, changes.pop("plan", "team_monthly"), **{"customer": f"cus_{tenant}", **changes}
        )
        self.service.gateway.put_subscription(document)
        if told:
            await self.service.deliver(self.service.event("customer.subscription.updated", document))
            await self.service.work()

    async def execute(self, query: str, *parameters: Any) -> None:
        async with self.service.pool.connection() as connection:
            await connection.execute(query.encode(), parameters)

    async def findings(self) -> list[tuple[str, str | None]]:
        return [(each.kind.value, each.tenant_id) for each in (await self.auditor.run()).findings]

    async def fix(self) -> list[Finding]:
        found = await self.auditor.run()
        begun = await self.auditor.fix([each for each in found.findings if each.fixable], by="ada")
        await self.service.work()
        return begun


@pytest.fixture
def play(database: str) -> Callable[[Scenario], None]:
    def run(scenario: Scenario) -> None:
        async def inside() -> None:
            async with open_service(database) as service:
                service.gateway.time = NOW
                await scenario(Books(service))

        asyncio.run(inside())

    return run


def test_an_installation_that_agrees_has_no_findings(play: Callable[[Scenario], None]) -> None:
    async def scenario(books: Books) -> None:
        for number, plan in enumerate(("starter_monthly", "team_monthly", "enterprise_monthly")):
            await books.sell(f"tenant-{number}", plan=plan)
        await books.sell("gone", status="canceled", ended_at=SECONDS, canceled_at=SECONDS)
        await books.sell("owing", plan="starter_monthly")
        await books.sell("owing", plan="starter_monthly", status="past_due")
        books.resources = [
            Resource("arn:aws:rds:db", "tenant-2", "1"),
            Resource("arn:aws:s3:::shared", "platform", "1"),
        ]
        assert await books.findings() == []
        assert (await books.auditor.run()).complete

    play(scenario)


def test_what_is_paid_and_was_never_announced_is_found_and_built(play: Callable[[Scenario], None]) -> None:
    async def scenario(books: Books) -> None:
        await books.sell(told=False)
        assert await books.findings() == [("unknown_subscription", "acme")]
        (begun,) = await books.fix()
        assert begun.kind is FindingKind.UNKNOWN_SUBSCRIPTION
        record = await books.service.tenant("acme")
        assert (record.state, record.access) == ("ready", "full")
        assert await books.findings() == []

    play(scenario)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("UPDATE registry.placement SET access = 'suspended'", "paid_not_provisioned"),
        ("UPDATE registry.tenant SET access = 'suspended'", "access_drift"),
        ("""UPDATE registry.tenant SET outputs = outputs || '{"access": "suspended"}'""", "access_drift"),
        ("UPDATE registry.tenant SET features = '{everything}'", "entitlement_drift"),
        ("UPDATE registry.tenant SET plan = 'enterprise'", "entitlement_drift"),
        ("""UPDATE registry.tenant SET limits = '{"seats": 100000}'""", "entitlement_drift"),
        ("UPDATE registry.tenant SET fingerprint = NULL", "stack_behind"),
        ("DELETE FROM registry.placement", "paid_not_provisioned"),
    ],
)
def test_whatever_was_changed_behind_our_back_is_found_and_mended(
    play: Callable[[Scenario], None], change: str, kind: str
) -> None:
    async def scenario(books: Books) -> None:
        await books.sell()
        await books.execute(change)
        assert (kind, "acme") in await books.findings()
        await books.fix()
        assert await books.findings() == []
        record, placement = await books.service.tenant("acme"), await books.service.placement("acme")
        assert (record.access, record.plan) == ("full", "team")
        assert placement is not None
        assert placement.access == "full"

    play(scenario)


def test_who_no_longer_pays_and_still_has_access_is_found(play: Callable[[Scenario], None]) -> None:
    async def scenario(books: Books) -> None:
        await books.sell()
        await books.sell(told=False, status="canceled", ended_at=SECONDS, canceled_at=SECONDS)
        found = await books.findings()
        assert ("provisioned_not_paid", "acme") in found
        await books.fix()
        assert await books.findings() == []
        assert (await books.service.tenant("acme")).access == "retained"

    play(scenario)


def test_two_tenants_of_one_customer_are_told_and_left_to_a_person(play: Callable[[Scenario], None]) -> None:
    async def scenario(books: Books) -> None:
        await books.sell()
        await books.sell("globex", customer="cus_acme", told=False)
        found = (await books.auditor.run()).findings
        shared = [each for each in found if each.kind is FindingKind.SHARED_CUSTOMER]
        assert {each.tenant_id for each in shared} == {"acme", "globex"}
        assert not any(each.fixable for each in shared)
        assert await books.fix() == []

    play(scenario)


def test_a_second_paid_subscription_and_an_unreadable_one_are_told(play: Callable[[Scenario], None]) -> None:
    async def scenario(books: Books) -> None:
        await books.sell()
        await books.sell(name="sub_again", told=False)
        assert ("two_subscriptions", "acme") in await books.findings()
        await books.sell("odd", plan="nobody_sells_this", told=False)
        assert ("unknown_subscription", None) in await books.findings()

    play(scenario)


def test_a_tenant_with_two_unreadable_subscriptions_is_told_once(play: Callable[[Scenario], None]) -> None:
    async def scenario(books: Books) -> None:
        await books.sell()
        for name in ("sub_x", "sub_y"):
            await books.sell(name=name, plan="nobody_sells_this", told=False)
        (found,) = (await books.auditor.run()).findings
        assert (found.kind, found.subject) == (FindingKind.SUBSCRIPTION_UNREADABLE, "acme")
        assert "sub_x" in found.what
        assert "sub_y" in found.what

    play(scenario)


def test_a_tenant_that_can_not_be_judged_keeps_no_other_from_being_audited(play: Callable[[Scenario], None]) -> None:
    async def scenario(books: Books) -> None:
        await books.sell()
        await books.sell("globex")
        await books.execute("UPDATE registry.tenant SET plan = 'enterprise'")
        await books.execute("""UPDATE registry.tenant SET spec = '{"no": "spec"}' WHERE tenant_id = 'acme'""")
        found = (await books.auditor.run()).findings
        assert [(each.kind.value, each.subject) for each in found] == [
            ("entitlement_drift", "globex"),
            ("not_audited", "acme"),
        ]

    play(scenario)


def test_whoever_is_changed_while_the_audit_reads_is_left_out(play: Callable[[Scenario], None]) -> None:
    async def scenario(books: Books) -> None:
        await books.sell()

        def changed(regions: Sequence[str]) -> Sequence[Resource]:
            """Between the reading of Stripe and that of the registry the subscription ends, and its tenant follows."""

            async def later() -> None:
                await books.sell(status="canceled", ended_at=SECONDS, canceled_at=SECONDS)

            asyncio.run_coroutine_threadsafe(later(), loop).result(timeout=30)
            return []

        loop = asyncio.get_running_loop()
        books.auditor.resources = changed
        assert await books.findings() == []
        assert (await books.service.tenant("acme")).access == "retained"

    play(scenario)


def test_stacks_and_resources_of_nobody_are_told_and_never_touched(play: Callable[[Scenario], None]) -> None:
    async def scenario(books: Books) -> None:
        await books.sell()
        books.service.stacks.versions |= {"ghost": "1", "acme.7": "1", "platform": "1", "platform.eu1": "1"}
        books.resources = [
            Resource("arn:aws:s3:::ghost", "ghost", "1"),
            Resource("arn:aws:s3:::former", "acme", "7"),
            Resource("arn:aws:s3:::mine", "acme", "1"),
        ]
        found = (await books.auditor.run()).findings
        assert [(each.kind.value, each.subject) for each in found] == [
            ("orphaned_stack", "acme.7"),
            ("orphaned_stack", "ghost"),
            ("orphaned_resource", "arn:aws:s3:::former"),
            ("orphaned_resource", "arn:aws:s3:::ghost"),
        ]
        assert await books.fix() == []
        assert "ghost" in books.service.stacks.versions

    play(scenario)


def test_a_dispute_that_no_event_told_of_is_found_and_counts(play: Callable[[Scenario], None]) -> None:
    async def scenario(books: Books) -> None:
        await books.sell()
        gateway = books.service.gateway
        gateway.put_charge(
            {"id": "ch_1", "object": "charge", "customer": "cus_acme", "payment_intent": None, "amount_refunded": 0}
        )
        gateway.put_dispute(
            {
                "id": "du_1",
                "object": "dispute",
                "charge": "ch_1",
                "payment_intent": None,
                "status": "needs_response",
                "amount": 9900,
                "currency": "usd",
                "created": SECONDS - 86400,
            }
        )
        assert await books.findings() == [("payment_case_unknown", "acme")]
        await books.fix()
        assert (await books.service.tenant("acme")).access == "read_only"
        assert await books.findings() == []

    play(scenario)


def test_a_dispute_that_nobody_understands_hides_nothing_else(play: Callable[[Scenario], None]) -> None:
    async def scenario(books: Books) -> None:
        await books.sell()
        await books.execute("UPDATE registry.tenant SET plan = 'enterprise'")
        gateway = books.service.gateway
        gateway.put_charge({"id": "ch_1", "object": "charge", "customer": "cus_acme", "payment_intent": None})
        gateway.put_dispute({"id": "du_1", "charge": "ch_1", "status": "in_space", "created": SECONDS})
        gateway.put_refund({"id": "re_1", "charge": "ch_gone", "created": SECONDS})
        audit = await books.auditor.run()
        assert not audit.complete
        assert [(each.kind.value, each.subject) for each in audit.findings] == [
            ("entitlement_drift", "acme"),
            ("not_audited", "ch_gone"),
            ("not_audited", "du_1"),
        ]

    play(scenario)


def test_a_refund_that_failed_is_no_case(play: Callable[[Scenario], None]) -> None:
    async def scenario(books: Books) -> None:
        await books.sell()
        charge = {"id": "ch_1", "object": "charge", "customer": "cus_acme", "payment_intent": None, "currency": "usd"}
        books.service.gateway.put_charge({**charge, "amount_refunded": 0, "refunded": False})
        books.service.gateway.put_refund({"id": "re_1", "charge": "ch_1", "status": "failed", "created": SECONDS})
        assert await books.findings() == []
        books.service.gateway.put_charge({**charge, "amount_refunded": 9900, "refunded": True})
        assert await books.findings() == [("payment_case_unknown", "acme")]
        await books.fix()
        books.service.gateway.put_charge({**charge, "amount_refunded": 0, "refunded": False})
        assert await books.findings() == [("payment_case_unknown", "acme")]
        await books.fix()
        assert await books.findings() == []
        [case] = (await books.service.tenant("acme")).payment_cases or []
        assert (case["status"], case["amount"]) == ("none", 0)

    play(scenario)


def test_a_customer_on_a_test_clock_is_judged_by_it(play: Callable[[Scenario], None]) -> None:
    async def scenario(books: Books) -> None:
        gateway = books.service.gateway
        customer = {**customer_document("cus_acme"), "test_clock": "clock_1"}
        gateway.put_test_clock("clock_1", SECONDS + 8 * 86400)
        await books.sell(plan="starter_monthly", status="past_due", customer=customer)
        assert (await books.service.tenant("acme")).access == "throttled"
        assert await books.findings() == []
        gateway.put_test_clock("clock_1", SECONDS + 15 * 86400)
        assert ("provisioned_not_paid", "acme") in await books.findings()

    play(scenario)


def test_events_that_wait_too_long_or_were_quarantined_are_told(play: Callable[[Scenario], None]) -> None:
    async def scenario(books: Books) -> None:
        await books.sell()
        document = subscription_document("sub_acme", "acme", "team_monthly", customer="cus_acme", created=SECONDS)
        await books.service.deliver(books.service.event("customer.subscription.updated", document))
        await books.execute("DELETE FROM procrastinate_jobs")
        assert await books.findings() == [], "a minute is no delay"
        await books.execute(
            "UPDATE registry.event SET received_at = now() - interval '1 hour' WHERE status = 'received'"
        )
        assert await books.findings() == [("event_stuck", None)]
        assert [each.kind for each in await books.fix()] == [FindingKind.EVENT_STUCK]
        assert await books.findings() == []
        await books.service.deliver(books.service.event("customer.subscription.updated", {"object": "subscription"}))
        await books.service.work()
        assert await books.findings() == [("event_quarantined", None)]

    play(scenario)


def test_what_can_not_be_read_is_a_finding_and_nothing_is_concluded_from_it(play: Callable[[Scenario], None]) -> None:
    async def scenario(books: Books) -> None:
        await books.sell()
        books.service.gateway.unavailable = True
        books.aws_fails = True
        audit = await books.auditor.run()
        assert not audit.complete
        assert [(each.kind, each.subject) for each in audit.findings] == [
            (FindingKind.NOT_AUDITED, "AWS"),
            (FindingKind.NOT_AUDITED, "Stripe"),
        ]

    play(scenario)


def test_stripe_that_fails_half_way_makes_nobody_unknown(
    play: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(books: Books) -> None:
        await books.sell()
        gateway, listed = books.service.gateway, books.service.gateway.subscriptions

        async def broken() -> AsyncIterator[dict[str, Any]]:
            async for document in listed():
                yield document
            raise StripeUnavailable("Stripe broke off")

        monkeypatch.setattr(gateway, "subscriptions", broken)
        audit = await books.auditor.run()
        assert [(each.kind, each.subject) for each in audit.findings] == [(FindingKind.NOT_AUDITED, "Stripe")]

    play(scenario)


def test_findings_are_kept_until_they_are_gone_and_the_night_audits_once(play: Callable[[Scenario], None]) -> None:
    async def scenario(books: Books) -> None:
        await books.sell()
        await books.execute("UPDATE registry.tenant SET plan = 'enterprise'")
        await books.auditor.run_nightly(NOW)
        await books.auditor.run_nightly(NOW + timedelta(hours=1))
        async with books.service.pool.connection() as connection:
            assert await audits.count(connection) == {"entitlement_drift": 1}
            runs = await (await connection.execute("SELECT nightly, findings FROM registry.audit_run")).fetchall()
        assert runs == [(True, 1)]
        await books.fix()
        await books.auditor.run()
        async with books.service.pool.connection() as connection:
            assert await audits.count(connection) == {}

    play(scenario)


def test_a_tenant_that_is_being_worked_on_is_left_out(play: Callable[[Scenario], None]) -> None:
    async def scenario(books: Books) -> None:
        await books.sell()
        await books.execute("UPDATE registry.tenant SET plan = 'enterprise'")
        found = await books.auditor.run()
        assert found.findings
        await books.auditor.fix(found.findings, by="ada")
        assert await books.findings() == []

    play(scenario)
