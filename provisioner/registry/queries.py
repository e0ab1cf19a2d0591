"""Named SQL: ``sql/<noun>.sql`` holds statements, each under a line ``-- name: <verb>``."""

from __future__ import annotations

import re
from pathlib import Path

from psycopg import sql

_DIRECTORY = Path(__file__).parent / "sql"
_NAME = re.compile(r"^-- name: (\w+)[ \t]*$", re.MULTILINE)


def load(noun: str, directory: Path = _DIRECTORY) -> dict[str, sql.SQL]:
    """The statements of ``<noun>.sql`` by name."""
    parts = _NAME.split((directory / f"{noun}.sql").read_text())
    # the files are part of the program: their text is as trusted as a literal
    return {name: sql.SQL(text.strip()) for name, text in zip(parts[1::2], parts[2::2], strict=True)}
