"""An initialised, empty data directory, made once per version and copied for every new server.

``initdb`` takes a second, a copy some ten milliseconds. The template holds no password and lets nobody in: who may
connect is written into each copy.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from localcloud.locks import file_lock
from localcloud.postgres import binaries

#: Raised whenever the arguments of initdb change.
REVISION = 2
#: The bootstrap superuser, by RDS's name: a master user called ``postgres`` must stay possible.
SUPERUSER = "rdsadmin"


def template() -> Path:
    """Path of the template, made on first use. Two processes at once make it once; a half-made one is never used."""
    cache = binaries.cache_directory()
    runner = binaries.account()
    # A template is only readable to the user it was made for.
    finished = cache / f"template-{binaries.version()}-{REVISION}-{runner.uid}"
    if finished.exists():
        return finished
    cache.mkdir(parents=True, exist_ok=True, mode=0o755)
    if not runner.traverses(cache):
        raise binaries.PostgresUnavailable(
            f"the user {runner.name}, which runs PostgreSQL, can't enter {cache}",
            hint=f"Allow it: chmod o+x {cache} and its parents",
        )
    with file_lock(cache / "template.lock"):
        if not finished.exists():
            _make(finished)
    return finished


def _make(finished: Path) -> None:
    runner = binaries.account()
    temporary = Path(tempfile.mkdtemp(prefix=".template-", dir=finished.parent))
    try:
        if runner.switch:
            os.chmod(temporary, 0o711)  # noqa: S103 - the servers' user passes through
        data = temporary / "data"
        data.mkdir(mode=0o700)
        if runner.switch:
            os.chown(data, runner.uid, runner.gid)
        # The builtin provider collates alike on every machine, whatever locales are installed.
        command: list[str | Path] = [binaries.bin_directory() / "initdb", "--pgdata", data, "--auth", "reject"]
        # Of an empty data directory half would be its first WAL segment (16 MB), and every server begins as a copy.
        command += ["--username", SUPERUSER, "--data-checksums", "--wal-segsize", "1"]
        command += ["--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin"]
        command += ["--builtin-locale", "C.UTF-8", "--no-instructions", "--no-sync"]
        done = runner.run(command)
        if done.returncode != 0:
            raise binaries.PostgresUnavailable(
                f"initdb failed with exit code {done.returncode}: {done.stderr.strip()[-2000:]}",
                hint="`tenantry doctor` checks the prerequisites",
            )
        if runner.switch:
            _make_read_only(data, runner.gid)
        os.rename(data, finished)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _make_read_only(data: Path, gid: int) -> None:
    """Root's from now on, readable to the servers' group: no server can change what later servers start from."""
    for directory, _, files in os.walk(data):
        os.chown(directory, 0, gid)
        os.chmod(directory, 0o750)  # noqa: S103 - PostgreSQL's own mode for group access
        for name in files:
            path = os.path.join(directory, name)
            os.chown(path, 0, gid)
            os.chmod(path, 0o640)
