"""One tenant's data as one file: tables of one moment, files, and what the registry knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import structlog

from components.naming import Names
from components.spec import PlatformOutputs, TenantOutputs, TenantSpec
from components.tiers import TIERS
from providers.postgres.connection import Server
from provisioner.offboarding import database, facts, files, instance
from provisioner.offboarding.errors import ExportInterrupted
from provisioner.offboarding.layout import ExportWriter, LeftOut, Manifest, sha256_of
from provisioner.quotas.aws import AwsClients
from provisioner.registry.tenants import TenantRecord

log = structlog.get_logger(__name__)

_NO_OLD_VERSIONS = LeftOut(
    what="former versions of files", why="deleted or replaced by the tenant; a file is its latest"
)


@dataclass(frozen=True)
class Export:
    """A written file. ``digest``: SHA-256 of the whole, hexadecimal; ``size`` in bytes."""

    path: Path
    size: int
    digest: str
    manifest: Manifest

    def summary(self) -> dict[str, object]:
        """For the registry and the certificate."""
        return {
            "digest": self.digest,
            "size": self.size,
            "rows": self.manifest.rows,
            "tables": [
                {"schema": table.schema_name, "name": table.name, "rows": table.rows}
                for table in self.manifest.database.tables
            ],
            "files": self.manifest.files.count,
            "file_bytes": self.manifest.files.size,
            "at": self.manifest.database.snapshot_at.isoformat(),
        }


@dataclass(frozen=True)
class Exporter:
    """``registry_url``: of the control plane's database. ``clients``: of this process's own AWS credentials."""

    registry_url: str
    clients: AwsClients
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def write(self, record: TenantRecord, platform: PlatformOutputs, path: Path, *, purpose: str) -> Export:
        """Write the file; ``path`` must not exist, and does not if this raises.

        Raises ExportInterrupted, ExportRefused, InstanceStarting.
        """
        return await asyncio.to_thread(self._write, record, platform, path, purpose)

    def _write(self, record: TenantRecord, platform: PlatformOutputs, path: Path, purpose: str) -> Export:
        assert record.outputs is not None
        assert record.tenant_spec is not None
        outputs = TenantOutputs.model_validate(record.outputs)
        source = self.source(record.tenant_spec, outputs, platform)
        place = files.Place(record.tenant_id, outputs.bucket, outputs.prefix, platform.region, outputs.role_arn)
        began = self.clock()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            writer = ExportWriter(path)
            path.chmod(0o600)
        except OSError as error:
            raise ExportInterrupted(
                f"the export can't be written to {path}: {error.strerror}", hint="check the directory and its space"
            ) from error
        try:
            tables, left_out = database.export(source, writer)
            stored, skipped = files.export(place, self.clients, writer)
            known = self._facts(record.tenant_id, writer)
            manifest = Manifest(
                installation=record.tenant_spec.installation,
                tenant_id=record.tenant_id,
                generation=record.generation,
                tier=outputs.tier,
                plan=record.plan,
                purpose=purpose,
                started_at=began,
                ended_at=self.clock(),
                database=tables,
                files=stored,
                registry=known,
                left_out=(*left_out, *skipped, _NO_OLD_VERSIONS),
                members=writer.members,
            )
            writer.close(manifest)
        except BaseException as error:
            writer.abandon()
            path.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise ExportInterrupted(
                    f"the export can't be written to {path}: {error.strerror}", hint="check the directory's space"
                ) from error
            raise
        export = Export(path, path.stat().st_size, sha256_of(path), manifest)
        log.info("export.written", tenant_id=record.tenant_id, rows=manifest.rows, files=stored.count, size=export.size)
        return export

    def source(self, spec: TenantSpec, outputs: TenantOutputs, platform: PlatformOutputs) -> database.Source:
        """Where its tables are; an instance of its own must answer, and is started if it is stopped."""
        own = TIERS[outputs.tier]
        secret = platform.shared_master_secret_arn
        if own.own_instance:
            secret = instance.master_secret(
                instance.require_running(self.clients, platform.region, Names.of_tenant(spec).instance)
            )
        return database.Source(
            server=Server(outputs.database.address, outputs.database.port, secret, platform.region),
            database=outputs.database.name,
            schema=outputs.db_schema,
            tenant_id=outputs.tenant_id,
            pooled=not own.own_schema,
            epoch=outputs.epoch,
            login=outputs.login if own.own_login else "",
        )

    def _facts(self, tenant_id: str, writer: ExportWriter) -> dict[str, int]:
        try:
            with psycopg.connect(
                self.registry_url, connect_timeout=10, application_name="tenantry-export"
            ) as connection:
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                return facts.export(connection, tenant_id, writer)
        except psycopg.Error as error:
            raise ExportInterrupted(f"the registry could not be read: {type(error).__name__}") from error
