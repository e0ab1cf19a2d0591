"""A request as a call of the proof in ``isolation``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import boto3

from components.spec import PlatformOutputs
from isolation.attempts import Attempt
from isolation.evidence.document import ScopeKind
from isolation.proof import prove_all, prove_pair, prove_tenant
from provisioner.proving.declared import Declarations
from provisioner.proving.means import installation_of
from provisioner.proving.participants import Participants
from provisioner.proving.request import ProofRequest
from provisioner.settings import Settings
from tenantry import Tenantry


class Attack(Protocol):
    def __call__(
        self,
        request: ProofRequest,
        taking_part: Participants,
        cells: Sequence[PlatformOutputs],
        *,
        sdk: Tenantry,
        settings: Settings,
        seen: Callable[[Attempt], None],
    ) -> list[Attempt]: ...


def run(
    request: ProofRequest,
    taking_part: Participants,
    cells: Sequence[PlatformOutputs],
    *,
    sdk: Tenantry,
    settings: Settings,
    seen: Callable[[Attempt], None],
) -> list[Attempt]:
    """Every attempt; nothing is raised for what an attack meets."""
    region = next((each.region for each in cells if each.cell == taking_part.cell), settings.region)
    means: dict[str, Any] = {
        "sdk": sdk,
        "aws": boto3.session.Session(region_name=region),
        "installation": replace(
            installation_of(taking_part.named, cells, settings.app_schema, sdk, fast=request.fast),
            declared=Declarations(settings),
        ),
        "seen": seen,
    }
    match request.kind:
        case ScopeKind.ALL if len(taking_part.named) > 1:
            return prove_all(taking_part.named, **means)
        case ScopeKind.PAIR:
            attacker, victim = taking_part.named
            return prove_pair(attacker, victim, **means)
        case _:
            # one tenant, or the only one there is: its own place, and what outsiders try
            [tenant] = taking_part.named
            return prove_tenant(tenant, taking_part.others, fast=request.fast, **means)
