"""The data directory of a local cloud: what lies where, and whose it is.

::

    .tenantry-local     marks the directory as ours: `down` deletes only such a one
    state.json          supervisor and services: process ids, start times, ports, restarts
    environment.json    what `tenantry local env` prints (0600)
    latency.json        delays that operations of the local AWS take
    tls/                certificate authority of the PostgreSQL servers
    logs/               one file a service
    postgres/           PostgreSQL servers: control-plane, rds-<identifier>-<random>; snapshots/ of RDS instances
    rds/                records of RDS instances
    stripe.json ...     state of services that keep any
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from localcloud.postgres import Authority, reachable_directory
from localcloud.postgres.binaries import account
from provisioner.errors import OperatorNeeded

REPOSITORY = Path(__file__).resolve().parents[1]
MARKER = ".tenantry-local"
#: What may be there before the first `up`: the engine's files, which any command may have made.
_TOLERATED = frozenset({MARKER, "lock", "engine", "cache"})


class HomeUnusable(OperatorNeeded):
    """The data directory holds something that isn't ours, or can't be written."""

    code = "home_unusable"


@dataclass(frozen=True)
class Home:
    """One data directory. Creating the object touches nothing."""

    root: Path

    @classmethod
    def default(cls) -> Home:
        """``TENANTRY_HOME``, else a directory of this clone's own: two clones have two local clouds."""
        chosen = os.environ.get("TENANTRY_HOME")
        if chosen:
            return cls(Path(os.path.abspath(os.path.expanduser(chosen))))
        clone = hashlib.sha256(os.fsencode(REPOSITORY)).hexdigest()[:12]
        if os.geteuid() == 0:
            return cls(Path("/var/lib/tenantry") / clone)
        base = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
        return cls(Path(base) / "tenantry" / clone)

    @property
    def state(self) -> Path:
        return self.root / "state.json"

    @property
    def environment(self) -> Path:
        return self.root / "environment.json"

    @property
    def provisioner(self) -> Path:
        """Which process serves and works beside the local cloud (``localcloud.service``)."""
        return self.root / "provisioner.json"

    @property
    def latency(self) -> Path:
        return self.root / "latency.json"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def supervisor_lock(self) -> Path:
        """Held by the supervisor for as long as it lives."""
        return self.root / "supervisor.lock"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def snapshots(self) -> Path:
        return self.clusters / "snapshots"

    @property
    def instances(self) -> Path:
        """Records of RDS instances."""
        return self.root / "rds"

    @property
    def authority(self) -> Authority:
        """Certificate authority of all servers; made by :meth:`prepare`."""
        return Authority(self.root / "tls")

    @property
    def clusters(self) -> Path:
        """Where PostgreSQL servers live: in the data directory, unless the servers' user can't get there."""
        link = self.root / "postgres"
        return Path(os.readlink(link)) if link.is_symlink() else link

    def is_ours(self) -> bool:
        return (self.root / MARKER).exists()

    def claim(self) -> None:
        """Create the directory (0700), or take an empty one; ``HomeUnusable`` for one that holds something else."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            foreign = sorted({path.name for path in self.root.iterdir()} - _TOLERATED)
            if foreign and not self.is_ours():
                raise HomeUnusable(
                    f"{self.root} holds files that are not Tenantry's ({', '.join(foreign[:3])}, ...)",
                    hint="Let TENANTRY_HOME name a directory that is empty or does not exist",
                )
            (self.root / MARKER).touch(mode=0o600)
        except OSError as error:
            raise HomeUnusable(
                f"can't use {self.root} as the data directory: {error.strerror}",
                hint="Set TENANTRY_HOME to a directory that you may write to",
            ) from None

    def prepare(self) -> None:
        """Make the directories of a new life and its certificate authority. Call :meth:`claim` first."""
        runner = account()
        if runner.switch:
            # Servers run as another user, whose group may pass through, and read nothing.
            os.chown(self.root, 0, runner.gid)
            os.chmod(self.root, 0o710)  # noqa: S103
        else:
            os.chmod(self.root, 0o700)
        for directory in (self.logs, self.instances):
            directory.mkdir(exist_ok=True, mode=0o700)
        Authority.create(self.root / "tls")
        name = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        preferred = self.root / "postgres"
        if not preferred.is_symlink():
            actual = reachable_directory(preferred, name)
            if actual != preferred:
                preferred.rmdir()
                preferred.symlink_to(actual)

    def wipe(self) -> None:
        """Delete everything inside, the locks aside: `up` and `down` hold one. Refuses a directory that isn't ours."""
        if not self.root.exists():
            return
        if not self.is_ours():
            raise HomeUnusable(
                f"{self.root} is not a data directory of Tenantry's: nothing was deleted",
                hint="Check TENANTRY_HOME",
            )
        shutil.rmtree(self.clusters, ignore_errors=True)
        for path in self.root.iterdir():
            if path in (self.lock, self.supervisor_lock) or path.name == MARKER:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def remove(self) -> None:
        """Delete the directory itself, and its parent if that is ours and empty."""
        self.wipe()
        for path in (self.root / MARKER, self.supervisor_lock, self.lock):
            path.unlink(missing_ok=True)
        self.root.rmdir()
        if self.root.parent.name == "tenantry":
            for empty in (self.root.parent / "servers", self.root.parent):
                try:
                    empty.rmdir()
                except OSError:
                    return
