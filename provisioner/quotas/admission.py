"""The preflight of an update: which account and Region it is about, and what its plan creates there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from components.spec import PlatformSpec
from provisioner.quotas.aws import AwsClients, Place, caller_place
from provisioner.quotas.decision import Assessment
from provisioner.quotas.needs import Needs, Planned, needs_of
from provisioner.quotas.preflight import Preflight

if TYPE_CHECKING:
    from policies.model import Facts
    from provisioner.deployer.plan import Plan

log = structlog.get_logger(__name__)


def needs_of_plan(plan: Plan) -> Needs:
    return needs_of(
        Planned(step.type, step.op, step.new.get("inputs") or {}, step.old.get("inputs") or {}) for step in plan.steps
    )


class Admission:
    """One a process. ``region`` is for stacks that name none; the account of a first platform is the credentials'."""

    def __init__(self, preflight: Preflight, clients: AwsClients, region: str) -> None:
        self._preflight = preflight
        self._clients = clients
        self._region = region
        self._places: dict[str, Place] = {}
        self._lock = threading.Lock()

    @contextmanager
    def admitted(self, plan: Plan, facts: Facts) -> Iterator[Assessment]:
        """Keeps what the plan takes until the body ends. Raises what ``Preflight.admitted`` and ``caller_place`` raise.

        A plan that takes of no quota asks nobody.
        """
        needs = needs_of_plan(plan)
        if needs.unchecked:
            log.warning("quotas.unchecked", stack=plan.stack_name, types=needs.unchecked)
        if not needs:
            yield Assessment(unchecked=needs.unchecked)
            return
        with self._preflight.admitted(plan.stack_name, self._place(facts), needs) as assessment:
            yield assessment

    def prepare(self) -> None:
        """What a first operation would wait for: call it in a thread of its own. Raises QuotasUnavailable."""
        self._preflight.prepare(self._of_credentials(self._region))

    def _place(self, facts: Facts) -> Place:
        if facts.platform is not None:
            return Place(facts.platform.account_id, facts.platform.region)
        spec = facts.spec
        return self._of_credentials(spec.region if isinstance(spec, PlatformSpec) else self._region)

    def _of_credentials(self, region: str) -> Place:
        with self._lock:
            if region not in self._places:
                self._places[region] = caller_place(self._clients, region)
            return self._places[region]
