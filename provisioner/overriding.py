"""An operator's exceptions to a tenant's entitlements: by name, for a reason, until a time, and on its timeline."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg
import structlog
from psycopg import AsyncConnection

from provisioner.billing.catalogue import ALL_FEATURES, Catalogue
from provisioner.errors import NotFound, Reject
from provisioner.operator_tasks import require
from provisioner.registry import entitlements, timeline
from provisioner.registry.entitlements import Override, OverrideKind
from provisioner.registry.timeline import EntryKind

if TYPE_CHECKING:
    from provisioner.operate import Pool

log = structlog.get_logger(__name__)

MAX_VALUE = 2**53  #: as in the catalogue: every JSON reader keeps such a number whole
_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,79}")


class OverrideInvalid(Reject):
    """An exception that can't be meant; nothing was changed."""

    code = "override_invalid"


@dataclass(frozen=True)
class Exemption:
    """What is to be set: ``granted`` of a feature, ``value`` of a limit or rate (None: unlimited)."""

    kind: OverrideKind
    name: str
    granted: bool | None = None
    value: int | None = None

    def told(self) -> str:
        if self.kind is OverrideKind.FEATURE:
            return f"feature {self.name} {'granted' if self.granted else 'revoked'}"
        return f"{self.kind} {self.name} set to {'unlimited' if self.value is None else self.value}"


async def set_override(
    connection: AsyncConnection,
    tenant_id: str,
    wanted: Exemption,
    *,
    catalogue: Catalogue | None,
    by: str,
    reason: str,
    expires_at: datetime | None = None,
) -> None:
    """Set or replace one. ``catalogue``: where its name must be found; None lets any through.

    Raises NotFound (no such tenant, or name) or OverrideInvalid.
    """
    by, reason = _recorded(by, reason)
    if not _NAME.fullmatch(wanted.name):
        raise OverrideInvalid(
            f"{wanted.name!r} is no name of a {wanted.kind}", hint="lower-case letters, digits, _ . -"
        )
    if wanted.value is not None and not 0 <= wanted.value <= MAX_VALUE:
        raise OverrideInvalid(f"{wanted.kind} {wanted.name}: {wanted.value} is out of range", hint=f"0 to {MAX_VALUE}")
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise OverrideInvalid(f"it would have ended at {expires_at:%Y-%m-%d %H:%M} UTC", hint="give a time to come")
    if catalogue is not None:
        _known(wanted, catalogue)
    await require(connection, tenant_id)
    await entitlements.put(
        connection,
        tenant_id,
        wanted.kind,
        wanted.name,
        granted=wanted.granted,
        value=wanted.value,
        reason=reason,
        author=by,
        expires_at=expires_at,
    )
    until = f" until {expires_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if expires_at is not None else ""
    detail: dict[str, Any] = {"kind": wanted.kind, "name": wanted.name, "by": by, "reason": reason}
    detail |= {"granted": wanted.granted} if wanted.kind is OverrideKind.FEATURE else {"value": wanted.value}
    detail |= {"expires_at": expires_at.isoformat()} if expires_at is not None else {}
    summary = f"{by}: {wanted.told()}{until}: {reason}"
    await timeline.add(connection, tenant_id, EntryKind.OPERATOR, summary, detail=detail)


async def clear_override(
    connection: AsyncConnection, tenant_id: str, kind: OverrideKind, name: str, *, by: str, reason: str
) -> None:
    """Let the plan decide again. NotFound if there is nothing to clear."""
    by, reason = _recorded(by, reason)
    await require(connection, tenant_id)
    if not await entitlements.clear(connection, tenant_id, kind, name):
        raise NotFound(
            f"tenant {tenant_id} has no exception for {kind} {name}", hint=f"tenantry entitlements show {tenant_id}"
        )
    detail = {"kind": kind, "name": name, "by": by, "reason": reason}
    summary = f"{by}: the exception for {kind} {name} is cleared: {reason}"
    await timeline.add(connection, tenant_id, EntryKind.OPERATOR, summary, detail=detail)


@dataclass
class OverrideKeeper:
    """Removes exceptions that have ended, with an entry in each tenant's timeline; and old windows of rates."""

    pool: Pool

    async def run_due(self, now: datetime) -> None:
        """Idempotent; ``now`` is not asked: what ends does so by the database's clock, as for the SDK."""
        try:
            async with self.pool.connection() as connection:
                for tenant_id, override in await entitlements.claim_expired(connection):
                    await timeline.add(
                        connection,
                        tenant_id,
                        EntryKind.DECISION,
                        f"the exception for {override.kind} {override.name} ended: {_until(override)}",
                        detail={"kind": override.kind, "name": override.name, "author": override.author},
                    )
                await entitlements.prune_windows(connection)
        except psycopg.Error as error:
            log.warning("overrides.failed", error=str(error).splitlines()[:1])


def _until(override: Override) -> str:
    assert override.expires_at is not None
    return f"{override.author} had set it until {override.expires_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _recorded(by: str, reason: str) -> tuple[str, str]:
    if not by.strip() or not reason.strip():
        raise OverrideInvalid("an exception needs a name and a reason", hint="--by NAME --reason TEXT")
    return by.strip(), reason.strip()


def names(catalogue: Catalogue, kind: OverrideKind) -> Collection[str]:
    """Every name of the kind that any plan has."""
    plans = catalogue.plans.values()
    if kind is OverrideKind.FEATURE:
        return ({*catalogue.features} | {name for plan in plans for name in plan.entitlements}) - {ALL_FEATURES}
    if kind is OverrideKind.LIMIT:
        return {name for plan in plans for name in plan.limits}
    return {rate.name for plan in plans for rate in plan.rates}


def _known(wanted: Exemption, catalogue: Catalogue) -> None:
    known = names(catalogue, wanted.kind)
    if wanted.name in known:
        return
    near = difflib.get_close_matches(wanted.name, sorted(known), n=1)
    hint = f"did you mean {near[0]}?" if near else "add it to a plan first, or say --unlisted"
    raise NotFound(f"no plan of {catalogue.source} has a {wanted.kind} {wanted.name!r}", hint=hint)
