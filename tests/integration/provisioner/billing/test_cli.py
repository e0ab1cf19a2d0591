"""``tenantry stripe`` and ``tenantry catalogue`` as somebody types them, against a running local Stripe."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from localcloud.stripe.server import LocalStripe
from provisioner.billing import catalogue, webhooks
from provisioner.cli.main import app

EXAMPLE = Path(__file__).parents[4] / "example" / "plans.toml"
PLANS = catalogue.load(EXAMPLE)
SOLD = len(PLANS.lookup_keys)
DAY = 86400
SECRET = "whsec_cli"


@dataclass
class Shell:
    """Runs commands with the environment that `tenantry local env` would set."""

    environment: dict[str, str]

    def run(self, *arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, list(arguments), env=self.environment)
        assert result.exit_code == code, (arguments, result.exit_code, result.output, result.exception)
        return result

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    def stripe(self, *arguments: str, code: int = 0) -> Any:
        return self.json("stripe", *arguments, code=code)

    def error(self, *arguments: str, code: int) -> str:
        """What is said on stderr; stdout stays empty."""
        result = self.run(*arguments, code=code)
        assert result.stdout == ""
        return result.stderr


def shell_for(url: str | None, key: str = LocalStripe.api_key, catalogue: Path = EXAMPLE) -> Shell:
    return Shell(
        {
            "TENANTRY_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
            "TENANTRY_STRIPE_API_KEY": key,
            "TENANTRY_CATALOGUE": str(catalogue),
            **({} if url is None else {"TENANTRY_STRIPE_API_BASE": url}),
        }
    )


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a developer's shell points at is none of these tests' business."""
    monkeypatch.delenv("TENANTRY_STRIPE_API_BASE", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def shell(local_stripe: LocalStripe) -> Shell:
    return shell_for(local_stripe.url)


@pytest.fixture
def sold(shell: Shell) -> Shell:
    """With the catalogue seeded, and a tenant ``acme`` on plan ``team``."""
    shell.run("stripe", "seed")
    shell.run("stripe", "subscribe", "acme", "--plan", "team")
    return shell


class Receiver:
    def __init__(self) -> None:
        self.events: list[webhooks.WebhookEvent] = []
        self.arrived = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                stamp = int(self.headers["stripe-signature"].split(",")[0].removeprefix("t="))
                event = webhooks.verify(body, self.headers["stripe-signature"], [SECRET], now=stamp)
                with receiver.arrived:
                    receiver.events.append(event)
                    receiver.arrived.notify_all()
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})

    def wait(self, type: str, count: int) -> list[str]:
        """The ids of the events of a type, once there are ``count``."""

        def found() -> list[str]:
            return [event.id for event in self.events if event.type == type]

        with self.arrived:
            assert self.arrived.wait_for(lambda: len(found()) >= count, 30), f"{type}: {len(found())} of {count}"
            return found()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    receiver.thread.start()
    yield receiver
    receiver.server.shutdown()
    receiver.thread.join()
    receiver.server.server_close()


def test_seeding_creates_what_is_missing_and_nothing_twice(shell: Shell) -> None:
    first = shell.stripe("seed")
    assert [row["created"] for row in first] == [True] * SOLD
    again = shell.stripe("seed")
    assert [row["created"] for row in again] == [False] * SOLD
    assert [row["price"] for row in again] == [row["price"] for row in first]
    assert "exists  team_monthly" in shell.run("stripe", "seed").stdout


def test_a_plan_is_sold_in_one_command(shell: Shell) -> None:
    shell.run("stripe", "seed")
    sold = shell.stripe("subscribe", "acme", "--plan", "team", "--annual")
    assert (sold["tenant"], sold["status"], sold["prices"], sold["trial_end"]) == (
        "acme",
        "active",
        ["team_annual"],
        None,
    )
    (shown,) = shell.stripe("show", "acme")
    assert shown == sold
    trial = shell.stripe("subscribe", "globex", "--plan", "starter", "--trial-days", "7")
    assert (trial["status"], trial["trial_end"]) == ("trialing", trial["current_period_end"])
    assert [row["tenant"] for row in shell.stripe("list")] == ["globex", "acme"]
    text = shell.run("stripe", "list").stdout
    assert sold["subscription"] in text, "an id can be copied whole"
    assert "team_annual" in text


def test_a_tenant_has_one_subscription_at_a_time(sold: Shell) -> None:
    said = sold.error("stripe", "subscribe", "acme", "--plan", "enterprise", code=4)
    assert "tenantry stripe change acme --plan enterprise" in said
    sold.run("stripe", "cancel", "acme")
    again = sold.stripe("subscribe", "acme", "--plan", "enterprise")
    assert again["status"] == "active"
    rows = sold.stripe("show", "acme")
    assert [row["status"] for row in rows] == ["active", "canceled"]
    assert len({row["customer"] for row in rows}) == 1, "the customer is the tenant's: no second one"


def test_a_plan_is_changed(sold: Shell) -> None:
    changed = sold.stripe("change", "acme", "--plan", "team_plus")
    assert changed["prices"] == ["team_plus_monthly"]
    changed = sold.stripe("change", "acme", "--plan", "enterprise", "--annual")
    assert changed["prices"] == ["enterprise_annual"]
    assert sold.stripe("change", "acme", "--plan", "team")["prices"] == ["team_annual"], "the interval stays"
    assert sold.stripe("change", "acme", "--plan", "team", "--monthly")["prices"] == ["team_monthly"]


def test_a_subscription_is_cancelled_now(sold: Shell) -> None:
    assert sold.stripe("cancel", "acme")["status"] == "canceled"
    assert sold.stripe("list") == []
    assert [row["status"] for row in sold.stripe("list", "--ended")] == ["canceled"]
    assert "no subscription that stands" in sold.error("stripe", "cancel", "acme", code=4)


def test_a_subscription_is_cancelled_at_the_end_of_its_period(sold: Shell) -> None:
    leaving = sold.stripe("cancel", "acme", "--at-period-end")
    assert (leaving["status"], leaving["cancel_at"]) == ("active", leaving["current_period_end"])
    sold.run("stripe", "clock", "advance", "32d")
    assert sold.stripe("show", "acme")[0]["status"] == "canceled"


def test_a_payment_fails_and_recovers(sold: Shell) -> None:
    assert "fails" in sold.run("stripe", "card", "acme", "--failing").stdout
    sold.run("stripe", "clock", "advance", "32d")
    assert sold.stripe("show", "acme")[0]["status"] == "past_due"
    assert sold.stripe("card", "acme", "--good")["failing"] is False
    sold.run("stripe", "clock", "advance", "3d")
    assert sold.stripe("show", "acme")[0]["status"] == "active"


def test_what_is_owed_is_paid_at_once_when_asked_for(sold: Shell) -> None:
    assert "no open invoice" in sold.run("stripe", "pay", "acme").stdout
    sold.run("stripe", "card", "acme", "--failing")
    sold.run("stripe", "clock", "advance", "32d")
    assert "Stripe refused" in sold.error("stripe", "pay", "acme", code=3)
    assert sold.stripe("show", "acme")[0]["status"] == "past_due"
    sold.run("stripe", "card", "acme", "--good")
    (paid,) = sold.stripe("pay", "acme")
    assert (paid["amount"], paid["currency"]) == (9900, "usd")
    assert sold.stripe("show", "acme")[0]["status"] == "active"
    assert "no customer" in sold.error("stripe", "pay", "nobody", code=4)


def test_a_new_customer_can_be_written_to(sold: Shell, local_stripe: LocalStripe) -> None:
    sold.run("stripe", "subscribe", "globex", "--plan", "starter", "--email", "ada@example.org")
    key = {"Authorization": f"Bearer {LocalStripe.api_key}"}
    listed = httpx.get(f"{local_stripe.url}/v1/customers", headers=key, trust_env=False).json()["data"]
    found = {customer["name"]: customer["email"] for customer in listed}
    assert found == {"acme": "billing@acme.example", "globex": "ada@example.org"}


def test_a_payment_that_goes_on_failing_ends_the_subscription(sold: Shell) -> None:
    sold.run("stripe", "card", "acme", "--failing")
    assert sold.stripe("clock", "advance", "8w")["steps"] > 4
    assert sold.stripe("show", "acme")[0]["status"] == "canceled"


def test_a_first_payment_can_fail(shell: Shell) -> None:
    shell.run("stripe", "seed")
    assert shell.stripe("subscribe", "acme", "--plan", "team", "--failing-card")["status"] == "incomplete"


def test_time_moves_forward(shell: Shell) -> None:
    before = shell.stripe("clock", "show")
    assert before["offset"] == 0
    moved = 0
    for text, seconds in (("90s", 90), ("15m", 900), ("12h", 43200), ("30d", 30 * DAY), ("2w", 14 * DAY)):
        moved += seconds
        assert shell.stripe("clock", "advance", text)["offset"] == moved
    assert "s ahead of this machine" in shell.run("stripe", "clock", "show").stdout
    assert "billing step(s)" in shell.run("stripe", "clock", "advance", "1s").stdout


@pytest.mark.parametrize("text", ["", "5", "d", "0d", "-1d", "1.5d", "1y", "9999999d", "1 d"])
def test_what_is_no_duration_is_refused(shell: Shell, text: str) -> None:
    assert "Write for example" in shell.error("stripe", "clock", "advance", "--", text, code=4)


def test_time_moves_ten_years_at_most(shell: Shell) -> None:
    assert "seconds must be" in shell.error("stripe", "clock", "advance", "999999d", code=4)


def test_events_are_listed_and_sent_again(receiver: Receiver) -> None:
    with LocalStripe(webhook_url=receiver.url, webhook_secret=SECRET) as local:
        shell = shell_for(local.url)
        shell.run("stripe", "seed")
        shell.run("stripe", "subscribe", "acme", "--plan", "team")
        (event,) = receiver.wait("customer.subscription.created", 1)
        listed = shell.stripe("events", "--limit", "100")
        assert event in [row["event"] for row in listed]
        assert len(shell.stripe("events", "--limit", "3")) == 3
        assert event in shell.run("stripe", "events", "--limit", "100").stdout
        assert len(shell.stripe("redeliver", event)["deliveries"]) == 1
        assert receiver.wait("customer.subscription.created", 2) == [event, event]
        assert "No such event" in shell.error("stripe", "redeliver", "evt_none", code=4)
        shell.error("stripe", "redeliver", "../faults?x", code=4)


def test_deliveries_go_wrong_on_request(receiver: Receiver) -> None:
    with LocalStripe(webhook_url=receiver.url, webhook_secret=SECRET) as local:
        shell = shell_for(local.url)
        shell.run("stripe", "seed")
        receiver.wait("price.created", 8)
        assert shell.stripe("faults", "--duplicate", "2")["duplicate"] == 2
        shell.run("stripe", "subscribe", "acme", "--plan", "team")
        assert len(set(receiver.wait("customer.subscription.created", 3))) == 1
        both = shell.stripe("faults", "--delay", "0.1", "--reorder")
        assert both == {"duplicate": 2, "delay_s": 0.1, "reorder": True, "drop_next": 0, "seed": 0}, "others stay"
        assert shell.stripe("faults", "--clear", "--drop-next", "500")["duplicate"] == 0
        shell.run("stripe", "cancel", "acme")
        lost = shell.stripe("events", "--undelivered", "--limit", "1000")
        assert "customer.subscription.deleted" in [row["type"] for row in lost]
        assert all(row["pending_webhooks"] == 1 for row in lost)
        assert "drop_next" in shell.run("stripe", "faults", "--clear").stdout
        deleted = next(row["event"] for row in lost if row["type"] == "customer.subscription.deleted")
        shell.run("stripe", "redeliver", deleted)
        assert receiver.wait("customer.subscription.deleted", 1) == [deleted]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["subscribe", "Not_Legal", "--plan", "team"], 4, "no tenant id"),
        (["subscribe", "acme", "--plan", "teem"], 4, "Did you mean team?"),
        (["subscribe", "acme"], 2, "--plan"),
        (["subscribe", "acme", "--plan", "team", "--trial-days", "900"], 2, "trial-days"),
        (["change", "acme", "--plan", "team"], 4, "tenantry stripe subscribe acme"),
        (["cancel", "acme"], 4, "no customer"),
        (["show", "acme"], 4, "no customer"),
        (["card", "acme", "--good"], 4, "no customer"),
        (["card", "acme"], 2, "--failing"),
        (["events", "--limit", "0"], 2, "limit"),
        (["faults", "--delay", "-1"], 2, "delay"),
    ],
)
def test_what_can_not_be_done_is_said_with_a_way_out(shell: Shell, arguments: list[str], code: int, said: str) -> None:
    assert said in shell.error("stripe", *arguments, code=code)


def test_without_prices_the_way_out_is_to_seed(shell: Shell) -> None:
    assert "tenantry stripe seed" in shell.error("stripe", "subscribe", "acme", "--plan", "team", code=4)
    assert shell.stripe("list") == [], "nothing was made before the price was looked for"


def test_errors_are_json_too(shell: Shell) -> None:
    error = shell.stripe("show", "nobody", code=4)["error"]
    assert error["code"] == "not_found"
    assert "nobody" in error["message"]
    assert error["hint"]


def test_a_stripe_that_is_away_is_for_later() -> None:
    shell = shell_for("http://127.0.0.1:9")
    assert shell.stripe("faults", code=5)["error"]["hint"] == "tenantry local status"
    assert shell.stripe("clock", "show", code=5)["error"]["code"] == "retry"


@pytest.mark.parametrize(
    ("key", "said"), [("sk_live_0123456789abcdef", "refuses a live mode key"), ("nonsense", "no secret")]
)
def test_a_key_that_is_not_for_tests_is_refused_and_not_shown(local_stripe: LocalStripe, key: str, said: str) -> None:
    shell = shell_for(local_stripe.url, key)
    message = shell.error("stripe", "list", code=3)
    assert said in message
    assert key not in message


def test_stripe_itself_can_not_be_told_the_time() -> None:
    for arguments in (["clock", "show"], ["clock", "advance", "1d"], ["faults"], ["redeliver", "evt_1"]):
        assert "TENANTRY_STRIPE_API_BASE is not set" in shell_for(None).error("stripe", *arguments, code=4)


def test_a_price_without_an_amount_can_not_be_seeded(local_stripe: LocalStripe, tmp_path: Path) -> None:
    plans = tmp_path / "plans.toml"
    plans.write_text('[plans.team]\ntier = "pool"\nprices = [{ lookup_key = "k", interval = "month" }]\n')
    said = shell_for(local_stripe.url, catalogue=plans).error("stripe", "seed", code=3)
    assert "price k has no unit_amount" in said
    assert str(plans) in said


# -- tenantry catalogue


def test_a_valid_catalogue_is_shown(shell: Shell) -> None:
    found = shell.json("catalogue", "check")
    assert found["problems"] == []
    assert [plan["plan"] for plan in found["plans"]] == list(PLANS.plans)
    assert found["plans"][0]["limits"] == {"projects": 10, "seats": 5, "storage_mib": 1024}
    assert f"{EXAMPLE} is valid." in shell.run("catalogue", "check", str(EXAMPLE)).stdout


def test_a_broken_catalogue_is_told_with_file_line_key_and_fix(shell: Shell, tmp_path: Path) -> None:
    plans = tmp_path / "plans [draft].toml"
    plans.write_text('[plans.team]\ntier = "brige"\n')
    said = shell.error("catalogue", "check", str(plans), code=3)
    assert f"{plans}:2: plans.team.tier: unknown tier 'brige'" in said
    assert "fix: did you mean bridge?" in said
    assert "fix: add [[plans.<name>.prices]] with lookup_key and interval" in said
    problems = shell.json("catalogue", "check", str(plans), code=3)["problems"]
    assert [(problem["line"], problem["key"]) for problem in problems] == [
        (1, "plans.team.prices"),
        (2, "plans.team.tier"),
    ]
    assert set(problems[0]) == {"line", "key", "message", "fix"}


def test_a_catalogue_that_is_not_there(shell: Shell, tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"
    assert "No such file" in shell.error("catalogue", "check", str(missing), code=3)
    assert shell.json("catalogue", "check", str(missing), code=3)["error"]["code"] == "configuration_invalid"


def test_a_broken_catalogue_stops_the_commands_that_need_it(local_stripe: LocalStripe, tmp_path: Path) -> None:
    plans = tmp_path / "plans.toml"
    plans.write_text("[plans.team]\n")
    error = shell_for(local_stripe.url, catalogue=plans).stripe("seed", code=3)["error"]
    assert error["code"] == "catalogue_invalid"
    assert "line 1: plans.team.tier: missing" in error["message"]


def test_the_catalogue_is_compared_with_what_stripe_sells(shell: Shell) -> None:
    said = shell.error("catalogue", "check", "--stripe", code=3)
    assert "Stripe has no price with lookup key 'team_monthly'" in said
    assert "tenantry stripe seed" in said
    assert len(shell.json("catalogue", "check", "--stripe", code=3)["problems"]) == SOLD
    shell.run("stripe", "seed")
    assert "Stripe sells every price" in shell.run("catalogue", "check", "--stripe").stdout
    assert shell.json("catalogue", "check", "--stripe")["problems"] == []
