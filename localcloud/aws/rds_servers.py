"""The PostgreSQL servers behind RDS instances: made, changed and deleted in the background, as RDS does.

A caller that is cancelled, or dies, leaves the work to go on. A provider that dies leaves a record, from which the
next one goes on. Without a data directory (unit tests) instances are moto's records alone: :func:`servers` is None.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import secrets
import shutil
import string
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from localcloud import latency
from localcloud.aws.client import Aws, configure
from localcloud.aws.rds_records import (
    AVAILABLE,
    CREATING,
    DELETING,
    FAILED,
    MODIFYING,
    REQUESTED,
    STARTING,
    STOPPED,
    STOPPING,
    Record,
    Records,
    new_name,
)
from localcloud.aws.rds_settings import ServerSettings
from localcloud.home import Home
from localcloud.locks import file_lock
from localcloud.moto import STATUS_PATH
from localcloud.postgres import Cluster, create_master
from localcloud.postgres.master import create_database, set_password
from localcloud.postgres.ports import free_port
from providers.base import Context

log = logging.getLogger(__name__)

#: Of a master password of RDS's own, without the characters RDS does not allow: / @ " and space.
_PASSWORD_CHARACTERS = string.ascii_letters + string.digits + "!#$%&()*+,-.:;<=>?[]^_{|}~"
_PASSWORD_LENGTH = 28
_POLL_SECONDS = 0.02


class _Superseded(Exception):
    """The instance's status changed while the work that its former one announced was waiting."""


class Servers:
    """The instances of one region, with the credentials of ``aws``."""

    def __init__(self, aws: Aws, home: Home) -> None:
        self._aws = aws
        self._home = home
        self.records = Records(home.instances)

    # -- what the handler asks for --------------------------------------------------------------------------------

    def request(self, identifier: str, **details: Any) -> Record:
        """A record with a port, before the API is asked for the instance: a crash in between leaves no orphan."""
        home = self._home
        home.instances.mkdir(exist_ok=True, mode=0o700)
        record = Record(
            new_name(identifier), identifier, self._aws.region, free_port(), REQUESTED, time.time(), **details
        )
        self.records.add(record)
        return record

    def withdraw(self, record: Record) -> None:
        """The API refused the instance."""
        self.records.remove(record.name)

    def begin(self, record: Record, resource_id: str) -> None:
        """The API has the instance: make its server."""
        self._tell_api(record.identifier, CREATING)
        self.records.change(record.name, (REQUESTED,), status=CREATING, resource_id=resource_id)
        self._work_on(record.name)

    def modify(self, record: Record, identifier: str, settings: ServerSettings) -> None:
        """Apply settings, after a failed creation the creation as well."""
        status = CREATING if record.status == FAILED else MODIFYING
        changed = self.records.change(
            record.name,
            (AVAILABLE, FAILED),
            status=status,
            identifier=identifier,
            settings=settings.settings,
            force_ssl=settings.force_ssl,
        )
        if changed is not None:
            self._tell_api(identifier, status)
        self._work_on(record.name)

    def set_password(self, record: Record, password: str) -> None:
        """A master password of the user's own."""
        with self.cluster(record).admin() as admin:
            set_password(admin, record.username, password)

    def manage_password(self, record: Record, identifier: str | None = None) -> None:
        """A new master password, into the instance's secret and into the server. ``identifier``: its new one."""
        password = self._new_password(identifier or record.identifier, record.username)
        self.set_password(record, password)

    def reconfigure(self, record: Record, settings: ServerSettings) -> None:
        """Other settings, in whatever state the instance is."""
        self.records.change(record.name, (record.status,), settings=settings.settings, force_ssl=settings.force_ssl)
        with contextlib.suppress(FileNotFoundError):
            self.cluster(record).configure(settings.settings, force_ssl=settings.force_ssl)

    def delete(self, record: Record, *, final_snapshot: str | None, keep_backups: bool) -> None:
        """Begin the deletion; an earlier one of the same instance goes on as it began."""
        changed = self.records.change(
            record.name,
            (CREATING, AVAILABLE, MODIFYING, FAILED, STOPPING, STOPPED, STARTING),
            status=DELETING,
            final_snapshot=final_snapshot,
            keep_backups=keep_backups,
        )
        if changed is not None:
            self._tell_api(record.identifier, DELETING)
        self._work_on(record.name)

    def power_off(self, identifier: str) -> None:
        """Begin to stop the server of an instance that runs; nothing happens to one that doesn't."""
        self._power(identifier, AVAILABLE, STOPPING)

    def power_on(self, identifier: str) -> None:
        self._power(identifier, STOPPED, STARTING)

    def _power(self, identifier: str, before: str, status: str) -> None:
        record = self.records.of(identifier, self._aws.region)
        if record is not None and self.records.change(record.name, (before,), status=status) is not None:
            self._tell_api(identifier, status)
            self._work_on(record.name)

    def wait(self, ctx: Context[Aws], record: Record) -> Record | None:
        """Until the instance is available, stopped or failed (its record), or gone (None). Raises ``Cancelled``."""
        while True:
            present = self.records.get(record.name)
            if present is None or present.status in (AVAILABLE, STOPPED, FAILED):
                return present
            ctx.wait(_POLL_SECONDS)

    def cluster(self, record: Record) -> Cluster:
        return Cluster.load(self._home.clusters / record.name, self._home.authority)

    def snapshot(self, identifier: str) -> Path:
        """Where the data of a snapshot lies, if it has any."""
        return self._home.snapshots / f"{self._aws.region}.{identifier.lower()}"

    # -- the work -------------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Go on with what another provider process left half done, and remove what belongs to no instance."""
        live = self._live_instances()
        for record in self._own_records():
            if record.status == REQUESTED:
                self._resume_request(record, live)
            else:
                self._work_on(record.name)
        self._remove_forgotten(live)

    def _resume_request(self, record: Record, live: dict[str, str]) -> None:
        resource_id = live.get(record.identifier)
        if resource_id is None or self.records.find(resource_id=resource_id) is not None:
            self.records.remove(record.name)
        else:
            self.begin(record, resource_id)

    def _remove_forgotten(self, live: dict[str, str]) -> None:
        """Servers of instances that were deleted through the API, by something other than this provider."""
        for record in self._own_records():
            settled = (AVAILABLE, STOPPED, FAILED)
            gone = record.status in settled and record.resource_id not in live.values()
            if gone and self.records.change(record.name, settled, status=DELETING) is not None:
                self._work_on(record.name)

    def _own_records(self) -> list[Record]:
        return [record for record in self.records if record.region == self._aws.region]

    def _live_instances(self) -> dict[str, str]:
        pages = self._aws.client("rds").get_paginator("describe_db_instances").paginate()
        return {i["DBInstanceIdentifier"]: i["DbiResourceId"] for page in pages for i in page["DBInstances"]}

    def _work_on(self, name: str) -> None:
        threading.Thread(target=self._work, args=(name,), name=name, daemon=True).start()

    def _work(self, name: str) -> None:
        steps: dict[str, Callable[[Record], None]] = {
            CREATING: self._create,
            MODIFYING: self._modify,
            STOPPING: self._stop,
            STARTING: self._start,
            DELETING: self._delete,
        }
        lock = self.records.work_lock(name)
        with file_lock(lock):
            while (record := self.records.get(name)) is not None and record.status in steps:
                try:
                    steps[record.status](record)
                except _Superseded:
                    continue
                except Exception as error:
                    log.exception("%s: %s failed", name, record.status)
                    reason = f"{type(error).__name__}: {error}"
                    if self.records.change(name, (record.status,), status=FAILED, error=reason) is not None:
                        with contextlib.suppress(OSError):
                            self._tell_api(record.identifier, FAILED)
            if record is None:
                lock.unlink(missing_ok=True)

    def _create(self, record: Record) -> None:
        cluster = Cluster.create(
            self._home.clusters / record.name,
            authority=self._home.authority,
            settings=record.settings,
            source=Path(record.source) if record.source else None,
            force_ssl=record.force_ssl,
            port=record.port,
        )
        cluster.configure(record.settings, force_ssl=record.force_ssl)
        cluster.start()
        password = record.verifier or self._new_password(record.identifier, record.username)
        with cluster.admin() as admin:
            create_master(admin, record.username, password)
            if record.database:
                create_database(admin, record.database, record.username)
        self._delay(record, "rds.create")
        self._settle(record, AVAILABLE)
        self._remove_forgotten(self._live_instances())

    def _modify(self, record: Record) -> None:
        self._delay(record, "rds.modify")
        self.cluster(record).configure(record.settings, force_ssl=record.force_ssl)
        self._settle(record, AVAILABLE)

    def _stop(self, record: Record) -> None:
        self._delay(record, "rds.stop")
        self.cluster(record).stop()
        self._settle(record, STOPPED)

    def _start(self, record: Record) -> None:
        self._delay(record, "rds.start")
        self.cluster(record).start()
        self._settle(record, AVAILABLE)

    def _delete(self, record: Record) -> None:
        self._delay(record, "rds.delete")
        cluster: Cluster | None = None
        with contextlib.suppress(FileNotFoundError):
            cluster = self.cluster(record)
        # Once the API has deleted the instance, it has the snapshot: a provider before this one copied the data.
        exists = self._live_instances().get(record.identifier) == record.resource_id
        if exists and cluster is not None and record.final_snapshot is not None:
            cluster.stop()
            shutil.rmtree(self.snapshot(record.final_snapshot), ignore_errors=True)
            cluster.copy_data(self.snapshot(record.final_snapshot))
        if exists:
            self._delete_from_api(record)
        if cluster is not None:
            cluster.destroy()
        else:
            Cluster.discard(self._home.clusters / record.name)
        self._drop_forgotten_snapshots()
        self.records.remove(record.name)

    def _delete_from_api(self, record: Record) -> None:
        arguments: dict[str, Any] = {"SkipFinalSnapshot": record.final_snapshot is None}
        if record.final_snapshot is not None:
            arguments["FinalDBSnapshotIdentifier"] = record.final_snapshot
        self._aws.client("rds").delete_db_instance(
            DBInstanceIdentifier=record.identifier, DeleteAutomatedBackups=not record.keep_backups, **arguments
        )

    def _drop_forgotten_snapshots(self) -> None:
        """Data of snapshots that were deleted through the API."""
        if not self._home.snapshots.exists():
            return
        pages = self._aws.client("rds").get_paginator("describe_db_snapshots").paginate()
        known = {self.snapshot(s["DBSnapshotIdentifier"]) for page in pages for s in page["DBSnapshots"]}
        for path in self._home.snapshots.glob(f"{self._aws.region}.*"):
            if path not in known:
                shutil.rmtree(path, ignore_errors=True)

    def _new_password(self, identifier: str, username: str) -> str:
        """A random master password, stored as RDS does: moto would give every instance the same one."""
        instance = self._aws.client("rds").describe_db_instances(DBInstanceIdentifier=identifier)
        arn = instance["DBInstances"][0]["MasterUserSecret"]["SecretArn"]
        password = "".join(secrets.choice(_PASSWORD_CHARACTERS) for _ in range(_PASSWORD_LENGTH))
        value = json.dumps({"username": username, "password": password})
        self._aws.client("secretsmanager").put_secret_value(SecretId=arn, SecretString=value)
        return password

    def _delay(self, record: Record, operation: str) -> None:
        def sleep(seconds: float) -> None:
            time.sleep(seconds)
            present = self.records.get(record.name)
            if present is None or present.status != record.status:
                raise _Superseded

        latency.wait(self._home.latency, operation, sleep, elapsed=max(0.0, time.time() - record.since))

    def _settle(self, record: Record, status: str) -> None:
        present = self.records.get(record.name)
        if present is None or present.status != record.status:
            raise _Superseded
        # The API first: whoever waits for the record reads the API next.
        self._tell_api(present.identifier, status)
        self.records.change(record.name, (record.status,), status=status)

    def _tell_api(self, identifier: str, status: str) -> None:
        """Set the status that `describe_db_instances` shows."""
        if self._aws.endpoint is None:
            return
        url = urlsplit(self._aws.endpoint)
        document = {"account": self._aws.account_id, "region": self._aws.region}
        connection = http.client.HTTPConnection(url.hostname or "127.0.0.1", url.port, timeout=10)
        try:
            body = json.dumps({**document, "identifier": identifier, "status": status})
            connection.request("POST", STATUS_PATH, body, {"Content-Type": "application/json"})
            connection.getresponse().read()
        finally:
            connection.close()


def servers(aws: Aws) -> Servers | None:
    """The servers behind ``aws``'s instances; None where there is no data directory to keep them in."""
    return Servers(aws, Home(aws.data_dir)) if aws.data_dir is not None else None


def resume(endpoint: str, data_dir: Path) -> None:
    """In the background, go on with the work of the provider that ran here before: see :meth:`Servers.resume`."""
    records = Records(Home(data_dir).instances)
    for region in {record.region for record in records}:
        local = servers(configure({"region": region}, endpoint, data_dir))
        assert local is not None
        threading.Thread(target=local.resume, name=f"resume-{region}", daemon=True).start()
