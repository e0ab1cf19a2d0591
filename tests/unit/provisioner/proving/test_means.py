"""Which pg_dump is as new as a server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioner.proving.means import pg_dump
from tenantry import DatabaseUnavailable


class Sdk:
    """Of a server of version 17, or of none."""

    def __init__(self, up: bool = True) -> None:
        self.up = up

    @contextlib.contextmanager
    def session(self, tenant_id: str) -> Iterator[Sdk]:
        assert tenant_id == "acme"
        if not self.up:
            raise DatabaseUnavailable("no answer")
        yield self

    def execute(self, statement: str) -> Sdk:
        return self

    def fetchone(self) -> tuple[int]:
        return (17,)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(*versions: str) -> list[Path]:
        made = []
        for number, version in enumerate(versions):
            path = tmp_path / str(number) / "pg_dump"
            path.parent.mkdir()
            path.write_text(f"#!/bin/sh\necho '{version}'\n")
            path.chmod(0o755)
            made.append(path)
        monkeypatch.setenv("PATH", ":".join(str(path.parent) for path in made))
        return made

    return make


def test_the_first_that_is_new_enough_is_taken(programs: Any) -> None:
    _, _, found = programs(
        "pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)",
        "nonsense",
        "pg_dump (PostgreSQL) 17.2",
    )
    assert pg_dump("acme", Sdk()) == found  # type: ignore[arg-type]


def test_without_one_or_without_the_server_there_is_none(programs: Any) -> None:
    programs("pg_dump (PostgreSQL) 16.9")
    assert pg_dump("acme", Sdk()) is None  # type: ignore[arg-type]
    assert pg_dump("acme", Sdk(up=False)) is None  # type: ignore[arg-type]
