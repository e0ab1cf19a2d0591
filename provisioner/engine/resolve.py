"""Finds the Pulumi command line, or installs it: PATH, our cache, the official download, a Go build; in this order."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from provisioner.engine import paths, versions
from provisioner.engine.locks import file_lock
from provisioner.engine.progress import Progress
from provisioner.errors import OperatorNeeded

#: Written into an engine's directory before it appears: size and checksum of ``pulumi``.
STAMP = "engine.json"


class EngineMissing(OperatorNeeded):
    """No engine was found and none could be installed; the message lists everything that was tried."""

    code = "engine_missing"


class InstallFailed(Exception):
    """One way of installing failed; ``str`` says why, in one line."""


class Installer(Protocol):
    #: What is tried, for messages: ``the official download``.
    name: str

    def install(self, destination: Path, progress: Progress) -> None:
        """Put ``pulumi``, and what comes with it, into the empty directory ``destination``; else ``InstallFailed``."""


@dataclass(frozen=True)
class Engine:
    """A command line that is fit for use."""

    pulumi: Path
    version: versions.Version
    source: str  #: ``PATH``, ``cache``, or the name of the installer

    @property
    def bundles_language_host(self) -> bool:
        return (self.pulumi.resolve().parent / "pulumi-language-python").exists()


def installed_version(pulumi: Path) -> versions.Version | None:
    """What ``pulumi version`` prints; None if the file can't be run."""
    try:
        done = subprocess.run(
            [pulumi, "version"],
            env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return versions.parse(done.stdout) if done.returncode == 0 else None


class Resolver:
    """``environ`` names the cache and the search path. Installers are tried in order."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        installers: Sequence[Installer] | None = None,
        version_of: Callable[[Path], versions.Version | None] = installed_version,
        progress: Progress | None = None,
    ) -> None:
        self._environ = environ
        self._installers = installers
        self._version_of = version_of
        self._progress = progress
        self._directory = paths.engine_dir(environ)
        self.tried: list[str] = []

    def find(self) -> Engine | None:
        """An engine that is there already; ``tried`` says why others were passed over."""
        self.tried = []
        return self._on_path() or self._cached()

    def resolve(self) -> Engine:
        """An engine, installed if need be; ``EngineMissing`` if there is no way. Takes minutes when it is built."""
        found = self.find()
        if found is not None:
            return found
        progress = self._progress or Progress()
        lock = self._directory.with_name(self._directory.name + ".lock")
        with file_lock(lock, on_wait=lambda: progress.say("another process is installing the engine: waiting for it")):
            found = self._cached()
            if found is not None:
                return found
            for installer in self._installers if self._installers is not None else default_installers(self._environ):
                engine = self._install(installer, progress)
                if engine is not None:
                    progress.say(f"pulumi {versions.show(engine.version)} is ready ({installer.name})")
                    return engine
        lines = "".join(f"\n  - {line}" for line in dict.fromkeys(self.tried))
        raise EngineMissing(
            f"there is no Pulumi engine, and none could be installed. Tried:{lines}",
            hint=f"Install pulumi {versions.show(versions.MINIMUM)} or newer on PATH "
            f"(https://www.pulumi.com/docs/install/), or Go {versions.show(versions.GO_MINIMUM)} or newer",
        )

    def _on_path(self) -> Engine | None:
        search = os.pathsep.join(
            part for part in self._environ.get("PATH", "").split(os.pathsep) if part and Path(part) != self._directory
        )
        found = shutil.which("pulumi", path=search)
        if found is None:
            self.tried.append("pulumi on PATH: there is none")
            return None
        version = self._version_of(Path(found))
        if version is None:
            self.tried.append(f"pulumi on PATH: {found} could not be run")
        elif version < versions.MINIMUM:
            self.tried.append(
                f"pulumi on PATH: {found} is {versions.show(version)}, "
                f"older than the required {versions.show(versions.MINIMUM)}"
            )
        else:
            return Engine(Path(found), version, "PATH")
        return None

    def _cached(self) -> Engine | None:
        pulumi = self._directory / "pulumi"
        if not pulumi.exists():
            self.tried.append(f"the cache: {pulumi} does not exist")
            return None
        if _stamp_matches(self._directory):
            return Engine(pulumi, versions.PINNED, "cache")
        if self._version_of(pulumi) == versions.PINNED:
            _write_stamp(self._directory)
            return Engine(pulumi, versions.PINNED, "cache")
        self.tried.append(f"the cache: {pulumi} is damaged or of another version")
        return None

    def _install(self, installer: Installer, progress: Progress) -> Engine | None:
        parent = self._directory.parent
        parent.mkdir(parents=True, exist_ok=True)
        # Beside the final directory, so that a rename suffices; nothing looks into it before that.
        with tempfile.TemporaryDirectory(prefix=".install-", dir=parent) as temporary:
            partial = Path(temporary) / "engine"
            partial.mkdir()
            try:
                installer.install(partial, progress)
            except InstallFailed as failure:
                self.tried.append(f"{installer.name}: {failure}")
                return None
            version = self._version_of(partial / "pulumi")
            if version != versions.PINNED:
                shown = "nothing that runs" if version is None else versions.show(version)
                self.tried.append(f"{installer.name}: it gave {shown}, not {versions.show(versions.PINNED)}")
                return None
            _write_stamp(partial)
            if self._directory.exists():  # damaged: `_cached` would have taken it otherwise
                os.replace(self._directory, Path(temporary) / "damaged")
            os.replace(partial, self._directory)
        return Engine(self._directory / "pulumi", version, installer.name)


def default_installers(environ: Mapping[str, str]) -> list[Installer]:
    from provisioner.engine.build import GoBuild
    from provisioner.engine.download import OfficialDownload

    return [OfficialDownload(), GoBuild(environ)]


def _write_stamp(directory: Path) -> None:
    pulumi = directory / "pulumi"
    with pulumi.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    stat = pulumi.stat()
    content = {"sha256": checksum, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    partial = directory / f"{STAMP}.{os.getpid()}"
    partial.write_text(json.dumps(content))
    os.replace(partial, directory / STAMP)


def _stamp_matches(directory: Path) -> bool:
    """Whether ``pulumi`` is the file that was checked; its content is read again only if size or time differ."""
    try:
        stamp = json.loads((directory / STAMP).read_text())
        stat = (directory / "pulumi").stat()
    except (OSError, ValueError):
        return False
    if not isinstance(stamp, dict) or stamp.get("size") != stat.st_size:
        return False
    if stamp.get("mtime_ns") == stat.st_mtime_ns:
        return True
    with (directory / "pulumi").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == stamp.get("sha256")
