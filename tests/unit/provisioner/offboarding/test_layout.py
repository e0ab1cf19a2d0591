"""The file that an export is: whatever happens to it afterwards is noticed."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.offboarding.layout import FILES_INDEX, MANIFEST, Database, ExportWriter, Files, Manifest, verify

NOW = datetime(2026, 12, 1, tzinfo=UTC)
ROWS = b'id\n"1"\n'


def written(path: Path, files: tuple[bytes, ...] = (b"a file", b"")) -> Path:
    """An export with one table's member and some files."""
    import hashlib

    writer = ExportWriter(path)
    with writer.member("tables/0001-note.csv") as member:
        member.write(ROWS)
    entries = []
    for number, content in enumerate(files, 1):
        with writer.member(f"files/{number:08}", listed=False, size=len(content)) as member:
            member.write(content)
        digest = hashlib.sha256(content).hexdigest()
        entries.append({"name": f"../{number}", "member": member.name, "size": len(content), "sha256": digest})
    with writer.member(FILES_INDEX) as member:
        for entry in entries:
            member.line(entry)
    writer.close(
        Manifest(
            installation="test",
            tenant_id="acme",
            generation=1,
            tier="pool",
            plan="starter",
            purpose="request",
            started_at=NOW,
            ended_at=NOW,
            database=Database(server_version="17", snapshot_at=NOW, tables=()),
            files=Files(count=len(files), size=sum(map(len, files))),
            registry={},
            left_out=(),
            members=writer.members,
        )
    )
    return path


def rebuilt(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The same file with other members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_what_was_written_verifies(tmp_path: Path) -> None:
    found = verify(written(tmp_path / "x.zip"))
    assert found.valid, found.problems
    assert found.files == 2


def test_no_member_is_named_by_the_tenant(tmp_path: Path) -> None:
    with zipfile.ZipFile(written(tmp_path / "x.zip")) as archive:
        assert not [name for name in archive.namelist() if ".." in name or name.startswith("/")]
        assert json.loads(archive.read(FILES_INDEX).splitlines()[0])["name"] == "../1"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda m: m.update({"tables/0001-note.csv": b'id\n"2"\n'}), "its SHA-256 is"),
        (lambda m: m.update({"tables/0001-note.csv": ROWS + b"x"}), "more than"),
        (lambda m: m.update({"tables/0001-note.csv": b""}), "0 bytes of 7"),
        (lambda m: m.pop("tables/0001-note.csv"), "it is missing"),
        (lambda m: m.pop("files/00000001"), "it is missing"),
        (lambda m: m.update({"files/00000001": b"b file"}), "its SHA-256 is"),
        (lambda m: m.update({"files/00000009": b"smuggled"}), "no manifest lists it"),
        (lambda m: m.update({FILES_INDEX: m[FILES_INDEX].splitlines()[0] + b"\n"}), "index.ndjson: it has"),
        (lambda m: m.pop(MANIFEST), "it has no manifest.json"),
        (lambda m: m.update({MANIFEST: b"{}"}), "installation: Field required"),
        (lambda m: m.update({MANIFEST: m[MANIFEST].replace(b"export/1", b"export/9")}), "format"),
    ],
)
def test_what_was_changed_is_noticed(tmp_path: Path, change: Callable[[dict[str, bytes]], None], problem: str) -> None:
    found = verify(rebuilt(written(tmp_path / "x.zip"), change))
    assert not found.valid
    assert any(problem in each for each in found.problems), found.problems


def test_a_member_that_unpacks_to_more_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = rebuilt(written(tmp_path / "x.zip"), lambda m: m.update({"files/00000001": b"\0" * 50_000_000}))
    found = verify(path)
    assert "it has more than 6 bytes of 6" in found.problems[0]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_damage_is_overlooked_or_raises(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = written(tmp_path_factory.mktemp("x") / "x.zip")
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[place:]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    before = verify(path)
    path.write_bytes(content)
    found = verify(path)
    # Times and other facts about members in ZIP's own headers are outside of what the manifest states.
    assert not found.valid or found.manifest == before.manifest


def test_what_is_no_export_is_told(tmp_path: Path) -> None:
    for content in (b"", b"PK", b"hello" * 100):
        (tmp_path / "x.zip").write_bytes(content)
        assert not verify(tmp_path / "x.zip").valid
    assert not verify(tmp_path / "nothing.zip").valid
    assert not verify(tmp_path).valid
