"""``tenantry entitlements``: an operator's exceptions, from the shell to the application."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from provisioner.cli.entitlements import moment
from provisioner.cli.main import app
from tenantry import Tenantry
from tests.integration.tenantry.registry import Registry


def run(registry: Registry, *arguments: str) -> Result:
    environment = {
        "TENANTRY_DATABASE_URL": registry.owner.url,
        "PULUMI_BACKEND_URL": registry.owner.url.replace("postgresql://", "postgres://", 1),
        "TENANTRY_INSTALLATION": "test",
        "TENANTRY_ENVIRONMENT": "development",
        "TENANTRY_STRIPE_API_KEY": "sk_test_" + "0" * 24,
        "TENANTRY_STRIPE_WEBHOOK_SECRETS": "whsec_" + "0" * 24,
    }
    return CliRunner().invoke(app, ["entitlements", *arguments], env=environment)


def shown(registry: Registry) -> dict[str, Any]:
    result = run(registry, "show", "acme", "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


WHY = ("--by", "olivia", "--reason", "a promise")


def test_exceptions_are_set_shown_told_and_cleared(registry: Registry) -> None:
    registry.add("acme")
    for arguments in (
        ("grant", "acme", "sso", "--until", "14d"),
        ("revoke", "acme", "reports"),
        ("limit", "acme", "projects", "unlimited"),
        ("limit", "acme", "seats", "7"),
    ):
        result = run(registry, *arguments, *WHY)
        assert result.exit_code == 0, result.output
        assert "told at once" in result.stdout
    found = shown(registry)
    assert (found["features"], found["excluded"], found["limits"]) == (["sso"], ["reports"], {"seats": 7})
    assert {(each["name"], each["author"]) for each in found["overrides"]} == {
        (name, "olivia") for name in ("sso", "reports", "projects", "seats")
    }
    text = run(registry, "show", "acme").stdout
    assert "a promise" in text
    assert "unlimited" in text
    with Tenantry(registry.config(listen=False)) as sdk:
        assert (sdk.entitled("sso", "acme"), sdk.entitled("reports", "acme"), sdk.seats("acme")) == (True, False, 7)
    cleared = run(registry, "clear", "acme", "feature", "reports", *WHY, "--json")
    assert json.loads(cleared.stdout) == {"tenant_id": "acme", "cleared": {"kind": "feature", "name": "reports"}}
    assert shown(registry)["features"] == ["reports", "sso"]
    assert registry.execute("SELECT count(*) FROM registry.timeline WHERE kind = 'operator'") == [(5,)]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("grant", "nobody", "sso"), 4, "there is no tenant nobody"),
        (("grant", "acme", "repots"), 4, "did you mean reports"),
        (("limit", "acme", "projects", "-1"), 2, "No such option"),
        (("limit", "acme", "projects", "many"), 2, "neither a whole number"),
        (("limit", "acme", "projects", "99999999999999999"), 2, "neither a whole number"),
        (("grant", "acme", "sso", "--until", "tomorrow"), 2, "is no time"),
        (("grant", "acme", "sso", "--until", "2020-01-01"), 4, "would have ended"),
        (("clear", "acme", "feature", "sso"), 4, "no exception for feature sso"),
        (("clear", "acme", "colour", "sso"), 2, "is none of"),
        (("show", "nobody"), 4, "there is no tenant nobody"),
    ],
    ids=range(10),
)
def test_what_can_not_be_meant_is_refused_with_what_to_do(
    registry: Registry, arguments: tuple[str, ...], code: int, said: str
) -> None:
    registry.add("acme")
    why = () if arguments[0] == "show" else WHY
    result = run(registry, *arguments, *why)
    assert result.exit_code == code, result.output
    assert said in " ".join(result.output.replace("│", " ").split())
    assert registry.execute("SELECT count(*) FROM registry.entitlement_override") == [(0,)]


def test_a_name_that_no_plan_has_needs_to_be_meant(registry: Registry) -> None:
    registry.add("acme")
    assert run(registry, "grant", "acme", "private-beta", "--unlisted", *WHY).exit_code == 0
    assert "private-beta" in shown(registry)["features"]


def test_moments() -> None:
    now = datetime(2026, 12, 1, 12, tzinfo=UTC)
    assert moment("12h", now) == now + timedelta(hours=12)
    assert moment("2w", now) == now + timedelta(weeks=2)
    assert moment("2027-01-31", now) == datetime(2027, 1, 31, tzinfo=UTC)
    assert moment("2027-01-31T12:00+01:00", now) == datetime(2027, 1, 31, 11, tzinfo=UTC)
    with pytest.raises(typer.BadParameter, match="no time zone"):
        moment("2027-01-31T12:00", now)
