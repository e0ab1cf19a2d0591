"""Stopping and starting instances: what RDS's API refuses, and the servers behind it.

Inside moto's process it replaces moto's own: there an instance is stopped, and started, the moment it is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from localcloud.aws.client import configure
from localcloud.aws.rds_servers import Servers, servers

STOPPED_DAYS = 7  #: after which AWS starts an instance by itself
_ASLEEP = ("stopping", "stopped", "starting")


def serve(endpoint: Callable[[], str], data_dir: Path | None) -> None:
    """Teach moto's RDS. ``endpoint``: of moto itself, asked for later; ``data_dir``: None if there are no servers."""
    from moto.rds.exceptions import RDSClientError
    from moto.rds.models import RDSBackend

    modify: Any = RDSBackend.modify_db_instance

    def refuse(message: str) -> RDSClientError:
        return RDSClientError("InvalidDBInstanceState", message)

    def local(backend: Any) -> Servers | None:
        if data_dir is None:
            return None
        return servers(configure({"region": backend.region_name}, endpoint(), data_dir))

    def stop(self: Any, db_instance_identifier: str, db_snapshot_identifier: str | None = None) -> Any:
        instance = self.describe_db_instances(db_instance_identifier)[0]
        if instance.is_replica or instance.replicas:
            raise refuse(f"Instance {db_instance_identifier} is or has a read replica: it can't be stopped.")
        if instance.status != "available":
            raise refuse(f"Instance {db_instance_identifier} is not in available state.")
        if db_snapshot_identifier:
            self.create_db_snapshot(db_instance_identifier, db_snapshot_identifier)
        known = local(self)
        instance.tenantry_stopped_at = time.time()
        instance.status = "stopped" if known is None else "stopping"
        if known is not None:
            known.power_off(db_instance_identifier)
        return instance

    def start(self: Any, db_instance_identifier: str) -> Any:
        instance = self.describe_db_instances(db_instance_identifier)[0]
        if instance.status != "stopped":
            raise refuse(f"Instance {db_instance_identifier} is not stopped, it cannot be started.")
        known = local(self)
        instance.status = "available" if known is None else "starting"
        if known is not None:
            known.power_on(db_instance_identifier)
        return instance

    def modified(self: Any, db_instance_identifier: str, db_kwargs: dict[str, Any]) -> Any:
        status = self.describe_db_instances(db_instance_identifier)[0].status
        if status in _ASLEEP:
            raise refuse(f"Database {db_instance_identifier} is not in available state (it is {status}).")
        return modify(self, db_instance_identifier, db_kwargs)

    replaced: Any = RDSBackend
    replaced.stop_db_instance, replaced.start_db_instance, replaced.modify_db_instance = stop, start, modified


def pass_time(wanted: dict[str, Any]) -> bool:
    """``{"account", "region", "seconds"}``: what AWS does to stopped instances when that much time has passed."""
    from moto.rds.models import rds_backends

    backend = rds_backends[wanted["account"]][wanted["region"]]
    limit = time.time() + float(wanted["seconds"]) - STOPPED_DAYS * 86_400
    for identifier, instance in list(backend.databases.items()):
        if instance.status == "stopped" and getattr(instance, "tenantry_stopped_at", limit) <= limit:
            backend.start_db_instance(identifier)
    return True
