"""What documents are made of and conditions are about."""

from __future__ import annotations

from dataclasses import dataclass


class PolicyError(ValueError):
    """A document that AWS would not accept; says where."""


@dataclass(frozen=True)
class Condition:
    """One operator with one key: all its values are alternatives."""

    operator: str
    key: str  #: as written
    values: tuple[str, ...]
