"""A tenant under proof: where its stack says it lives, and the means an application has to act for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from components.spec import TenantOutputs
from isolation.broker import Broker
from isolation.connections import Logins
from tenantry import Placement, Tenantry
from tenantry.session import TenantSession


class Misrouted(ValueError):
    """The SDK takes the tenant elsewhere than its stack's outputs say."""


class _Undone(Exception):
    """Rolls a session back."""


@dataclass(frozen=True)
class Subject:
    """``sdk`` is what the tenant's application uses, and ``broker`` where it gets credentials: the same for all.

    ``logins``: the connections that tenants' logins open themselves, kept for a whole proof.
    """

    outputs: TenantOutputs
    sdk: Tenantry
    broker: Broker
    logins: Logins = field(default_factory=Logins)

    @property
    def id(self) -> str:
        return self.outputs.tenant_id

    @property
    def server(self) -> tuple[str, int]:
        return self.outputs.database.address, self.outputs.database.port

    @property
    def database(self) -> tuple[str, int, str]:
        """Where the tenant's tables are; equal for tenants that share it."""
        return (*self.server, self.outputs.database.name)

    def placement(self) -> Placement:
        """Where the SDK takes the tenant. Raises Misrouted if that isn't where its stack says it lives."""
        found, outputs = self.sdk.placement(self.id), self.outputs
        there = {
            "generation": (found.generation, outputs.generation),
            "tier": (found.tier, outputs.tier.value),
            "database": ((found.db_host, found.db_port, found.db_name), self.database),
            "schema": (found.db_schema, outputs.db_schema),
            "login": (found.db_login, outputs.login),
            "bucket": (found.bucket, outputs.bucket),
            "prefix": (found.prefix, outputs.prefix),
            "key": (found.kms_key_arn, outputs.kms_key_arn),
            "role": (found.role_arn, outputs.role_arn),
        }
        for what, (routed, stated) in there.items():
            if routed != stated:
                raise Misrouted(f"{what} of tenant {self.id}: routing says {routed!r}, its stack {stated!r}")
        return found

    @contextlib.contextmanager
    def session(self) -> Iterator[TenantSession]:
        """A session of which nothing remains: whatever was changed in it is rolled back."""
        self.placement()
        with contextlib.suppress(_Undone), self.sdk.session(self.id) as session:
            yield session
            raise _Undone
