"""From what a deletion wrote down to its certificate. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from components.logs import PRODUCTION_RETENTION_DAYS, RETENTION_DAYS
from components.spec import Environment, TenantSpec
from components.tiers import TIERS
from isolation.evidence.document import Product
from provisioner.offboarding.certificate import (
    SCHEMA,
    Authorisation,
    Certificate,
    Copy,
    Deleted,
    Remaining,
    Resource,
    Subject,
    Table,
)
from provisioner.offboarding.leftovers import Waiting
from provisioner.registry.deletions import DeletionRecord
from provisioner.registry.tenants import TenantRecord


def compose(
    record: TenantRecord,
    deletion: DeletionRecord,
    waiting: Sequence[Waiting],
    *,
    redacted: Mapping[str, int],
    backup_days: int,
    evidence_days: int,
    product: Product,
    now: datetime,
) -> Certificate:
    """``backup_days``: of the cell's shared database; ``redacted``: {events, timeline}."""
    spec = record.tenant_spec
    assert spec is not None
    export, files = deletion.export or {}, deletion.files or {}
    copy = _copy(deletion)
    remaining = [_remaining(each) for each in waiting]
    remaining += _what_stays(spec, now, backup_days, evidence_days, deletion)
    return Certificate(
        schema_version=SCHEMA,
        certificate_id=deletion.deletion_id,
        installation=spec.installation,
        environment=spec.environment.value,
        product=product,
        tenant=Subject(
            tenant_id=record.tenant_id,
            generation=record.generation,
            cell=record.cell,
            tier=spec.tier.value,
            plan=deletion.tenant.get("plan"),
        ),
        authorisation=Authorisation(
            cause=deletion.cause,  # type: ignore[arg-type]  # pydantic checks it
            by=deletion.requested_by,
            reason=deletion.reason[:4000],
            at=_utc(deletion.requested_at),
        ),
        method=deletion.method,  # type: ignore[arg-type]
        began_at=min(_utc(deletion.created_at), now),
        destroyed_at=None if deletion.destroyed_at is None else _utc(deletion.destroyed_at),
        completed_at=now,
        deleted=Deleted(
            tables=[
                Table(schema_name=each["schema"], name=each["name"], rows=each["rows"])
                for each in export.get("tables", ())
            ],
            rows=export.get("rows", 0),
            objects=files.get("objects", 0),
            versions=files.get("versions", 0),
            delete_markers=files.get("delete_markers", 0),
            uploads=files.get("uploads", 0),
            resources=[Resource(type=each["type"], id=each["id"]) for each in deletion.resources or ()],
            events_redacted=redacted["events"],
            timeline_redacted=redacted["timeline"],
            others_redacted=redacted["others"],
            customer_deleted=deletion.forget_customer and record.stripe_customer_id is not None,
        ),
        export=copy,
        remaining=remaining,
    )


def _copy(deletion: DeletionRecord) -> Copy | None:
    if deletion.copy_name is None or deletion.copy_until is None or deletion.copy_removed_at is not None:
        return None
    assert deletion.export is not None
    return Copy(
        kind="archive" if deletion.archives else "export",
        digest=f"sha256:{deletion.export['digest']}",
        size=deletion.export["size"],
        until=_utc(deletion.copy_until),
    )


def _remaining(each: Waiting) -> Remaining:
    until = None if each.until is None else _utc(each.until)
    return Remaining(what=each.what, where=each.where, until=until, why=each.why)


def _what_stays(
    spec: TenantSpec, now: datetime, backup_days: int, evidence_days: int, deletion: DeletionRecord
) -> list[Remaining]:
    """What no program removes now; said as plainly as what was removed."""
    own = TIERS[spec.tier]
    production = spec.environment is Environment.PRODUCTION
    stays = []
    if not own.own_instance:
        stays.append(
            Remaining(
                what="rows in backups of the shared database",
                where=f"automated backups of cell {spec.cell}",
                until=now + timedelta(days=backup_days),
                why="a backup can't be changed; it ages out. Snapshots that operators made are not known here",
            )
        )
        stays.append(
            Remaining(
                what="names of logins, and statements that were slow or failed",
                where=f"logs of the shared database of cell {spec.cell}",
                until=now + timedelta(days=PRODUCTION_RETENTION_DAYS if production else RETENTION_DAYS),
                why="logs of what tenants share are kept for their days; bound parameters are not in them",
            )
        )
    copy = _copy(deletion)
    if copy is not None:
        stays.append(
            Remaining(
                what=f"the encrypted {copy.kind}",
                where="the store of exports and archives",
                until=copy.until,
                why="the plan promises it" if copy.kind == "archive" else "it waits for the customer to fetch it",
            )
        )
    stays += [
        Remaining(
            what="evidence of isolation that names the tenant",
            where="registry: proofs",
            until=now + timedelta(days=evidence_days),
            why="audits look back; it names resources that are gone, and no person",
        ),
        Remaining(
            what="that the tenant existed: its id, Stripe's ids, timeline and operations, this certificate",
            where="registry",
            until=None,
            why="an id is never given to somebody else, and deletion must be demonstrable",
        ),
        Remaining(
            what="backups of the registry from before",
            where="backups of the control plane's database",
            until=None,
            why="they age out as whoever runs the control plane has set",
        ),
        Remaining(
            what="customer, invoices and payments",
            where="Stripe",
            until=None,
            why="Stripe's own records; invoices are kept as long as tax law demands",
        ),
    ]
    return stays


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
