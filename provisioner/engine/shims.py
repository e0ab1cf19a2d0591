"""Writes the executables that the engine starts and our build of it lacks: language host, dynamic providers."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from provisioner.engine.resolve import Engine

#: The files of the language host.
HOST = Path(__file__).with_name("host")
_MARK = "# Tenantry: runs with the Python of the project that started the engine"
#: Executable to the file in ``host/`` that it runs.
_EXECUTABLES = {"pulumi-language-python": "server.py", "pulumi-resource-pulumi-python": "dynamic.py"}


def variables(python: str = sys.executable) -> dict[str, str]:
    """What makes the executables, which all checkouts of a user share, run this checkout's host and packages."""
    return {"TENANTRY_ENGINE_PYTHON": python, "TENANTRY_ENGINE_HOST": str(HOST)}


def is_ours(executable: Path) -> bool:
    """Whether one of the executables is what :func:`write` made, and no engine's own."""
    with executable.open("rb") as file:
        return _MARK.encode() in file.read(200)


def write(directory: Path, *, python: str = sys.executable) -> None:
    """Put the executables into ``directory``, over older ones of ours only. May be run by several processes at once."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, script in _EXECUTABLES.items():
        text = (
            f"#!/bin/sh\n{_MARK}\n"
            f"python=${{TENANTRY_ENGINE_PYTHON:-{shlex.quote(python)}}}\n"
            f"host=${{TENANTRY_ENGINE_HOST:-{shlex.quote(str(HOST))}}}\n"
            f'exec "$python" -u "$host/{script}" "$@"\n'
        )
        path = directory / name
        if path.exists() and (not is_ours(path) or path.read_bytes() == text.encode()):
            continue
        partial = directory / f".{name}.{os.getpid()}"
        partial.write_text(text)
        partial.chmod(0o755)
        os.replace(partial, path)


def provide(engine: Engine, fallback: Path) -> Path | None:
    """See to it that ``engine`` has its language host; the directory to put on PATH for that, or None.

    Beside an engine of ours it counts as bundled; beside another one we write nothing, but into ``fallback``.
    """
    if engine.source != "PATH":
        write(engine.pulumi.parent)
        return None
    if engine.bundles_language_host:
        return None
    write(fallback)
    return fallback
