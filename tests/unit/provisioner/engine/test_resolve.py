"""Which engine is taken: PATH, the cache, then what can be installed; and that nobody ever sees half of one."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from provisioner.engine import paths, versions
from provisioner.engine.progress import Progress
from provisioner.engine.resolve import STAMP, EngineMissing, InstallFailed, Resolver, installed_version

ROOT = Path(__file__).parents[4]
PINNED = versions.show(versions.PINNED)


def script(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    path.chmod(0o755)
    return path


def pulumi(path: Path, version: str = PINNED) -> Path:
    return script(path / "pulumi", f"echo v{version}")


class Installing:
    """An installer that does ``act`` with the empty directory it is given."""

    def __init__(self, name: str, act: Callable[[Path], object]) -> None:
        self.name = name
        self.calls: list[Path] = []
        self._act = act

    def install(self, destination: Path, progress: Progress) -> None:
        self.calls.append(destination)
        assert list(destination.iterdir()) == []
        self._act(destination)


def good(name: str = "a download") -> Installing:
    return Installing(name, pulumi)


def broken(name: str, reason: str) -> Installing:
    def refuse(_: Path) -> None:
        raise InstallFailed(reason)

    return Installing(name, refuse)


class World:
    """A user's PATH and cache. Versions are told by running the files, as in life."""

    def __init__(self, directory: Path) -> None:
        self.bin = directory / "bin"
        self.bin.mkdir()
        self.environ = {"PATH": str(self.bin), "XDG_CACHE_HOME": str(directory / "cache")}
        self.cached = paths.engine_dir(self.environ)
        self.said = io.StringIO()

    def resolver(self, *installers: Installing) -> Resolver:
        return Resolver(self.environ, installers=installers, progress=Progress(self.said))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# PATH


@pytest.mark.parametrize("version", [PINNED, "3.999.0", "4.0.0"])
def test_an_engine_on_path_that_is_new_enough_is_taken(world: World, version: str) -> None:
    found = pulumi(world.bin, version)
    engine = world.resolver().resolve()
    assert (engine.pulumi, engine.version, engine.source) == (found, versions.parse(version), "PATH")


def test_an_older_engine_on_path_is_passed_over_for_an_installed_one(world: World) -> None:
    pulumi(world.bin, "3.100.0")
    resolver = world.resolver(good())
    engine = resolver.resolve()
    assert (engine.pulumi, engine.source) == (world.cached / "pulumi", "a download")
    assert resolver.tried[0] == f"pulumi on PATH: {world.bin}/pulumi is 3.100.0, older than the required {PINNED}"


@pytest.mark.parametrize("text", ["exit 1", "echo hello", "exec /no/such/loader"])
def test_a_broken_engine_on_path_is_passed_over(world: World, text: str) -> None:
    script(world.bin / "pulumi", text)
    resolver = world.resolver(good())
    assert resolver.resolve().source == "a download"
    assert resolver.tried[0] == f"pulumi on PATH: {world.bin}/pulumi could not be run"


def test_the_cache_on_path_counts_as_the_cache(world: World) -> None:
    world.resolver(good()).resolve()
    world.environ["PATH"] = f"{world.cached}{os.pathsep}{world.bin}"
    engine = world.resolver().find()
    assert engine is not None
    assert engine.source == "cache"


# The cache


def test_what_was_installed_once_is_found_without_being_run_again(world: World) -> None:
    world.resolver(good()).resolve()
    again = good("not needed")

    def version_of(path: Path) -> versions.Version | None:
        raise AssertionError(f"{path} was run")

    resolver = Resolver(world.environ, installers=[again], version_of=version_of)
    engine = resolver.resolve()
    assert (engine.source, engine.version) == ("cache", versions.PINNED)
    assert again.calls == []


def test_find_never_installs(world: World) -> None:
    installer = good()
    resolver = world.resolver(installer)
    assert resolver.find() is None
    assert installer.calls == []
    assert resolver.tried == ["pulumi on PATH: there is none", f"the cache: {world.cached}/pulumi does not exist"]
    assert not world.cached.parent.exists()


def test_a_damaged_cache_is_replaced(world: World) -> None:
    world.resolver(good()).resolve()
    script(world.cached / "pulumi", "exit 1")
    (world.cached / "left-over").touch()
    second = good("another download")
    engine = world.resolver(second).resolve()
    assert engine.source == "another download"
    assert len(second.calls) == 1
    assert installed_version(engine.pulumi) == versions.PINNED
    assert not (world.cached / "left-over").exists()
    assert [path.name for path in world.cached.parent.iterdir() if path.name.startswith(".")] == []


def test_a_truncated_file_of_the_same_time_is_damaged(world: World) -> None:
    world.resolver(good()).resolve()
    file = world.cached / "pulumi"
    stat = file.stat()
    file.write_bytes(file.read_bytes()[:15])
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert world.resolver().find() is None


def test_a_copied_cache_is_taken_by_its_checksum(world: World) -> None:
    world.resolver(good()).resolve()
    os.utime(world.cached / "pulumi", ns=(1, 1))
    found = world.resolver().find()
    assert found is not None
    assert found.source == "cache"


def test_an_engine_without_a_stamp_is_run_once_and_stamped(world: World) -> None:
    pulumi(world.cached)
    found = world.resolver().find()
    assert found is not None
    assert json.loads((world.cached / STAMP).read_text())["size"] == (world.cached / "pulumi").stat().st_size


@pytest.mark.parametrize("stamp", ["", "[]", '{"size": "x"}', "null"])
def test_a_damaged_stamp_is_no_proof(world: World, stamp: str) -> None:
    pulumi(world.cached, "3.1.0")
    (world.cached / STAMP).write_text(stamp)
    assert world.resolver().find() is None


# Installing


def test_installers_are_tried_in_order_until_one_works(world: World) -> None:
    first, second, third = broken("the download", "it answers 403"), good("the build"), good("unneeded")
    engine = world.resolver(first, second, third).resolve()
    assert engine.source == "the build"
    assert (len(first.calls), len(second.calls), len(third.calls)) == (1, 1, 0)
    assert f"pulumi {PINNED} is ready (the build)" in world.said.getvalue()


def test_an_installer_that_gives_another_version_or_nothing_is_not_believed(world: World) -> None:
    old = Installing("old", lambda directory: pulumi(directory, "3.100.0"))
    empty = Installing("empty", lambda _: None)
    unrunnable = Installing("unrunnable", lambda directory: script(directory / "pulumi", "exit 126"))
    with pytest.raises(EngineMissing) as missing:
        world.resolver(old, empty, unrunnable).resolve()
    assert f"old: it gave 3.100.0, not {PINNED}" in missing.value.message
    assert f"empty: it gave nothing that runs, not {PINNED}" in missing.value.message
    assert f"unrunnable: it gave nothing that runs, not {PINNED}" in missing.value.message
    assert not world.cached.exists()


def test_when_nothing_works_the_message_lists_all_that_was_tried_and_the_ways_out(world: World) -> None:
    script(world.bin / "pulumi", "exit 1")
    with pytest.raises(EngineMissing) as missing:
        world.resolver(broken("the download", "no route to host"), broken("the build", "there is no Go")).resolve()
    assert missing.value.message.splitlines()[1:] == [
        f"  - pulumi on PATH: {world.bin}/pulumi could not be run",
        f"  - the cache: {world.cached}/pulumi does not exist",
        "  - the download: no route to host",
        "  - the build: there is no Go",
    ]
    assert "Install pulumi" in missing.value.hint
    assert versions.show(versions.GO_MINIMUM) in missing.value.hint


def test_a_half_finished_build_is_never_seen(world: World) -> None:
    """While an installer works, and when it is interrupted, nobody finds an engine where it will be."""

    def half(directory: Path) -> None:
        pulumi(directory)
        assert world.resolver().find() is None
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.resolver(Installing("a build", half)).resolve()
    assert not world.cached.exists()
    assert [path.name for path in world.cached.parent.iterdir()] == [world.cached.name + ".lock"]
    assert world.resolver(good()).resolve().source == "a download"


def test_what_a_killed_build_left_behind_is_not_used(world: World) -> None:
    pulumi(world.cached.parent / ".install-abandoned" / "engine")
    assert world.resolver().find() is None
    assert world.resolver(good()).resolve().pulumi == world.cached / "pulumi"


def test_two_threads_at_once_install_once(world: World) -> None:
    begun, release = threading.Event(), threading.Event()

    def slow(directory: Path) -> None:
        begun.set()
        assert release.wait(20)
        pulumi(directory)

    first, second = Installing("first", slow), good("second")
    sources: list[str] = []
    other = world.resolver(second)
    threads = [
        threading.Thread(target=lambda: sources.append(world.resolver(first).resolve().source)),
        threading.Thread(target=lambda: sources.append(other.resolve().source)),
    ]
    threads[0].start()
    assert begun.wait(20)
    threads[1].start()
    while "another process is installing the engine" not in world.said.getvalue():
        assert threads[1].is_alive()
    release.set()
    for thread in threads:
        thread.join(20)
    assert sorted(sources) == ["cache", "first"]
    assert second.calls == []


PROCESS = """
import os, sys
from pathlib import Path
from provisioner.engine.progress import Progress
from provisioner.engine.resolve import Resolver

class Installer:
    name = "a build"
    def install(self, destination, progress):
        with open(os.environ["CALLS"], "a") as calls:
            calls.write("x")
        file = destination / "pulumi"
        file.write_text("#!/bin/sh\\necho v%s\\n" % os.environ["VERSION"])
        file.chmod(0o755)

sys.stdin.read()
print(Resolver(os.environ, installers=[Installer()]).resolve().source)
"""


def test_processes_at_once_install_once(world: World, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    environ = {**world.environ, "PYTHONPATH": str(ROOT), "CALLS": str(calls), "VERSION": PINNED}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(3)
    ]
    for child in children:  # all wait at the same line: they start together
        assert child.stdin is not None
        child.stdin.close()
        child.stdin = None
    sources = sorted(child.communicate(timeout=60)[0].strip() for child in children)
    assert sources == ["a build", "cache", "cache"]
    assert calls.read_text() == "x"


def test_the_version_of_a_file_that_is_no_program_is_none(tmp_path: Path) -> None:
    assert installed_version(tmp_path / "none") is None
    (tmp_path / "text").write_text("v3.259.0")
    assert installed_version(tmp_path / "text") is None


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("v3.259.0\n", (3, 259, 0)),
        ("go version go1.26 linux/amd64", (1, 26, 0)),
        ("go version go1.25.11 linux/arm64", (1, 25, 11)),
        ("v3.260.0-alpha.x1", (3, 260, 0)),
        ("no version", None),
    ],
)
def test_versions_are_read_from_what_programs_print(text: str, version: versions.Version | None) -> None:
    assert versions.parse(text) == version
