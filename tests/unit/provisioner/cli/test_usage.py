"""The commands' own checks, before any database is asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import typer
from typer.testing import CliRunner

from provisioner.cli.main import app
from provisioner.cli.usage import _bounds

RUNNER = CliRunner()
DECEMBER = (datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["acme", "--month", "2026-13"], "2026-12"),
        (["acme", "--month", "2026-12", "--from", "2026-12-01"], "either --month"),
        (["acme", "--to", "2026-12-01"], "needs --from"),
        (["acme", "--from", "yesterday"], "no time"),
        (["acme", "--from", "2026-12-02", "--to", "2026-12-01"], "empty"),
        (["quarantined", "--retry", "--drop"], "either --retry or --drop"),
        (["correct", "acme", "calls", "--by-units=1", "--at", "now", "--reason", "x"], "no time"),
    ],
)
def test_wrong_usage_is_said(arguments: list[str], said: str) -> None:
    found = RUNNER.invoke(app, ["usage", *arguments])
    assert found.exit_code == 2
    assert said in " ".join(found.output.replace("│", " ").split())


def test_a_tenants_name_alone_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TENANTRY_DATABASE_URL", raising=False)
    for arguments in (["usage", "acme"], ["usage", "show", "reconcile"]):
        found = RUNNER.invoke(app, arguments)
        assert found.exit_code == 3
        assert "TENANTRY_DATABASE_URL" in found.output


def test_ranges() -> None:
    assert _bounds("2026-12", None, None) == DECEMBER
    assert _bounds(None, "2026-12-01", "2027-01-01T01:00+01:00") == DECEMBER
    assert _bounds(None, None, None) is None
    since = datetime.now(UTC) - timedelta(hours=1)
    found = _bounds(None, since.isoformat(), None)
    assert found is not None
    assert found[0] == since
    with pytest.raises(typer.BadParameter):
        _bounds("0000-01", None, None)
