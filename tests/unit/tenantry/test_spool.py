"""Segments on disk: what is written is read, by one process, once."""

from __future__ import annotations

import multiprocessing
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.errors import SpoolFull
from tenantry.spool import Segment, Spool, line, summarise


def spool(path: Path, **options: int) -> Spool:
    return Spool(path / "spool", max_bytes=options.pop("max_bytes", 1 << 20), **options)


def contents(spooled: Spool) -> list[bytes]:
    with spooled.taken() as segments:
        return [segment.read() for segment in segments]


def test_what_is_appended_is_on_disk_at_once_and_free_once_sealed(tmp_path: Path) -> None:
    spooled = spool(tmp_path)
    spooled.append(b"one\n")
    (path,) = spooled.directory.iterdir()
    assert path.read_bytes() == b"one\n"
    assert contents(spooled) == [], "its writer may write on"
    assert contents(spool(tmp_path)) == [], "no other process takes it either"
    spooled.seal()
    assert contents(spooled) == [b"one\n"]
    assert stat.S_IMODE(path.with_suffix(".sealed").stat().st_mode) == 0o600
    assert stat.S_IMODE(spooled.directory.stat().st_mode) == 0o700


def test_a_segment_sealed_while_it_is_synced_can_be_taken_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spooled, fsync, taken = spool(tmp_path), os.fsync, []

    def seal_meanwhile(file: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        spooled.seal()
        taken.extend(contents(spooled))
        fsync(file)

    monkeypatch.setattr(os, "fsync", seal_meanwhile)
    spooled.append(b"one\n")
    spooled.sync()
    assert taken == [b"one\n"]


def test_two_shippers_never_have_the_same_segment(tmp_path: Path) -> None:
    spooled = spool(tmp_path)
    spooled.append(b"one\n")
    spooled.seal()
    with spooled.taken() as mine, spool(tmp_path).taken() as theirs:
        assert (len(mine), len(theirs)) == (1, 0)
        mine[0].delivered()
    assert contents(spooled) == []


def _write_and_die(path: Path) -> None:
    spooled = spool(path)
    spooled.append(b"last words\n")
    os._exit(9)


def test_what_a_dead_process_left_is_taken_over(tmp_path: Path) -> None:
    child = multiprocessing.get_context("spawn").Process(target=_write_and_die, args=(tmp_path,))
    child.start()
    child.join(30)
    assert contents(spool(tmp_path)) == [b"last words\n"]


def test_a_forked_child_writes_elsewhere_and_leaves_the_parents_lock(tmp_path: Path) -> None:
    spooled = spool(tmp_path)
    spooled.append(b"parent\n")
    child = os.fork()
    if child == 0:
        try:
            spooled.append(b"child\n")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    spooled.append(b"parent again\n")
    assert contents(spool(tmp_path)) == [b"child\n"], "the parent's is written on"
    spooled.seal()
    assert sorted(contents(spooled)) == [b"child\n", b"parent\nparent again\n"]


def test_a_full_spool_refuses_and_has_room_again_after_a_delivery(tmp_path: Path) -> None:
    spooled = spool(tmp_path, max_bytes=100, segment_bytes=40)
    for _ in range(10):
        spooled.append(b"123456789\n")
    with pytest.raises(SpoolFull, match="100 bytes"):
        spooled.append(b"123456789\n")
    with spooled.taken() as segments:
        for segment in segments:
            segment.delivered()
    spooled.measure()
    spooled.append(b"123456789\n")


def test_a_new_process_counts_what_waits_already(tmp_path: Path) -> None:
    spool(tmp_path).append(b"x" * 99 + b"\n")
    with pytest.raises(SpoolFull):
        spool(tmp_path, max_bytes=100).append(b"x\n")


def test_a_directory_that_cant_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file")
    with pytest.raises(SpoolFull, match="can't be written"):
        spool(tmp_path).append(b"x\n")


def test_a_segment_that_is_gone_is_none(tmp_path: Path) -> None:
    assert Segment.take(tmp_path / "none.sealed") is None


records = st.tuples(
    st.sampled_from(["acme", "globex"]),
    st.sampled_from(["calls", "storage"]),
    st.integers(0, 10**12),
    st.floats(1.7e9, 1.7e9 + 3 * 3600).map(lambda at: round(at, 3)),
    st.sampled_from(["", "", "", "a", "b"]),
)


@given(st.lists(records, max_size=40), st.binary(max_size=30).filter(lambda tail: b"\n" not in tail))
def test_a_summary_says_what_the_lines_say(given_: list[tuple[str, str, int, float, str]], tail: bytes) -> None:
    content = b"".join(line(*each) for each in given_)
    found, damaged = summarise("segment", content + tail)
    assert damaged == []
    counted, seen = [], set()
    for tenant, meter, value, at, key in given_:
        if key and (tenant, meter, key) in seen:
            continue
        seen.add((tenant, meter, key))
        counted.append((tenant, meter, value, at))
    for pair in {(tenant, meter) for tenant, meter, _, _ in counted}:
        mine = [each for each in found if (each.tenant_id, each.meter) == pair]
        theirs = [(value, at) for tenant, meter, value, at in counted if (tenant, meter) == pair]
        assert sum(each.total for each in mine) == sum(value for value, _ in theirs)
        assert sum(each.records for each in mine) == len(theirs)
        assert max(each.at for each in mine) == max(at for _, at in theirs)
    assert len({(each.tenant_id, each.meter, each.key) for each in found}) == len(found)
    assert summarise("segment", content + tail)[0] == found, "the same keys every time"


def test_lines_that_cant_be_read_are_kept_apart() -> None:
    content = line("acme", "calls", 1, 1.0, "") + b"\x00\x00\x00\nacme\tcalls\tmany\t1\t\n" + b"torn\tof"
    found, damaged = summarise("segment", content)
    assert [each.total for each in found] == [1]
    assert len(damaged) == 2
