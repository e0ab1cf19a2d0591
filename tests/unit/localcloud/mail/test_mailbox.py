"""What the local mail server keeps, and what it does wrong when told to."""

from __future__ import annotations

import pytest

from localcloud.mail.mailbox import KEPT, Fault, FaultInvalid, Mailbox


def test_the_oldest_messages_go_first() -> None:
    mailbox = Mailbox()
    for index in range(KEPT + 3):
        mailbox.add("a@example.com", ["b@example.com"], b"Subject: %d\r\n\r\ntext\r\n" % index)
    assert len(mailbox.messages) == KEPT
    assert next(iter(mailbox.messages.values())).summary()["subject"] == "3"


def test_a_message_without_any_sense_is_shown_all_the_same() -> None:
    arrived = Mailbox().add("", [], b"\xff\xfe\x00no header at all")
    assert arrived.document()["html"] is None


def test_a_fault_happens_as_often_as_it_says_and_to_whom() -> None:
    mailbox = Mailbox(faults=[Fault.parse({"stage": "rcpt", "code": 550, "times": 2, "recipient": "*@a.example"})])
    assert mailbox.fault("data", ["x@a.example"]) is None
    assert mailbox.fault("rcpt", ["x@b.example"]) is None
    assert [mailbox.fault("rcpt", ["x@a.example"]) is not None for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("document", [{"stage": "x"}, {"code": 250}, {"code": "550"}, {"times": 0}, {"text": 1}])
def test_what_is_no_fault_says_why(document: dict[str, object]) -> None:
    with pytest.raises(FaultInvalid):
        Fault.parse(document)
