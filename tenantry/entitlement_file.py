"""The last known entitlements on disk, so that even an application that restarts survives a dead control plane.

They decide what tenants may use: a file that others could have written is not read.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
import tempfile
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from tenantry.entitlements import Ending, Entitlements, Rate, StorageUsage
from tenantry.placement import TENANT_ID

log = logging.getLogger(__name__)
VERSION = 1


class EntitlementFile:
    """Read once, when first asked. Not for more than one process: each needs a file of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: dict[str, Entitlements] | None = None

    def get(self, tenant_id: str) -> Entitlements | None:
        if self._kept is None:
            self._kept = self._load()
        return self._kept.get(tenant_id)

    def save(self, snapshots: Iterable[Entitlements]) -> None:
        """Replace the file, readable for its owner alone. Raises OSError."""
        merged = {**({} if self._kept is None else self._kept), **{each.tenant_id: each for each in snapshots}}
        document = {"version": VERSION, "tenants": [_document(each) for each in merged.values()]}
        descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")  # mode 0600
        try:
            with os.fdopen(descriptor, "w") as stream:
                json.dump(document, stream)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(name, self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise

    def _load(self) -> dict[str, Entitlements]:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return {}
        except OSError as error:
            log.warning("%s is not read: %s", self.path, error.strerror)
            return {}
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
                log.warning("%s is not read: it must be a file of this user's with mode 0600", self.path)
                return {}
            try:
                document = json.loads(stream.read())
                if document["version"] != VERSION:
                    return {}
                found = [_snapshot(each) for each in document["tenants"]]
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                log.warning("%s is not read: %s", self.path, type(error).__name__)
                return {}
        return {each.tenant_id: each for each in found}


def _document(snapshot: Entitlements) -> dict[str, Any]:
    def told(moment: datetime | None) -> str | None:
        return None if moment is None else moment.isoformat()

    return {
        **vars(snapshot),
        "access_since": told(snapshot.access_since),
        "updated_at": told(snapshot.updated_at),
        "features": sorted(snapshot.features),
        "excluded": sorted(snapshot.excluded),
        "limits": dict(snapshot.limits),
        "soft_limits": sorted(snapshot.soft_limits),
        "rates": [vars(each) for each in snapshot.rates],
        "endings": [vars(each) for each in snapshot.endings],
        "storage": None if snapshot.storage is None else vars(snapshot.storage),
    }


def _snapshot(document: dict[str, Any]) -> Entitlements:
    def moment(text: str | None) -> datetime | None:
        return None if text is None else datetime.fromisoformat(text)

    if not TENANT_ID.fullmatch(document["tenant_id"]):
        raise ValueError("no tenant's id")
    return Entitlements(
        **{
            **document,
            "access_since": moment(document["access_since"]),
            "updated_at": moment(document["updated_at"]),
            "features": frozenset(document["features"]),
            "excluded": frozenset(document["excluded"]),
            "limits": {str(name): int(value) for name, value in document["limits"].items()},
            "soft_limits": frozenset(document["soft_limits"]),
            "rates": tuple(Rate(**each) for each in document["rates"]),
            "endings": tuple(Ending(**each) for each in document["endings"]),
            "storage": None if document["storage"] is None else StorageUsage(**document["storage"]),
            "read_at": float(document["read_at"]),
        }
    )
