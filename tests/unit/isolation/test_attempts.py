"""Probes, their answers, and what a report makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable

import psycopg
import pytest
from botocore.exceptions import ClientError

from isolation.attempts import Answer, Attempt, Layer, Probe, failed, is_ok, is_one_of, of_error
from isolation.report import HEADINGS, counts, explain, isolated, rows
from tenantry import TenantSuspended


def run(attack: Callable[[], Answer], own: Callable[[], Answer] = lambda: Answer("ok")) -> Attempt:
    probe = Probe("read", Layer.DATABASE, "reads", "42501", attack, is_one_of("42501"), "reads its own", own, is_ok)
    return probe.run("acme", "globex")


def refusing() -> Answer:
    raise psycopg.errors.InsufficientPrivilege("permission denied")


def test_an_attack_that_is_refused_beside_an_allowed_twin_passes() -> None:
    attempt = run(refusing)
    assert (attempt.refused, attempt.allow.passed, attempt.passed) == (True, True, True)
    assert attempt.decided_by == "42501"


def test_an_attack_that_gets_through_fails() -> None:
    assert not run(lambda: Answer("ok", "reads a row of globex")).passed


def test_a_refusal_for_another_reason_proves_nothing() -> None:
    def undefined() -> Answer:
        raise psycopg.errors.UndefinedTable("no such table")

    assert not run(undefined).refused


def test_a_refusal_proves_nothing_if_the_own_is_refused_as_well() -> None:
    attempt = run(refusing, refusing)
    assert (attempt.refused, attempt.passed) == (True, False)


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyError("x"), psycopg.OperationalError("x"), OSError("x")])
def test_nothing_raises(error: Exception) -> None:
    def failing() -> Answer:
        raise error

    assert not run(failing).passed
    assert not run(refusing, failing).passed


def test_errors_are_named_and_only_harmless_texts_quoted() -> None:
    assert str(of_error(RuntimeError("the secret"))) == "RuntimeError"
    assert str(of_error(psycopg.OperationalError("password=hidden"))) == "OperationalError"
    assert str(of_error(TenantSuspended("acme is out"))) == "TenantSuspended: acme is out"
    denied = ClientError({"Error": {"Code": "AccessDenied", "Message": "key AKIA..."}}, "GetObject")
    assert str(of_error(denied)) == "AccessDenied: of GetObject"


def test_what_could_not_be_tried_is_a_failure() -> None:
    attempt = failed("not-tried", Layer.IAM, "acme", "globex", "attacks", ValueError("no documents"))
    assert not attempt.passed
    assert attempt.actual == "ValueError: no documents"


def test_a_report_counts_and_explains() -> None:
    good, bad = run(refusing), run(lambda: Answer("ok", "reads a row of globex"))
    assert isolated([good])
    assert not isolated([good, bad])
    assert not isolated([])
    (count,) = counts([good, bad, good])
    assert (count.attacker, count.victim, count.layer, count.passed, count.failed) == (
        "acme",
        "globex",
        Layer.DATABASE,
        2,
        1,
    )
    assert [row[-1] for row in rows([good, bad])] == ["isolated", "FAILED"]
    assert {len(row) for row in rows([good, bad])} == {len(HEADINGS)}
    assert "got ok: reads a row of globex" in explain(bad)
    assert json.loads(json.dumps(bad.as_dict()))["passed"] is False
