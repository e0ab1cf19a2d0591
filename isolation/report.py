"""Attempts as rows of a table, and counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from isolation.attempts import Attempt, Layer

HEADINGS = ("attacker", "victim", "layer", "attempt", "expected", "decided by", "own", "result")


def rows(attempts: Iterable[Attempt]) -> list[tuple[str, ...]]:
    """One row an attempt, as ``HEADINGS`` says; ``own`` is what decided over the permitted twin."""
    return [
        (
            each.attacker,
            each.victim,
            each.layer.value,
            each.name,
            each.expected,
            each.decided_by,
            "allowed" if each.allow.passed else f"not allowed: {each.allow.actual}",
            "isolated" if each.passed else "FAILED",
        )
        for each in attempts
    ]


def isolated(attempts: Sequence[Attempt]) -> bool:
    """Whether something was tried, and every attempt of it passed."""
    return bool(attempts) and all(each.passed for each in attempts)


@dataclass(frozen=True)
class Count:
    """Attempts of one pair in one layer."""

    attacker: str
    victim: str
    layer: Layer
    passed: int
    failed: int


def counts(attempts: Iterable[Attempt]) -> list[Count]:
    """Per pair and layer, in the order of first appearance."""
    found: dict[tuple[str, str, Layer], list[int]] = {}
    for each in attempts:
        tally = found.setdefault((each.attacker, each.victim, each.layer), [0, 0])
        tally[0 if each.passed else 1] += 1
    return [Count(*key, *tally) for key, tally in found.items()]


def explain(attempt: Attempt) -> str:
    """Several lines, for a person who has to find out what is wrong."""
    allow = attempt.allow
    return "\n".join(
        (
            f"{attempt.attacker} against {attempt.victim}, {attempt.layer}: {attempt.name}",
            f"  {attempt.attacker} {attempt.tried}",
            f"  expected {attempt.expected}; got {attempt.actual}, decided by {attempt.decided_by}",
            f"  {attempt.attacker} {allow.tried}",
            f"  {'allowed' if allow.passed else 'NOT ALLOWED'}: {allow.actual}, decided by {allow.decided_by}",
        )
    )
