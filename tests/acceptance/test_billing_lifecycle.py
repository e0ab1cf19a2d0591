"""What customers pay for and what they may do: every step down and back, a tenant of each tier, on the live system.

Time is the local Stripe's. A step is waited for by asking for it; what a tenant may do is tried: by the SDK, at the
broker, and past both, with a login and a token that were issued while all was well.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import httpx
import psycopg
import pytest
from psycopg import sql

from provisioner.cli.local_mail import LocalMailbox
from provisioner.cli.stripe_control import LocalControl
from tenantry import Config, NotEntitled, TenantReadOnly, Tenantry, TenantSuspended, UnknownTenant
from tests.acceptance.conftest import ROOT, Shell
from tests.acceptance.test_lifecycle import Service, ready

TENANTS = {"pooled": "starter", "bridged": "team", "siloed": "enterprise"}
#: The steps of the plans' default terms: what access is so many days after the payment became overdue.
STEPS = {"throttled": 7, "read_only": 14, "suspended": 21, "hibernated": 30}
PROJECTS = {"pooled": 10, "bridged": 100, "siloed": None}  #: limits of the catalogue
WITHIN_S = 90.0
_ENTER = "SELECT set_config('app.current_tenant', %s, true), set_config('app.tenant_token', %s, true)"


@dataclass(frozen=True)
class Login:
    """A tenant's way into its database past the SDK, as it was issued."""

    tenant: str
    placement: dict[str, Any]
    username: str
    password: str
    token: str | None

    def insert(self, ca: str) -> None:
        """Twice is once too often: the name is unique."""
        place = self.placement
        where = psycopg.conninfo.make_conninfo(
            host=place["db_host"],
            port=place["db_port"],
            dbname=place["db_name"],
            user=self.username,
            password=self.password,
            sslmode="verify-full",
            sslrootcert=ca,
        )
        with psycopg.connect(where) as connection:
            if self.token is not None:
                connection.execute(_ENTER, [self.tenant, self.token])
            table = sql.Identifier(place["db_schema"], "project")
            connection.execute(
                sql.SQL("INSERT INTO {} (tenant_id, name) VALUES (%s, %s)").format(table), [self.tenant, "past the SDK"]
            )

    def refusal(self, ca: str) -> psycopg.Error | None:
        """Why it can't write any more; None while it could."""
        with pytest.raises(psycopg.Error) as raised:
            self.insert(ca)
        return None if isinstance(raised.value, psycopg.errors.UniqueViolation) else raised.value


class World:
    """The product, its local Stripe's control routes, and an application that uses the SDK."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.environment = service.shell.environment
        self.stripe = LocalControl(
            self.environment["TENANTRY_STRIPE_API_BASE"], self.environment["TENANTRY_STRIPE_API_KEY"]
        )
        self.mailbox = LocalMailbox.of(self.environment)
        self.rds = boto3.client("rds", **self._aws())
        spool = str(service.shell.home / "usage")
        self.sdk = Tenantry(Config.from_env(self.environment, spool_dir=spool, usage_interval=0.5))

    def close(self) -> None:
        self.sdk.close()

    def travel(self, to: datetime) -> None:
        ahead = int(to.timestamp() - self.stripe.get("/_local/clock")["now"]) + 1
        self.stripe.post("/_local/clock/advance", {"seconds": ahead})

    def until(self, holds: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + WITHIN_S
        while not holds():
            assert time.monotonic() < deadline, f"not within {WITHIN_S:.0f} s: {what}"
            time.sleep(0.2)

    def wait(self, access: str, *tenants: str) -> dict[str, Any]:
        """The last one, when all have the access and nothing of theirs is due."""
        for tenant in tenants:
            found = self.service.wait(tenant, lambda t: t["access"] == access and t["failure"] is None, access)
        return found

    def broker(self, tenant: str, kind: str) -> tuple[int, dict[str, Any]]:
        answer = httpx.post(
            f"{self.environment['TENANTRY_API_URL']}/v1/broker/{kind}",
            json={"tenant_id": tenant},
            headers={"Authorization": f"Bearer {self.environment['TENANTRY_APPLICATION_TOKEN']}"},
            trust_env=False,
        )
        return answer.status_code, answer.json()

    def login(self, tenant: str) -> Login:
        status, issued = self.broker(tenant, "database")
        assert status == 200, issued
        placement = self.service.get(f"tenants/{tenant}/explain")["placement"]
        return Login(tenant, placement, issued["username"], issued["password"], issued["token"])

    def refused(self, login: Login) -> psycopg.Error:
        """Why the database refuses a login that could write; it does so when the stack has followed the decision."""
        found: list[psycopg.Error] = []

        def refuses() -> bool:
            refusal = login.refusal(self.environment["TENANTRY_DATABASE_CA"])
            found.extend([] if refusal is None else [refusal])
            return bool(found)

        self.until(refuses, f"the database refuses {login.tenant}")
        return found[0]

    def write(self, tenant: str, name: str) -> None:
        with self.sdk.session(tenant) as session:
            session.execute("INSERT INTO project (name) VALUES (%s)", (name,))

    def names(self, tenant: str) -> set[str]:
        with self.sdk.session(tenant) as session:
            return {name for (name,) in session.execute("SELECT name FROM project").fetchall()}

    def entitled_as(self, tenant: str, access: str) -> None:
        """The SDK's cache is told of changes; the news may be on its way still."""
        self.until(lambda: self.sdk.access(tenant) == access, f"the SDK knows that {tenant} is {access}")

    def mailed(self, subject: str) -> bool:
        """Whether each tenant's customer has got a message with such a subject."""
        reached = {
            address for each in self.mailbox.messages() if subject in each["subject"] for address in each["recipients"]
        }
        return reached >= {f"billing@{tenant}.example" for tenant in TENANTS}

    def told_to_pay(self, tenant: str) -> bool:
        """Whether an operator is told so; while an operation runs, that is told instead."""
        return re.search("payment|is paid", self.service.get(f"tenants/{tenant}/explain")["next"]) is not None

    def agree(self) -> None:
        """Stripe, the registry and what stands; the exit code says it too."""
        found = self.service.ask("audit")
        assert (found["complete"], found["findings"]) == (True, [])

    def instance(self) -> str:
        found = self.rds.describe_db_instances()["DBInstances"]
        (status,) = [each["DBInstanceStatus"] for each in found if "siloed" in each["DBInstanceIdentifier"]]
        return str(status)

    def _aws(self) -> dict[str, Any]:
        return {
            "endpoint_url": self.environment["AWS_ENDPOINT_URL"],
            "region_name": self.environment["AWS_REGION"],
            "aws_access_key_id": self.environment["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": self.environment["AWS_SECRET_ACCESS_KEY"],
        }


@pytest.fixture(scope="module")
def world(shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    shell.run('bin/tenantry local up && eval "$(bin/tenantry local env)" && bin/tenantry stripe seed')
    notifications = tmp_path_factory.mktemp("mail") / "notifications.toml"
    text = (ROOT / "example" / "notifications.toml").read_text()
    # On which day of the week the steps fall depends on the day on which this runs.
    text = text.replace("weekends = false", "weekends = true").replace('quiet_hours = "20:00-08:00"\n', "")
    notifications.write_text(text)
    shell.environment |= {
        "TENANTRY_NOTIFICATIONS": str(notifications),
        "TENANTRY_STACK_FILES": str(shell.home),
        "TENANTRY_SWEEP_INTERVAL_S": "2",
    }
    service = Service(shell, ROOT / "example" / "app_schema")
    service.start()
    try:
        with closing(World(service)) as opened:
            # As in Stripe's settings for failed payments: when no attempt is left, the subscription stays past due.
            opened.stripe.post("/_local/settings", {"dunning": {"then": "leave"}})
            yield opened
    finally:
        service.kill()


def test_every_step_down_and_back_until_nothing_is_left(world: World, tmp_path: Path) -> None:
    service, sdk = world.service, world.sdk
    logins = _sold(world)
    overdue = _not_paid(world)
    _steps_down(world, logins, overdue)

    # Back, by a payment: from hibernated in the pool and the silo alike.
    for tenant in TENANTS:
        service.ask(f"stripe card {tenant} --good")
        assert service.ask(f"stripe pay {tenant}"), "there was an invoice to be paid"
    world.wait("full", *TENANTS)
    assert world.instance() == "available"
    for tenant in TENANTS:
        world.entitled_as(tenant, "full")
        world.write(tenant, "after")
        assert world.names(tenant) == {"before", "past the SDK", "throttled", "after"}
        assert sdk.files(tenant).get("report.txt") == b"before"
        logins[tenant] = world.login(tenant)
        assert logins[tenant].refusal(world.environment["TENANTRY_DATABASE_CA"]) is None
    world.agree()
    world.until(lambda: world.mailed("Thank you"), "each is thanked")

    # Cancelled: kept, and back within the days; or deleted after them.
    for tenant in TENANTS:
        service.ask(f"stripe cancel {tenant}")
    world.wait("retained", *TENANTS)
    for tenant in TENANTS:
        _closed(world, logins[tenant], "subscribing again brings it back")
    service.ask("stripe subscribe bridged --plan team")
    world.wait("full", "bridged")
    assert "after" in world.names("bridged")
    for tenant in ("pooled", "siloed"):
        until = datetime.fromisoformat(service.get(f"tenants/{tenant}")["retain_until"])
        assert service.get(f"tenants/{tenant}")["state"] == "retained"
        world.travel(until)
        service.wait(tenant, lambda t: t["state"] == "destroyed", "deleted when its days are over")
        with pytest.raises(UnknownTenant):
            world.names(tenant)
        certificate = service.ask(f"certificate show {tenant}")
        assert {table["name"]: table["rows"] for table in certificate["deleted"]["tables"]}["project"] == 4
        assert certificate["authorisation"]["cause"] == "retention"
        assert service.kinds(tenant).count("export") == (tenant == "siloed"), "opened once, for its final export"
        fetched = service.ask(f"archive fetch {tenant} --to {tmp_path}")
        assert service.ask(f"export verify {fetched['file']}")["valid"]
    world.wait("full", "bridged")  # its periods were paid meanwhile

    # Who comes back after that begins anew.
    service.ask("stripe subscribe pooled --plan starter")
    again = service.wait("pooled", ready, "its second life")
    assert (again["generation"], again["access"]) == (2, "full")
    world.until(lambda: sdk.entitlements("pooled").generation == 2, "the SDK follows into the second life")
    assert world.names("pooled") == set()
    with pytest.raises(psycopg.Error):
        logins["pooled"].insert(world.environment["TENANTRY_DATABASE_CA"])
    world.agree()
    assert service.get("events?status=quarantined") == []
    assert [each for each in service.ask("notifications list") if each["status"] == "quarantined"] == []


@pytest.mark.soak
def test_what_a_dispute_takes_comes_back_when_it_is_won(world: World) -> None:
    service = world.service
    sold = service.ask("stripe subscribe disputed --plan team")
    world.wait("full", "disputed")
    service.wait("disputed", ready, "ready")
    world.write("disputed", "before")
    key = {"Authorization": f"Bearer {world.environment['TENANTRY_STRIPE_API_KEY']}"}
    charges = f"{world.environment['TENANTRY_STRIPE_API_BASE']}/v1/charges?customer={sold['customer']}"
    (charge,) = httpx.get(charges, headers=key, trust_env=False).json()["data"]
    dispute = world.stripe.post("/_local/disputes", {"charge": charge["id"]})
    world.wait("read_only", "disputed")
    world.entitled_as("disputed", "read_only")
    with pytest.raises(TenantReadOnly, match="payment_disputed since") as refused:
        world.write("disputed", "refused")
    assert "when the dispute of its payment is won" in refused.value.hint
    assert world.names("disputed") == {"before"}
    world.stripe.post(f"/_local/disputes/{dispute['id']}", {"status": "won"})
    world.wait("full", "disputed")
    world.entitled_as("disputed", "full")
    world.write("disputed", "after")
    world.agree()


@pytest.mark.soak
def test_a_worker_that_dies_while_an_instance_starts_is_taken_over_from(world: World) -> None:
    service = world.service
    period = service.ask("stripe subscribe siloed --plan enterprise")["current_period_end"]
    world.wait("full", "siloed")
    service.wait("siloed", ready, "ready")
    world.write("siloed", "before")
    service.ask("stripe card siloed --failing")
    world.travel(datetime.fromtimestamp(period, UTC) + timedelta(hours=2))
    since = datetime.fromisoformat(world.wait("grace", "siloed")["access_since"])
    world.travel(since + timedelta(days=STEPS["hibernated"], minutes=1))
    world.wait("hibernated", "siloed")
    world.until(lambda: world.instance() == "stopped", "the instance is stopped")
    service.shell.run("bin/tenantry local latency rds.start 600")
    service.ask("stripe card siloed --good")
    service.ask("stripe pay siloed")
    world.until(lambda: world.instance() == "starting", "the instance starts")
    assert "an operation is running" in service.get("tenants/siloed/explain")["next"]
    assert world.broker("siloed", "database")[0] == 403, "nothing is given out before it has started"
    service.kill_worker()
    service.shell.run("bin/tenantry local latency rds.start 0")
    world.wait("full", "siloed")
    world.entitled_as("siloed", "full")
    world.write("siloed", "after")
    told = [entry["summary"] for entry in service.get("tenants/siloed/explain")["timeline"]]
    assert any("died while it changed the stack; this one took over" in line for line in told)
    world.agree()


def _sold(world: World) -> dict[str, Login]:
    for tenant, plan in TENANTS.items():
        world.service.ask(f"stripe subscribe {tenant} --plan {plan}")
    world.wait("full", *TENANTS)
    logins = {}
    for tenant in TENANTS:
        world.service.wait(tenant, ready, "ready")
        world.write(tenant, "before")
        world.sdk.files(tenant).put("report.txt", b"before")
        world.sdk.require("files", tenant)
        assert world.sdk.limit("projects", tenant) == PROJECTS[tenant]
        world.sdk.meter.record("api_calls", 3, tenant_id=tenant)
        logins[tenant] = world.login(tenant)
        logins[tenant].insert(world.environment["TENANTRY_DATABASE_CA"])
    assert world.sdk.meter.flush()
    assert re.search(r"^plan +starter$", world.service.shell.run("bin/tenantry tenants show pooled"), re.MULTILINE)
    return logins


def _not_paid(world: World) -> datetime:
    """The renewals fail; since when they are overdue."""
    service = world.service
    for tenant in TENANTS:
        service.ask(f"stripe card {tenant} --failing")
    (last,) = service.ask(f"stripe show {tenant}")  # the one that was sold last
    ends = datetime.fromtimestamp(last["current_period_end"], UTC)
    world.travel(ends + timedelta(hours=2))  # a draft is open for an hour
    world.wait("grace", *TENANTS)
    overdue = max(datetime.fromisoformat(service.get(f"tenants/{tenant}")["access_since"]) for tenant in TENANTS)
    for tenant in TENANTS:
        world.entitled_as(tenant, "grace")
        world.sdk.require("files", tenant)
    service.shell.run("bin/tenantry usage report")
    (used,) = service.ask(f"usage bridged --from {overdue - timedelta(days=40):%Y-%m-%d}")["meters"]
    assert (used["recorded"], used["reported"], used["pending"]) == (3, 3, 0)
    return overdue


def _steps_down(world: World, logins: dict[str, Login], overdue: datetime) -> None:
    sdk = world.sdk
    for access, days in STEPS.items():
        world.travel(overdue + timedelta(days=days, minutes=1))
        world.wait(access, *TENANTS)
        for tenant in TENANTS:
            world.entitled_as(tenant, access)
            if access == "throttled":
                world.write(tenant, "throttled")
                full = PROJECTS[tenant]
                assert sdk.limit("projects", tenant) == (None if full is None else full // 10)
            elif access == "read_only":
                assert world.names(tenant) == {"before", "past the SDK", "throttled"}
                assert sdk.files(tenant).get("report.txt") == b"before"
                with pytest.raises(TenantReadOnly, match=r"payment_overdue since \d{4}-"):
                    world.write(tenant, "refused")
                with pytest.raises(TenantReadOnly):
                    sdk.files(tenant).put("report.txt", b"refused")
                refusal = world.refused(logins[tenant])
                assert isinstance(
                    refusal, psycopg.errors.InsufficientPrivilege | psycopg.errors.ReadOnlySqlTransaction
                ), refusal
            else:
                way = "a payment opens it again" if access == "suspended" else "a payment starts its database again"
                _closed(world, logins[tenant], way)
            told = world.service.get(f"tenants/{tenant}/explain")
            assert (told["tenant"]["access"], told["tenant"]["access_reason"]) == (access, "payment_overdue")
            world.until(lambda: world.told_to_pay(tenant), "what brings it back is told")  # noqa: B023
        stands = "stopped" if access == "hibernated" else "available"
        world.until(lambda: world.instance() == stands, f"the instance is {stands}")  # noqa: B023
        if access == "read_only":
            world.until(lambda: world.mailed("is limited"), "each is told what it has lost")


def _closed(world: World, login: Login, way_back: str) -> None:
    """Nothing is let in: by the SDK, the broker, or the database itself."""
    world.entitled_as(login.tenant, world.service.get(f"tenants/{login.tenant}")["access"])
    with pytest.raises(TenantSuspended) as refused:
        world.names(login.tenant)
    assert way_back in refused.value.hint
    with pytest.raises(TenantSuspended):
        world.sdk.files(login.tenant).get("report.txt")
    with pytest.raises(NotEntitled):
        world.sdk.require("files", login.tenant)
    for kind in ("database", "aws"):
        status, answer = world.broker(login.tenant, kind)
        assert (status, answer["error"]["code"]) == (403, "tenant_suspended"), answer
        assert way_back in json.dumps(answer)
    assert login.password not in str(world.refused(login))
