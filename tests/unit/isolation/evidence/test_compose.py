"""What a proof found, as a document says it."""

from __future__ import annotations

import json

from isolation.attempts import Layer
from isolation.evidence import canonical
from tests.unit.isolation.evidence.documents import attempt, document


def test_attempts_are_counted_by_pair_and_layer() -> None:
    made = document([attempt(), attempt(refused=False), attempt(layer=Layer.FILES), attempt("globex", "acme")])
    assert [(c.attacker, c.victim, c.layer, c.passed, c.failed) for c in made.counts] == [
        ("acme", "globex", "database", 1, 1),
        ("acme", "globex", "files", 1, 0),
        ("globex", "acme", "database", 1, 0),
    ]
    assert (made.result.isolated, made.result.attempts, made.result.failed) == (False, 4, 1)


def test_of_no_attempt_nothing_is_shown() -> None:
    assert not document([]).result.isolated


def test_a_refusal_whose_twin_was_refused_as_well_is_a_failure() -> None:
    assert document([attempt(allowed=False)]).result.failed == 1


def test_what_a_server_answered_can_neither_steer_a_terminal_nor_break_the_document() -> None:
    made = document([attempt(actual="x\x1b[31m\x00\ud800y" + "z" * 5000)])
    text = made.attempts[0].actual
    assert text.startswith("x\N{REPLACEMENT CHARACTER}[31m")
    assert len(text) == 4000
    assert text.endswith("...")
    assert json.loads(canonical.dumps(made.as_dict()))["attempts"][0]["actual"] == text


def test_no_secret_is_in_a_document() -> None:
    content = canonical.dumps(document().as_dict()).decode()
    assert "password" not in content
    assert '"login_secret_arn"' in content
