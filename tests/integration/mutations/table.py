"""The table of faults in docs/mutations.md: one part a sweep, each written and compared by its own test."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tests.integration.mutations.fault import Verdict

DOCUMENT = Path(__file__).parents[3] / "docs" / "mutations.md"
WRITE = "TENANTRY_WRITE_DOCS"  #: set, the document is written instead of compared
_HEADINGS = ("fault", "where", "what was weakened", "exploitable", "caught by the proof", "caught by policies")
_SHOWN = 6


def part(name: str, verdicts: Sequence[Verdict]) -> str:
    """Counts, then one row a fault."""
    exploitable = sum(1 for each in verdicts if each.exploited)
    both = sum(1 for each in verdicts if each.probes and each.rules)
    proof = sum(1 for each in verdicts if each.probes)
    rules = sum(1 for each in verdicts if each.rules)
    caught = sum(1 for each in verdicts if each.caught)
    lines = [
        f"{len(verdicts)} faults, {caught} caught: {proof} by the proof, {rules} by policies, {both} by both.",
        f"{exploitable} were exploitable, {len(verdicts) - exploitable} defence in depth.",
        "",
        f"| {' | '.join(_HEADINGS)} |",
        "|---" * len(_HEADINGS) + "|",
        *(f"| {' | '.join(_cell(each) for each in _row(verdict))} |" for verdict in verdicts),
    ]
    return f"{_begin(name)}\n{chr(10).join(lines)}\n{_end(name)}"


def _row(verdict: Verdict) -> tuple[str, ...]:
    fault = verdict.fault
    shown = f"yes: {_some(verdict.exploited)}" if verdict.exploited else f"defence in depth: {verdict.holds}"
    weakened = fault.weakened if fault.means == "live" else f"{fault.weakened} ({fault.means})"
    return f"`{fault.id}`", fault.where, weakened, shown, _some(verdict.probes), _some(verdict.rules)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more or "-"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _begin(name: str) -> str:
    return f"<!-- {name}: generated -->"


def _end(name: str) -> str:
    return f"<!-- {name}: end -->"


def compare(name: str, verdicts: Sequence[Verdict]) -> None:
    """Fails if the document says otherwise, or writes it (``WRITE``)."""
    text, new = DOCUMENT.read_text(encoding="utf-8"), part(name, verdicts)
    before, _, rest = text.partition(_begin(name))
    old, _, after = rest.partition(_end(name))
    assert after, f"{DOCUMENT.name} has no part {name!r}"
    if os.environ.get(WRITE):
        DOCUMENT.write_text(before + new + after, encoding="utf-8")
        return
    found = f"{_begin(name)}{old}{_end(name)}".splitlines()
    wrong = [line for line in new.splitlines() if line not in found] + [
        f"no longer: {line}" for line in found if line not in new.splitlines()
    ]
    assert not wrong, f"regenerate {DOCUMENT.name}: {WRITE}=1 pytest {name}\n" + "\n".join(wrong[:10])
    assert found == new.splitlines()
