"""What an evaluation decides, and by which statement."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from isolation.iam.documents import Statement


class Effect(StrEnum):
    ALLOW = "Allow"
    DENY = "Deny"


class Outcome(StrEnum):
    ALLOWED = "allowed"
    EXPLICIT_DENY = "explicit deny"
    IMPLICIT_DENY = "implicit deny"


@dataclass(frozen=True)
class Decision:
    """``statements`` are those that decided: the denying one; or one of each kind of policy that had to allow.

    Of an implicit deny, ``reason`` names the kind of policy that has no matching statement.
    """

    outcome: Outcome
    reason: str
    statements: tuple[Statement, ...] = ()

    @property
    def allowed(self) -> bool:
        return self.outcome is Outcome.ALLOWED

    def __str__(self) -> str:
        by = ", ".join(statement.name for statement in self.statements)
        return f"{self.outcome}: {self.reason}" + (f" ({by})" if by else "")
