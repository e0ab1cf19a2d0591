"""The gate of every update: policy rules on what the preview shows, data that would be destroyed, and AWS's quotas.

preview -> ``Judgement.judge`` (raises, or the update begins) -> update -> ``Judgement.recheck`` -> access opens.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from policies.configuration import Configuration
from policies.evaluate import Finding, Report, evaluate
from policies.facts import UnreadableSpec, of_config
from policies.model import Facts, Rule, Stack
from provisioner.deployer.plan import Plan
from provisioner.errors import ApprovalNeeded, PolicyBlocked
from provisioner.gate.changes import STATEFUL, destructive, diff, diff_hash
from provisioner.gate.standing import as_it_stands, stacks_of_resources
from provisioner.urns import split_urn

log = structlog.get_logger(__name__)

_NAMED = 3  #: violations that an error message names; all are recorded


class Quotas(Protocol):
    """Looks whether the account has room for what a plan creates, and keeps that room until the update has ended.

    Entering raises an ``OperatorNeeded`` that says what lacks, or ``RetryLater`` when that can't be found out.
    """

    def admitted(self, plan: Plan, facts: Facts) -> AbstractContextManager[object]: ...


@dataclass(frozen=True)
class Gatekeeper:
    """``quotas``: None where there is no account to ask, as in a test without a cloud. ``stateful``: type tokens of
    what holds data, and what is lost with it."""

    rules: tuple[Rule, ...]
    configuration: Configuration = field(default_factory=Configuration)
    quotas: Quotas | None = None
    stateful: Mapping[str, str] = field(default_factory=lambda: STATEFUL)

    def open(
        self,
        stack_name: str,
        config: Mapping[str, str],
        standing: Mapping[str, Any],
        *,
        approved: Iterable[str] = (),
        tolerant: bool = False,
    ) -> Judgement:
        """The judgement of one update. ``config``: the stack's configuration; ``standing``: its deployment before,
        {} for a new stack; ``approved``: hashes of diffs that an operator has approved. ``tolerant``: violations that
        stand already don't stop it, for updates that take access or protection away."""
        try:
            facts = of_config(stack_name, "tenantry", config)
        except UnreadableSpec as error:
            raise PolicyBlocked(str(error), hint="no rule can be judged without it", findings=[]) from None
        return Judgement(self, facts, standing, frozenset(approved), tolerant)

    def evaluate(self, stacks: tuple[Stack, Stack], facts: Facts) -> Report:
        return evaluate(self.rules, *stacks, facts, self.configuration)


class Judgement:
    """Of one update. ``judge`` is called in the engine's thread, between the preview and the update."""

    def __init__(
        self,
        keeper: Gatekeeper,
        facts: Facts,
        standing: Mapping[str, Any],
        approved: frozenset[str],
        tolerant: bool,
    ) -> None:
        self._keeper = keeper
        self._facts = facts
        self._standing = standing
        self._approved = approved
        self._tolerant = tolerant
        self._admitted = ExitStack()
        self.approval: str | None = None  #: hash of the approved diff that the update relied on
        self.seconds = 0.0  #: spent on evaluation, in all

    @functools.cached_property
    def found_standing(self) -> tuple[Finding, ...]:
        """What violates the rules before the update: someone has changed the stack past the gate, or a rule is new."""
        if not self._standing.get("resources"):
            return ()
        return self._timed(lambda: self._keeper.evaluate(as_it_stands(self._standing), self._facts)).blocking

    def judge(self, plan: Plan) -> None:
        """Raises PolicyBlocked, ApprovalNeeded or what the quotas raise."""
        log.debug("gate.judging", stack=self._facts.stack_name)
        report = self._timed(lambda: self._keeper.evaluate(stacks_of_resources(plan.resources), self._facts))
        blocking = self._new(report.blocking)
        if blocking:
            raise _blocked(self._facts.stack_name, blocking, "nothing was changed")
        self._require_approval(plan)
        if self._keeper.quotas is not None:
            self._admitted.enter_context(self._keeper.quotas.admitted(plan, self._facts))
        log.debug("gate.judged", stack=self._facts.stack_name, seconds=round(self.seconds, 4))

    def close(self) -> None:
        """The update has ended, or will not begin."""
        self._admitted.close()

    def recheck(self, deployment: Mapping[str, Any]) -> None:
        """What the update has made, by the values that the cloud gave. Raises PolicyBlocked."""
        report = self._timed(lambda: self._keeper.evaluate(as_it_stands(deployment), self._facts))
        blocking = self._new(report.blocking)
        if blocking:
            raise _blocked(self._facts.stack_name, blocking, "the update was made, and access stays as it was")

    def _new(self, blocking: Sequence[Finding]) -> list[Finding]:
        if not self._tolerant:
            return list(blocking)
        known = {(each.rule.id, each.urn) for each in self.found_standing}
        return [each for each in blocking if (each.rule.id, each.urn) not in known]

    def _require_approval(self, plan: Plan) -> None:
        stateful = self._keeper.stateful
        losses = destructive(plan, stateful)
        if not losses:
            return
        entries = diff(plan, stateful)
        digest = diff_hash(entries)
        if digest in self._approved:
            self.approval = digest
            return
        named = "; ".join(f"{step.op} {step.type} {step.name}: {stateful[step.type]}" for step in losses[:_NAMED])
        more = f"; and {len(losses) - _NAMED} more" if len(losses) > _NAMED else ""
        raise ApprovalNeeded(
            f"stack {self._facts.stack_name}: the update would destroy data, and nothing was changed: {named}{more}",
            hint="an operator approves exactly this diff, or rejects it",
            diff=entries,
            diff_hash=digest,
        )

    def _timed(self, evaluation: Callable[[], Report]) -> Report:
        began = time.perf_counter()
        try:
            return evaluation()
        finally:
            self.seconds += time.perf_counter() - began


def _blocked(stack_name: str, findings: Sequence[Finding], consequence: str) -> PolicyBlocked:
    named = "; ".join(f"{each.rule.id}: {_where(each)}{each.message}" for each in findings[:_NAMED])
    more = f"; and {len(findings) - _NAMED} more" if len(findings) > _NAMED else ""
    hint = " ".join(dict.fromkeys(f"{each.rule.remediation}." for each in findings[:_NAMED]))
    return PolicyBlocked(
        f"stack {stack_name}: policy refuses, {consequence}: {named}{more}",
        hint=f"{hint} `tenantry policy explain {findings[0].rule.id}` tells more",
        findings=[each.as_dict() for each in findings],
    )


def _where(finding: Finding) -> str:
    return " ".join(split_urn(finding.urn)) + ": " if finding.urn else ""
