"""What an operator does at a shell, against a real mail server and a real registry."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from localcloud.mail.server import USERNAME, LocalMail
from localcloud.mail.smtp import tls_context
from localcloud.postgres import Authority
from provisioner import settings
from provisioner.checks.mail import mail as mail_check
from provisioner.cli.main import app
from provisioner.errors import ConfigurationInvalid
from provisioner.notifications import service
from provisioner.notifications.kinds import Kind
from tests.integration.provisioner.notifications.world import open_world

Shell = Callable[..., Any]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[LocalMail, Path]]:
    authority = Authority.create(tmp_path / "tls")
    with LocalMail(tls=tls_context(authority.directory)) as running:
        yield running, authority.bundle


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, database: str, server: tuple[LocalMail, Path]) -> Shell:
    """A shell that points at them. Returns what the command prints: parsed JSON, or text; fails on another code."""
    mail, bundle = server
    for name, value in {
        "TENANTRY_DATABASE_URL": database,
        "TENANTRY_ENVIRONMENT": "development",
        "TENANTRY_SMTP_HOST": "127.0.0.1",
        "TENANTRY_SMTP_PORT": str(mail.smtp_port),
        "TENANTRY_SMTP_USERNAME": USERNAME,
        "TENANTRY_SMTP_PASSWORD": mail.password,
        "TENANTRY_SMTP_CA": str(bundle),
        "TENANTRY_MAIL_FROM": "Example <billing@example.com>",
        "TENANTRY_LOCAL_MAIL": mail.url,
        "NO_COLOR": "1",
    }.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str, code: int = 0) -> Any:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == code, result.output
        return json.loads(result.stdout) if "--json" in arguments else result.output

    return run


def test_a_test_message_arrives_and_is_shown(shell: Shell) -> None:
    assert "250" in shell("notifications", "test", "me@example.com", "--kind", "payment_failed", "--locale", "de")
    (arrived,) = shell("local", "mail", "--json")
    assert arrived["recipients"] == ["me@example.com"]
    whole = shell("local", "mail", str(arrived["number"]), "--json")
    assert "fehlgeschlagen" in whole["subject"]
    assert "Subject: " in shell("local", "mail", str(arrived["number"]))
    assert shell("local", "mail", "--recipient", "you@example.com", "--json") == []
    assert "No message" in shell("local", "mail", "--clear")
    shell("local", "mail", "77", code=4)


def test_a_test_message_that_is_not_taken_says_why(
    shell: Shell, server: tuple[LocalMail, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "address" in shell("notifications", "test", "nobody", code=4)
    monkeypatch.setenv("TENANTRY_SMTP_PASSWORD", "hunter2")
    output = shell("notifications", "test", "me@example.com", code=5)
    assert "refused the login" in output
    assert "hunter2" not in output
    monkeypatch.setenv("TENANTRY_MAIL_FROM", "nobody")
    assert "TENANTRY_MAIL_FROM" in shell("notifications", "test", "me@example.com", code=3)
    monkeypatch.setenv("TENANTRY_SMTP_HOST", "")
    assert "TENANTRY_SMTP_HOST" in shell("notifications", "test", "me@example.com", code=3)


def test_every_message_can_be_looked_at(shell: Shell) -> None:
    found = shell("notifications", "preview", "all", "--locale", "de", "--json")
    assert set(found) == {kind.value for kind in Kind}
    assert "<!DOCTYPE html>" in shell("notifications", "preview", "welcome", "--html")
    shell("notifications", "preview", "nonsense", code=2)


def test_the_outbox_is_shown_and_retried(shell: Shell, database: str) -> None:
    async def scenario() -> None:
        async with open_world(database) as world:
            await world.sell(customer=world.customer(email="nobody"))
            await world.work()

    asyncio.run(scenario())
    (listed,) = shell("notifications", "list", "--status", "quarantined", "--json")
    assert listed["kind"] == "welcome"
    assert "recipient" not in listed
    assert "address_unusable" in shell("notifications", "list", "--tenant", "acme", "--kind", "welcome")
    assert shell("notifications", "list", "--tenant", "nobody", "--json") == []
    shown = shell("notifications", "show", str(listed["notification_id"]), "--json")
    assert shown["recipient"]["email"] == "nobody"
    assert "ready" in shown["text"]
    shell("notifications", "show", "99", code=4)
    assert shell("notifications", "retry", "--all", "--json") == {"queued": [listed["notification_id"]]}
    assert "not to be sent again: 1" in shell("notifications", "retry", "1", code=4)
    shell("notifications", "retry", code=2)
    shell("notifications", "list", "--status", "nonsense", code=2)
    assert "No payment became overdue" in shell("dunning", "report")
    assert shell("dunning", "report", "--days", "7", "--json")["by_step"] == []


def test_the_doctor_knows_whether_mail_can_be_sent(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: tuple[LocalMail, Path]
) -> None:
    assert mail_check(settings.load()).verdict == "ok"
    monkeypatch.setenv("TENANTRY_SMTP_PASSWORD", "hunter2")
    wrong = mail_check(settings.load())
    assert wrong.verdict == "fail"
    assert "hunter2" not in str(wrong)
    (tmp_path / "own" / "fr").mkdir(parents=True)
    (tmp_path / "own" / "fr" / "welcome.j2").write_text("{% if %}")
    monkeypatch.setenv("TENANTRY_MAIL_TEMPLATES", str(tmp_path / "own"))
    assert "fr/welcome.j2" in mail_check(settings.load()).message
    monkeypatch.setenv("TENANTRY_SMTP_HOST", "")
    assert mail_check(settings.load()).verdict == "skipped"


def test_the_example_is_no_policy_for_production(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TENANTRY_ENVIRONMENT", "production")
    with pytest.raises(ConfigurationInvalid, match="example"):
        service.policy_of(settings.load())
    (tmp_path / "own.toml").write_text('product = "Acme"')
    monkeypatch.setenv("TENANTRY_NOTIFICATIONS", str(tmp_path / "own.toml"))
    assert service.policy_of(settings.load()).product == "Acme"


def test_a_password_is_not_sent_in_the_clear(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENANTRY_SMTP_SECURITY", "none")
    service.server_of(settings.load())  # to this machine it may
    monkeypatch.setenv("TENANTRY_SMTP_HOST", "mail.example.com")
    with pytest.raises(ConfigurationInvalid, match="in the clear"):
        service.server_of(settings.load())
