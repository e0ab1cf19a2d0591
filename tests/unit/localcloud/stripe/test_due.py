from __future__ import annotations

import random
from typing import Any

import pytest

from localcloud.stripe.agenda import Agenda
from localcloud.stripe.due import DAY, FIRST_PAYMENT_S, TRIAL_NOTICE_S, next_due
from localcloud.stripe.store import Store


def subscription(identifier: str = "sub", **changes: Any) -> dict[str, Any]:
    return {
        "object": "subscription",
        "id": identifier,
        "customer": "cus",
        "created": 1000,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "items": {"data": [{"current_period_end": 5000}, {"current_period_end": 4000}]},
        "pause_collection": None,
        "status": "active",
        "test_clock": None,
        "trial_end": None,
        **changes,
    }


def invoice(identifier: str = "in", **changes: Any) -> dict[str, Any]:
    return {
        "object": "invoice",
        "id": identifier,
        "customer": "cus",
        "automatically_finalizes_at": None,
        "next_payment_attempt": None,
        "parent": None,
        "status": "draft",
        "test_clock": None,
        **changes,
    }


@pytest.mark.parametrize(
    ("document", "due"),
    [
        (subscription(), (4000, "renew")),
        (subscription(status="past_due"), (4000, "renew")),
        (subscription(status="paused"), None),
        (subscription(status="canceled", cancel_at=9), None),
        (subscription(status="incomplete"), (1000 + FIRST_PAYMENT_S, "expire_first_payment")),
        (subscription(status="trialing", trial_end=10 * DAY), (10 * DAY - TRIAL_NOTICE_S, "trial_notice")),
        (subscription(status="trialing", trial_end=10 * DAY, _trial_noticed=True), (10 * DAY, "end_trial")),
        (subscription(cancel_at=3000), (3000, "cancel")),
        (subscription(cancel_at=4000, cancel_at_period_end=True), (4000, "renew")),
        (subscription(pause_collection={"behavior": "void", "resumes_at": 20}), (20, "resume_collection")),
        (subscription(pause_collection={"behavior": "void", "resumes_at": None}), (4000, "renew")),
        (invoice(), None),
        (invoice(automatically_finalizes_at=7), (7, "finalize")),
        (invoice(status="open", next_payment_attempt=8), (8, "retry")),
        (invoice(status="open", next_payment_attempt=8, _expires_at=6), (6, "expire_resumption")),
        (invoice(status="paid", next_payment_attempt=8), None),
    ],
)
def test_what_a_document_waits_for(document: dict[str, Any], due: tuple[int, str] | None) -> None:
    assert next_due(document) == due


def test_the_agenda_agrees_with_a_search_through_everything() -> None:
    generator = random.Random(5)
    store = Store()
    agenda = Agenda(store)
    for step in range(600):
        documents = store.all("subscription") + store.all("invoice")
        action = generator.random()
        if action < 0.4 or not documents:
            clock = generator.choice([None, "clock"])
            at = generator.randrange(1000)
            if generator.random() < 0.5:
                store.add(invoice(f"in_{step}", automatically_finalizes_at=at, test_clock=clock))
            else:
                store.add(subscription(f"sub_{step}", cancel_at=at, test_clock=clock))
        elif action < 0.7:
            chosen = store.edit(generator.choice(documents))
            field = "cancel_at" if chosen["object"] == "subscription" else "automatically_finalizes_at"
            chosen[field] = generator.choice([None, generator.randrange(1000)])
        elif action < 0.85:
            store.remove(generator.choice(documents))
        elif action < 0.92:
            store.rollback()
        else:
            store.commit()
        for clock in (None, "clock"):
            waiting = [
                (due[0], document["object"])
                for document in store.all("subscription") + store.all("invoice")
                if document["test_clock"] == clock and (due := next_due(document)) is not None
            ]
            found = agenda.next(clock)
            assert (None if found is None else (found.at, found.document["object"])) == min(waiting, default=None)
