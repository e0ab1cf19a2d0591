"""A plan of changes to an account of Stripe, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from provisioner.billing.stripe_catalogue.wanted import Kind, Ref


class Action(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    SUPERSEDE = "supersede"  #: a new price takes the lookup key over; who pays the old one keeps it
    ARCHIVE = "archive"  #: no longer sold; who has it keeps it
    ATTACH = "attach"
    DETACH = "detach"
    ADOPT = "adopt"  #: an object that was made by hand becomes the catalogue's
    DELETE = "delete"


@dataclass(frozen=True)
class Request:
    """One call. ``params`` may hold ``Ref``s. ``creates``: what its answer's id stands for from then on.

    ``beside``: ids of what was there before, for requests that would make a second object if they were sent twice:
    their idempotency key is of their content and of ``beside``. None: Stripe itself refuses a second one, by an id or
    key in ``params``. What is named may be deleted and made again, which a key of the content would prevent.
    """

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)
    creates: Ref | None = None
    beside: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Change:
    action: Action
    kind: Kind
    name: str  #: lookup key, plan, feature: what people know it by
    detail: str  #: for people: what differs
    requests: tuple[Request, ...] = ()
    object_id: str | None = None  #: of what is there already


@dataclass(frozen=True)
class Conflict:
    """What a push can't put right by itself."""

    kind: Kind
    name: str
    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.message} ({self.fix})"


@dataclass(frozen=True)
class ChangePlan:
    """``known``: the ids of what is there; ``sold_as``: lookup key -> product of the price. Nothing is applied while
    there are conflicts."""

    changes: tuple[Change, ...]
    conflicts: tuple[Conflict, ...]
    warnings: tuple[str, ...] = ()
    known: Mapping[Ref, str] = field(default_factory=dict, hash=False)
    sold_as: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def empty(self) -> bool:
        return not self.changes and not self.conflicts
