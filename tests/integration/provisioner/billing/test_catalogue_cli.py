"""``tenantry catalogue diff|push|pull|prices|migrate-price`` as somebody types them: local Stripe, real registry."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import stripe
from typer.testing import CliRunner, Result

from localcloud.stripe.server import LocalStripe
from provisioner.cli.main import app
from provisioner.registry.migrate import migrate

PLANS = """# ours
[plans.team]
tier = "pool"

[[plans.team.prices]]
lookup_key = "team_monthly"
interval = "month"
unit_amount = 2900   # since 2024
"""


@dataclass
class Shell:
    environment: dict[str, str]
    plans: Path
    database: str

    def run(self, *arguments: str, code: int = 0, answer: str | None = None, **environment: str) -> Result:
        result = CliRunner().invoke(app, list(arguments), env={**self.environment, **environment}, input=answer)
        assert result.exit_code == code, (arguments, result.exit_code, result.output, result.exception)
        return result

    def catalogue(self, *arguments: str, code: int = 0, **environment: str) -> Any:
        return json.loads(self.run("catalogue", *arguments, "--json", code=code, **environment).stdout)

    def dearer(self) -> None:
        self.plans.write_text(self.plans.read_text().replace("2900", "3900"))

    def rows(self, statement: str) -> Sequence[tuple[Any, ...]]:
        with psycopg.connect(self.database) as connection:
            return connection.execute(statement.encode()).fetchall()


@pytest.fixture
def shell(local_stripe: LocalStripe, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("NO_COLOR", "1")
    migrate(database, database)
    plans = tmp_path / "plans.toml"
    plans.write_text(PLANS)
    environment = {
        "TENANTRY_DATABASE_URL": database,
        "TENANTRY_STRIPE_API_KEY": LocalStripe.api_key,
        "TENANTRY_STRIPE_API_BASE": local_stripe.url,
        "TENANTRY_CATALOGUE": str(plans),
    }
    return Shell(environment, plans, database)


def test_the_exit_code_of_a_diff_says_whether_there_is_one(shell: Shell) -> None:
    found = shell.catalogue("diff", code=6)
    assert {(change["action"], change["object"]) for change in found["changes"]} == {
        ("create", "product"),
        ("create", "price"),
        ("create", "portal configuration"),
    }
    assert "2900 usd per month" in shell.run("catalogue", "diff", code=6).stdout
    assert shell.catalogue("push", "--yes")["applied"]
    assert shell.catalogue("diff") == {**found, "changes": []}
    assert "Stripe sells what" in shell.run("catalogue", "diff").stdout


def test_a_push_asks_and_a_no_changes_nothing(shell: Shell) -> None:
    said = shell.run("catalogue", "push", code=1, answer="n\n")
    assert "Make 3 change(s) in Stripe's test mode?" in said.stderr
    shell.run("catalogue", "diff", code=6)
    shell.run("catalogue", "push", answer="y\n")
    shell.run("catalogue", "diff", code=0)
    shell.dearer()
    assert shell.catalogue("push", code=4)["error"]["hint"], "JSON can't ask"


def test_what_stripe_says_does_not_steer_the_terminal(shell: Shell, local_stripe: LocalStripe) -> None:
    shell.run("catalogue", "push", "--yes")
    stripe.StripeClient(LocalStripe.api_key, base_addresses={"api": local_stripe.url}).v1.products.update(
        "tenantry_team", {"name": "x\x1b[2Jy"}
    )
    said = shell.run("catalogue", "diff", code=6).stdout
    assert "name: x" in said
    assert "\x1b" not in said


def test_modes_can_not_be_confused(shell: Shell) -> None:
    live = {"TENANTRY_STRIPE_API_KEY": "sk_live_0123456789"}
    for command in (["diff"], ["push", "--yes"], ["pull"], ["prices"], ["migrate-price", "price_1", "--yes"]):
        said = shell.run("catalogue", *command, code=3, **live)
        assert "--live was not given" in said.stderr
        assert "sk_live" not in said.output
        said = shell.run("catalogue", *command, "--live", code=3)
        assert "is a test mode key" in said.stderr


def test_the_account_is_recorded_at_the_first_push_and_no_other_is_taken(shell: Shell) -> None:
    shell.run("catalogue", "push", "--yes")
    ((account, livemode),) = shell.rows("SELECT account_id, livemode FROM registry.billing_account")
    assert account.startswith("acct_")
    assert livemode is False
    with psycopg.connect(shell.database) as connection:
        connection.execute("UPDATE registry.billing_account SET account_id = 'acct_other'")
    shell.dearer()
    said = shell.run("catalogue", "push", "--yes", code=3)
    assert "bills through acct_other in test mode" in said.stderr
    assert f"--account {account}" in said.stderr
    assert shell.catalogue("diff", code=6)["changes"], "nothing was pushed"
    assert "names acct_wrong" in shell.run("catalogue", "push", "--yes", "--account", "acct_wrong", code=3).stderr
    shell.run("catalogue", "push", "--yes", "--account", account)
    assert shell.rows("SELECT account_id FROM registry.billing_account") == [(account,)]


def test_a_conflict_stops_a_push_with_its_fix(shell: Shell, local_stripe: LocalStripe) -> None:
    shell.run("catalogue", "push", "--yes")
    shell.plans.write_text(PLANS.replace("unit_amount = 2900   # since 2024\n", 'currency = "eur"\n'))
    found = shell.catalogue("diff", code=3)
    assert "add unit_amount" in found["conflicts"][0]["fix"]
    assert "conflict: price team_monthly" in shell.run("catalogue", "push", "--yes", code=3).stderr
    assert shell.catalogue("push", "--yes", code=3)["applied"] is False


def test_a_pull_keeps_the_file_and_takes_over_what_differs(shell: Shell, tmp_path: Path) -> None:
    shell.run("catalogue", "push", "--yes")
    assert shell.run("catalogue", "pull").stdout == PLANS
    shell.dearer()
    shell.run("catalogue", "push", "--yes")
    shell.plans.write_text(PLANS)
    other = tmp_path / "other.toml"
    shell.run("catalogue", "pull", "--output", str(other))
    assert other.read_text() == PLANS.replace("2900", "3900")
    assert shell.plans.read_text() == PLANS
    shell.run("catalogue", "diff", str(other), code=0)
    assert 'tier = "FILL IN"' in shell.run("catalogue", "pull", str(tmp_path / "none.toml")).stdout


def test_subscribers_are_moved_by_one_command(shell: Shell) -> None:
    shell.run("catalogue", "push", "--yes")
    for tenant in ("acme", "globex"):
        shell.run("stripe", "subscribe", tenant, "--plan", "team")
    shell.dearer()
    shell.run("catalogue", "push", "--yes")
    (old,) = [row for row in shell.catalogue("prices") if row["superseded"]]
    assert (old["subscribers"], old["amount"], old["active"]) == (2, "2900 usd", False)
    preview = shell.catalogue("migrate-price", old["price"], "--dry-run")["subscriptions"]
    invoices = {each["tenant"]: each["next_invoice"] for each in preview}
    expected = {"currency": "usd", "present": 2900, "new": 3900, "error": None}
    assert invoices == {"acme": expected, "globex": expected}
    assert shell.rows("SELECT count(*) FROM registry.price_migration") == [(0,)]
    said = shell.run(
        "catalogue", "migrate-price", old["price"], "--wave-size", "1", "--at", "now", code=1, answer="y\nn\n"
    )
    assert "Move 2 subscription(s)" in said.stderr
    assert "Wave 1 done: 1 moved, 0 failed, 1 left. Go on?" in said.stderr
    assert "goes on where this one ended" in said.stderr
    said = shell.run("catalogue", "migrate-price", old["price"], "--yes", code=4)
    assert "--abandon" in said.stderr, "the one that is open is --at now"
    done = shell.catalogue("migrate-price", old["price"], "--at", "now", "--yes")
    assert (done["moved"], done["left"], done["failures"]) == (1, 0, [])
    assert shell.rows("SELECT status FROM registry.price_migration") == [("finished",)]
    assert shell.rows("SELECT tenant_id FROM registry.timeline WHERE kind = 'operator' ORDER BY 1") == [
        ("acme",),
        ("globex",),
    ]
    (old,) = [row for row in shell.catalogue("prices") if row["superseded"]]
    assert old["subscribers"] == 0


def test_a_migration_can_be_abandoned(shell: Shell) -> None:
    shell.run("catalogue", "push", "--yes")
    shell.run("stripe", "subscribe", "acme", "--plan", "team")
    shell.run("stripe", "subscribe", "globex", "--plan", "team")
    shell.dearer()
    shell.run("catalogue", "push", "--yes")
    (old,) = [row["price"] for row in shell.catalogue("prices") if row["superseded"]]
    shell.run("catalogue", "migrate-price", old, "--percent", "50", code=1, answer="y\nn\n")
    shell.run("catalogue", "migrate-price", old, "--abandon")
    assert shell.rows("SELECT status FROM registry.price_migration") == [("finished",)]
    assert "unfinished" in shell.run("catalogue", "migrate-price", old, "--abandon", code=4).stderr
    shell.run("catalogue", "migrate-price", old, "--at", "now", "--yes")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--at", "tomorrow"], "none of now, renewal"),
        (["--at", "now", "--proration", "some"], "none of none, create_prorations, always_invoice"),
        (["--proration", "always_invoice"], "at the renewal nothing is prorated"),
        (["--wave-size", "0"], "greater than or equal to 1"),
        (["--wave-size", "1", "--percent", "5"], "not both"),
        (["--percent", "101"], "less than or equal to 100"),
    ],
)
def test_wrong_usage_is_said_before_anything_is_asked(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["catalogue", "migrate-price", "price_1", *arguments])
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
