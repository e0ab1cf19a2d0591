"""One way in which something that protects tenants can be weak, and what came of trying it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from isolation.attempts import INSPECTOR, Answer, Attempt, Severity, is_ok


@dataclass(frozen=True)
class Fault:
    """``id`` names it for good. ``inject`` weakens exactly one thing for the length of its block.

    ``exploit``: an attack on this fault alone, where the proof has none that would show what it is good for;
    ``closest``: the proof's attack that it would help first, whose refusal says which wall still holds.
    """

    id: str
    where: str
    weakened: str
    inject: Callable[[], AbstractContextManager[None]]
    exploit: Callable[[], Answer] | None = None
    closest: str = ""
    means: str = "live"  #: ``live``, or ``preview`` for what can only be asked for
    logins: bool = False  #: what logins may do changes: their own attacks, and those of outsiders, are made as well


@dataclass(frozen=True)
class Verdict:
    """What a fault came to. Nothing here is anybody's opinion: all of it was tried."""

    fault: Fault
    probes: tuple[str, ...]  #: ids of the proof's attempts that failed
    rules: tuple[str, ...]  #: ids of the policy rules that would have stopped it
    exploited: tuple[str, ...]  #: attacks that succeeded
    holds: str  #: what refused the closest attack, if none succeeded

    @property
    def caught(self) -> bool:
        return bool(self.probes or self.rules)


def succeeded(attempts: Iterable[Attempt]) -> tuple[str, ...]:
    """Ids of the attacks by which somebody read, changed or learnt of what isn't theirs.

    What a constraint refuses (class 23) has got past row-level security, or shows that there is such a row.
    """
    return unique(
        each.id + (" (leak)" if each.severity is Severity.LEAK else "")
        for each in attempts
        if each.severity is not Severity.WALL
        and each.attacker != INSPECTOR
        and not each.name.endswith("-alone")  # asks what would be if the other walls were not there
        and not each.refused
        and each.actual.startswith(("ok", "23"))
    )


def failed(attempts: Iterable[Attempt]) -> tuple[str, ...]:
    return unique(each.id for each in attempts if not each.passed)


def unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))


def verdict(
    fault: Fault, attempts: Iterable[Attempt], rules: Iterable[str] = (), words: Callable[[str], str] = str
) -> Verdict:
    """To be called while ``fault`` stands. ``words`` takes away from a text what differs from run to run."""
    known = list(attempts)
    exploited = succeeded(known)
    holds = ""
    if fault.exploit is not None:
        answer = fault.exploit()
        if is_ok(answer):
            exploited = unique((*exploited, f"by itself: {words(answer.detail)}"))
        holds = words(answer.by or str(answer))
    else:
        closest = [each for each in known if each.name == fault.closest]
        assert exploited or closest, f"{fault.id}: there is no attempt {fault.closest}"
        holds = f"{fault.closest}: {words(closest[0].decided_by)}" if closest else ""
    return Verdict(fault, failed(known), unique(rules), exploited, "" if exploited else holds)
