"""The state machines are complete, lead somewhere, and are what the documentation shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.lifecycle import MEANING, MOVES, OPERATION_MOVES, OperationState, TenantState, may_move
from provisioner.lifecycle_document import as_markdown

DOCUMENT = Path(__file__).parents[3] / "docs" / "lifecycle.md"


def but(*excluded: TenantState) -> list[TenantState]:
    return [state for state in TenantState if state not in excluded]


def reachable(start: TenantState) -> set[TenantState]:
    found, waiting = {start}, [start]
    while waiting:
        for _, target in MOVES[waiting.pop()]:
            if target not in found:
                found.add(target)
                waiting.append(target)
    return found


def test_every_state_has_a_meaning_and_its_moves() -> None:
    assert set(MEANING) == set(MOVES) == set(TenantState)
    assert set(OPERATION_MOVES) == set(OperationState)


def test_no_move_is_listed_twice_or_to_itself() -> None:
    for state, moves in MOVES.items():
        targets = [target for _, target in moves]
        assert len(targets) == len(set(targets)), state
        assert state not in targets


def test_every_state_is_reached_and_none_is_a_dead_end() -> None:
    assert reachable(TenantState.PENDING) == set(TenantState)
    for state in TenantState:
        assert reachable(state) == set(TenantState), f"{state} is a trap"


@pytest.mark.parametrize("state", TenantState)
def test_staying_is_always_legal(state: TenantState) -> None:
    assert may_move(state, state)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # What has begun to lose data, or lost it, never gets access back in the same life.
        *((TenantState.DESTROYING, state) for state in but(TenantState.DESTROYING, TenantState.DESTROYED)),
        *((TenantState.DESTROYED, state) for state in but(TenantState.DESTROYED, TenantState.PENDING)),
        # Nothing is destroyed without having been announced, and nothing stands that was not built.
        *((state, TenantState.DESTROYED) for state in but(TenantState.DESTROYING, TenantState.DESTROYED)),
        (TenantState.PENDING, TenantState.READY),
        (TenantState.READY, TenantState.PENDING),
        (TenantState.READY, TenantState.PROVISIONING),
    ],
)
def test_these_moves_are_never_legal(before: TenantState, after: TenantState) -> None:
    assert not may_move(before, after)


@pytest.mark.parametrize("state", but(TenantState.PENDING, TenantState.DESTROYING, TenantState.DESTROYED))
def test_a_payment_brings_back_whatever_stands(state: TenantState) -> None:
    assert may_move(state, TenantState.READY)


def test_an_operation_runs_once_and_ends_for_good() -> None:
    ends = {target for _, target in OPERATION_MOVES[OperationState.RUNNING]}
    assert ends == set(OperationState) - {OperationState.RUNNING}
    assert all(OPERATION_MOVES[state] == () for state in ends)


def test_the_documentation_is_generated_from_the_code() -> None:
    assert DOCUMENT.read_text() == as_markdown(), "run `python -m provisioner.lifecycle_document`"


def test_the_documentation_shows_every_state_and_move() -> None:
    text = as_markdown()
    for state, moves in MOVES.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"| `{state}` | {MEANING[state]}")]
        assert all(f"`{target}`: {reason}" in line for reason, target in moves)
