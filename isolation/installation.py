"""What a proof is told beyond the tenants themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from components.spec import PlatformOutputs, TenantOutputs
from isolation.state.declared import Declared

TokenKey = Callable[[TenantOutputs], bytes]
Declarations = Callable[[TenantOutputs, bool], Sequence[Declared]]


@dataclass(frozen=True)
class Installation:
    """Each part that is missing makes the proof say less, and never that something is fine which was not looked at.

    ``platforms``: the cells' platform outputs, by which what tenants share is found and compared.
    ``reference_tables``: tables without a tenant that the application's migrations declare; None if unknown.
    ``token_key``: gives the key of a pool's entry tokens, with which expired tokens and those of another epoch are
    made to be tried; the prover's caller must be allowed to read it. ``pg_dump``: a program as new as the servers.
    ``declared``: the policy documents that a tenant's own stack asked for or, with False, its cell's platform stack.
    """

    platforms: tuple[PlatformOutputs, ...] = ()
    reference_tables: frozenset[str] | None = None
    token_key: TokenKey | None = field(default=None, repr=False)
    pg_dump: Path | None = None
    declared: Declarations | None = field(default=None, repr=False)

    def platform(self, tenant: TenantOutputs) -> PlatformOutputs | None:
        return next((each for each in self.platforms if each.cell == tenant.cell), None)
