"""Over a real connection: STARTTLS with a verified certificate, a login, and every answer that a server may give."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from localcloud.mail.server import USERNAME, LocalMail
from localcloud.mail.smtp import tls_context
from localcloud.postgres import Authority
from provisioner.notifications import mime
from provisioner.notifications.render import Rendered
from provisioner.notifications.smtp import Answer, Security, Server, SmtpTransport, Verdict

SENDER = Address("Example", "billing", "example.com")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def mail(authority: Authority) -> Iterator[LocalMail]:
    with LocalMail(tls=tls_context(authority.directory)) as running:
        yield running


@pytest.fixture
def server(mail: LocalMail, authority: Authority) -> Server:
    return Server(
        "127.0.0.1", mail.smtp_port, Security.STARTTLS, USERNAME, SecretStr(mail.password), 5.0, authority.bundle
    )


def message(name: str = "Ada") -> EmailMessage:
    rendered = Rendered("Grüße", f"Hallo {name}\n.\nnach dem Punkt\n", "<p>Hallo</p>", "de")
    to = mime.address(f"{name.lower()}@example.com", name)
    return mime.compose(rendered, to, SENDER, reply_to=None, key=name, date=datetime.now(UTC))


def send(server: Server, *names: str) -> list[Answer]:
    async def inside() -> list[Answer]:
        async with SmtpTransport(server) as transport:
            return [await transport.send(message(n), SENDER.addr_spec, f"{n.lower()}@example.com") for n in names]

    return asyncio.run(inside())


def ask(mail: LocalMail, method: str, path: str, **options: Any) -> Any:
    headers = {"Authorization": f"Bearer {mail.password}"}
    answer = httpx.request(method, mail.url + path, headers=headers, trust_env=False, **options)
    answer.raise_for_status()
    return answer.json()


def fault(mail: LocalMail, **document: Any) -> None:
    ask(mail, "POST", "/faults", json=document)


def test_messages_arrive_whole_over_one_connection(mail: LocalMail, server: Server) -> None:
    assert [answer.verdict for answer in send(server, "Ada", "Bob")] == [Verdict.ACCEPTED] * 2
    newest, oldest = ask(mail, "GET", "/messages")["messages"]
    assert (oldest["subject"], oldest["recipients"], oldest["sender"]) == (
        "Grüße", ["ada@example.com"], "billing@example.com",
    )  # fmt: skip
    whole = ask(mail, "GET", f"/messages/{oldest['number']}")
    assert whole["text"] == "Hallo Ada\n.\nnach dem Punkt\n"
    assert whole["html"] == "<p>Hallo</p>\n"
    assert newest["message_id"] != oldest["message_id"]


@pytest.mark.parametrize(
    ("stage", "code", "verdict"),
    [
        ("rcpt", 450, Verdict.LATER),
        ("rcpt", 550, Verdict.REFUSED),
        ("data", 452, Verdict.LATER),
        ("data", 554, Verdict.REFUSED),
        ("mail", 451, Verdict.UNREACHABLE),
        ("mail", 550, Verdict.UNREACHABLE),
        ("rcpt", 421, Verdict.UNREACHABLE),
    ],
)
def test_an_answer_says_whether_to_try_again(
    mail: LocalMail, server: Server, stage: str, code: int, verdict: Verdict
) -> None:
    fault(mail, stage=stage, code=code, text="5.1.1 <ada@example.com> has moved")
    refused, following = send(server, "Ada", "Bob")
    assert (refused.verdict, refused.code) == (verdict, code)
    assert "ada" not in refused.text
    assert following.verdict is Verdict.ACCEPTED  # over the same connection, or another one


def test_an_answer_that_is_lost_may_mean_that_it_was_taken(mail: LocalMail, server: Server) -> None:
    fault(mail, stage="lost")
    lost, again = send(server, "Ada", "Ada")
    assert (lost.verdict, again.verdict) == (Verdict.LATER, Verdict.ACCEPTED)
    first, second = ask(mail, "GET", "/messages")["messages"]
    assert first["message_id"] == second["message_id"]


def test_a_wrong_password_is_told_without_it(server: Server) -> None:
    (answer,) = send(replace(server, password=SecretStr("hunter2")), "Ada")
    assert answer == Answer(Verdict.UNREACHABLE, 535, "the mail server refused the login")


def test_a_server_whose_certificate_is_not_trusted_gets_nothing(
    mail: LocalMail, server: Server, tmp_path: Path
) -> None:
    for other in (replace(server, ca=None), replace(server, ca=Authority.create(tmp_path / "other").bundle)):
        (answer,) = send(other, "Ada")
        assert answer.verdict is Verdict.UNREACHABLE
        assert "certificate" in answer.text.lower()
    (answer,) = send(replace(server, security=Security.TLS), "Ada")
    assert answer.verdict is Verdict.UNREACHABLE
    assert ask(mail, "GET", "/messages")["messages"] == []


def test_a_server_that_is_not_there_or_says_nothing(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        (answer,) = send(replace(server, port=port, timeout_s=0.2), "Ada")
        assert answer.verdict is Verdict.UNREACHABLE
    (answer,) = send(replace(server, port=port), "Ada")
    assert answer.verdict is Verdict.UNREACHABLE


def test_the_list_of_messages_asks_for_the_password(mail: LocalMail) -> None:
    assert httpx.get(mail.url + "/messages", trust_env=False).status_code == 401
    wrong = httpx.get(mail.url + "/messages", headers={"Authorization": "Bearer x"}, trust_env=False)
    assert wrong.status_code == 401
    assert httpx.get(mail.url + "/health", trust_env=False).json() == {"messages": 0}


@pytest.mark.parametrize("document", [{"stage": "later"}, {"code": 200}, {"times": 0}, {"text": "a\r\nb"}, [], "x"])
def test_a_fault_that_is_none_is_refused(mail: LocalMail, document: Any) -> None:
    headers = {"Authorization": f"Bearer {mail.password}"}
    answer = httpx.post(mail.url + "/faults", headers=headers, json=document, trust_env=False)
    assert answer.status_code == 400
