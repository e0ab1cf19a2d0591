"""What has arrived, and what the server is told to do wrong. In memory: the oldest messages go first."""

from __future__ import annotations

import fnmatch
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

KEPT = 2000
STAGES = ("mail", "rcpt", "data", "lost")


class FaultInvalid(ValueError):
    """The message says what is wrong with a fault."""


@dataclass
class Fault:
    """``stage``: ``mail``, ``rcpt`` or ``data`` are answered with ``code``; ``lost``: the message is taken, and the
    connection ends before the answer. ``times``: how often. ``recipient``: a pattern, as ``*@example.com``."""

    stage: str
    code: int
    text: str
    times: int
    recipient: str = "*"

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Fault:
        stage, code, times = document.get("stage", "rcpt"), document.get("code", 451), document.get("times", 1)
        text, recipient = document.get("text", "a fault that was asked for"), document.get("recipient", "*")
        if stage not in STAGES:
            raise FaultInvalid(f"stage is one of {', '.join(STAGES)}")
        if not isinstance(code, int) or not 400 <= code <= 599:
            raise FaultInvalid("code is an SMTP code from 400 to 599")
        if not isinstance(times, int) or times < 1:
            raise FaultInvalid("times is a number from 1 on")
        if not isinstance(text, str) or not isinstance(recipient, str) or not text.isprintable():
            raise FaultInvalid("text and recipient are one line of text")
        return cls(stage, code, text[:200], times, recipient)


@dataclass(frozen=True)
class Arrived:
    number: int
    at: datetime
    sender: str
    recipients: tuple[str, ...]
    content: bytes

    def parsed(self) -> EmailMessage:
        message = message_from_bytes(self.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        return message

    def summary(self) -> dict[str, Any]:
        message = self.parsed()
        return {
            "number": self.number,
            "at": self.at.isoformat(),
            "sender": self.sender,
            "recipients": list(self.recipients),
            "subject": str(message["Subject"]),
            "message_id": str(message["Message-ID"]),
        }

    def document(self) -> dict[str, Any]:
        message = self.parsed()
        bodies = {}
        for form, kind in (("text", "plain"), ("html", "html")):
            part = message.get_body((kind,))
            bodies[form] = None if part is None else part.get_content().replace("\r\n", "\n")
        return {**self.summary(), "headers": [[name, str(value)] for name, value in message.items()], **bodies}


@dataclass
class Mailbox:
    messages: OrderedDict[int, Arrived] = field(default_factory=OrderedDict)
    faults: list[Fault] = field(default_factory=list)
    _count: int = 0

    def add(self, sender: str, recipients: list[str], content: bytes) -> Arrived:
        self._count += 1
        arrived = Arrived(self._count, datetime.now(UTC), sender, tuple(recipients), content)
        self.messages[arrived.number] = arrived
        while len(self.messages) > KEPT:
            self.messages.popitem(last=False)
        return arrived

    def fault(self, stage: str, recipients: list[str]) -> Fault | None:
        """The fault that is to happen now, if one is; it has then happened once."""
        for fault in self.faults:
            matches = any(fnmatch.fnmatchcase(each, fault.recipient) for each in recipients or [""])
            if fault.stage == stage and (matches or fault.recipient == "*"):
                fault.times -= 1
                if fault.times == 0:
                    self.faults.remove(fault)
                return fault
        return None
