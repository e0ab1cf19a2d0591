"""The page for people: one HTML file without anything to fetch or run, made from a signed document.

It is a view. What counts is the document: the page says how to verify it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from isolation.evidence.document import AttemptRecord, ScopeKind, SignedDocument, Trigger, as_text
from isolation.evidence.resources import Cell, Resource, Row, matrix, resource

ROWS = 40  #: tenants that have a row each; of more, those that passed share one by tier
FAILURES = 200  #: failed attempts that are shown one by one
_DECISIONS = 3


@dataclass
class Attack:
    """Attempts of one kind, over all pairs."""

    layer: str
    name: str
    resource: Resource
    expected: str
    example: str
    own: str
    tried: int = 0
    passed: int = 0
    decided_by: Counter[str] = field(default_factory=Counter)

    @property
    def decisions(self) -> list[str]:
        return [decision for decision, _ in self.decided_by.most_common(_DECISIONS)]


@dataclass(frozen=True)
class Line:
    """A row of the matrix: a tenant, or all tenants of a tier that passed."""

    name: str
    tier: str
    cells: list[Cell]
    failed: bool
    tenants: int = 1


def render(document: SignedDocument) -> str:
    """The page. Whatever a tenant or a server wrote is escaped."""
    failures = [each for each in document.attempts if not each.passed]
    context: dict[str, Any] = {
        "document": document,
        "scope": scope_of(document),
        "trigger": _TRIGGERS[document.scope.trigger],
        "started": as_text(document.started_at)[:19].replace("T", " "),
        "ended": as_text(document.ended_at)[:19].replace("T", " "),
        "seconds": (document.ended_at - document.started_at).total_seconds(),
        "tiers": sorted(Counter(each.tier for each in document.tenants).items()),
        "resources": list(Resource),
        "lines": lines(document),
        "failures": failures[:FAILURES],
        "more_failures": max(0, len(failures) - FAILURES),
        "attacks": attacks(document.attempts),
        "placements": document.tenants if len(document.tenants) <= ROWS else [],
    }
    return _template().render(context)


def lines(document: SignedDocument) -> list[Line]:
    """Tenants with a failure first. Of many tenants those that passed share a line by tier."""
    tiers = {each.tenant_id: each.tier for each in document.tenants}
    found = matrix(tiers, document.attempts)
    failed = [tenant_id for tenant_id, row in found.items() if any(cell.failed for cell in row.values())]
    passed = [tenant_id for tenant_id in found if tenant_id not in set(failed)]
    own = [Line(each, tiers[each], list(found[each].values()), True) for each in failed]
    if len(found) <= ROWS:
        return own + [Line(each, tiers[each], list(found[each].values()), False) for each in passed]
    shared = []
    for tier in sorted(set(tiers.values())):
        rows = [found[each] for each in passed if tiers[each] == tier]
        if rows:
            shared.append(Line(f"{len(rows)} tenants", tier, _sum(rows), False, len(rows)))
    return own + shared


def attacks(attempts: Iterable[AttemptRecord]) -> list[Attack]:
    """Each kind of attack once, in the order of layers and names."""
    found: dict[tuple[str, str], Attack] = {}
    for each in attempts:
        key = (each.layer, each.name)
        if key not in found:
            found[key] = Attack(*key, resource(each), each.expected, each.tried, each.allow.tried)
        attack = found[key]
        attack.tried += 1
        attack.passed += each.passed
        attack.decided_by[each.decided_by] += 1
    return [found[key] for key in sorted(found)]


def scope_of(document: SignedDocument) -> str:
    """What was asked for, as a sentence."""
    scope = document.scope
    subset = " The fast subset, as after every operation." if scope.fast else ""
    match scope.kind:
        case ScopeKind.TENANT:
            met = len(document.tenants) - 1
            of = f" of {document.others}" if document.others > met else ""
            return f"Tenant {scope.tenants[0]} and outsiders, against {met}{of} other tenants of its cell.{subset}"
        case ScopeKind.PAIR:
            return f"Tenant {scope.tenants[0]} attacks tenant {scope.tenants[1]}.{subset}"
        case ScopeKind.ALL:
            return f"All {len(document.tenants)} tenants of cell {scope.cell} that could take part.{subset}"


_TRIGGERS = {
    Trigger.OPERATOR: "an operator asked for it",
    Trigger.OPERATION: "the tenant's infrastructure was changed",
    Trigger.NIGHTLY: "nightly",
}


def _sum(rows: Sequence[Row]) -> list[Cell]:
    return [Cell(sum(row[what].passed for row in rows), sum(row[what].failed for row in rows)) for what in Resource]


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2")
