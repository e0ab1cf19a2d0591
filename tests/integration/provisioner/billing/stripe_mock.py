"""Stripe's own ``stripe-mock``: installed as a Go tool into the user's cache, once for all processes, and started.

It keeps no state, but checks every request against Stripe's API description.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from provisioner.engine import paths
from provisioner.engine.build import GoBuild
from provisioner.engine.locks import file_lock
from provisioner.engine.progress import Progress
from provisioner.engine.resolve import InstallFailed

VERSION = "v0.203.0"
MODULE = f"github.com/stripe/stripe-mock@{VERSION}"
READY_S = 60


def installed() -> Path:
    """The program; ``RuntimeError`` with the reason when it can't be installed."""
    directory = paths.cache_dir(os.environ) / "stripe-mock" / VERSION
    program = directory / "stripe-mock"
    with file_lock(directory.with_name(f"{VERSION}.lock")):
        if not program.exists():
            _install(directory)
    return program


def description() -> Path:
    """The OpenAPI description that the mock checks requests against: a file of its Go module."""
    directory = paths.cache_dir(os.environ) / "stripe-mock" / f"{VERSION}-openapi"
    file = directory / "spec3.json"
    with file_lock(directory.with_name(f"{VERSION}-openapi.lock")):
        if not file.exists():
            with tempfile.TemporaryDirectory(prefix="stripe-mock-", dir=directory.parent) as temporary:
                found = json.loads(_go(["mod", "download", "-json", MODULE], Path(temporary)))
                copy = Path(temporary) / "description"
                copy.mkdir()
                shutil.copyfile(Path(found["Dir"]) / "embedded" / "openapi" / "spec3.json", copy / "spec3.json")
                shutil.rmtree(directory, ignore_errors=True)
                copy.rename(directory)
    return file


def _install(directory: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="stripe-mock-", dir=directory.parent) as temporary:
        target = Path(temporary) / "bin"
        _go(["install", MODULE], Path(temporary), GOBIN=str(target))
        shutil.rmtree(directory, ignore_errors=True)
        target.rename(directory)


def _go(arguments: list[str], temporary: Path, **variables: str) -> str:
    """What ``go`` prints; ``RuntimeError`` with the reason when it fails."""
    environ = dict(os.environ)
    uv = sorted((paths.cache_dir(environ) / "uv").glob("*/uv"))
    if uv:
        environ["PATH"] = f"{environ.get('PATH', os.defpath)}{os.pathsep}{uv[-1].parent}"
    # A toolchain from PyPI deletes the module cache that it filled: not the one of an engine being built now.
    environ["XDG_CACHE_HOME"] = str(temporary)
    try:
        with GoBuild(environ)._go(Progress()) as (go, go_environ):
            done = subprocess.run(
                [go, *arguments],
                env={**_own_cache(go_environ), **variables},
                cwd=temporary,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=900,
                check=False,
            )
    except InstallFailed as error:
        raise RuntimeError(f"stripe-mock needs a Go toolchain, and there is none to be had: {error}") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError(f"`go {' '.join(arguments)}` ended with code {done.returncode}: {lines[-1]}")
    return done.stdout


def _own_cache(environ: dict[str, str]) -> dict[str, str]:
    """With the user's own build cache, where the user's Go keeps it."""
    own = {name: value for name, value in environ.items() if name != "XDG_CACHE_HOME"}
    return own | {name: value for name, value in os.environ.items() if name == "XDG_CACHE_HOME"}


@contextmanager
def running() -> Iterator[str]:
    """The URL of a stripe-mock on a free port of the loopback interface."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            # Without a port it takes a free one, and says which; without the second it opens 12112 to the world.
            [installed(), "-http-addr", "127.0.0.1:", "-https-addr", "127.0.0.1:"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield f"http://{_address(process, log)}"
        finally:
            process.terminate()
            process.wait(20)


def _address(process: subprocess.Popen[bytes], log: TextIO) -> str:
    deadline = time.monotonic() + READY_S
    while True:
        ended = process.poll()
        log.seek(0)
        output = log.read()
        if match := re.search(r"Listening for HTTP at address: (127\.0\.0\.1:[0-9]+)", output):
            return match.group(1)
        if ended is not None or time.monotonic() > deadline:
            raise RuntimeError(f"stripe-mock did not start (exit code {ended}): {output[-500:]}")
        time.sleep(0.02)
