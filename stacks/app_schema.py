"""The application's SQL migrations on disk, as a stack's inputs: names and digests."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from components.app_schema import AppMigrations

_FILE = re.compile(r"(?P<version>[0-9]{4})_(?P<name>[a-z0-9][a-z0-9_-]*)\.sql")


class MigrationsInvalid(ValueError):
    """The directory does not hold versions 1, 2, 3, ... as ``NNNN_name.sql``; names the file."""


def load_migrations(directory: Path) -> list[dict[str, int | str]]:
    """``{version, name, sha256}`` of every migration in ``directory``, in order.

    :raises MigrationsInvalid: an illegal file name, a gap, a duplicate, or no such directory.
    """
    try:
        files = sorted(path for path in directory.iterdir() if path.suffix == ".sql")
    except OSError as error:
        raise MigrationsInvalid(f"cannot read the migrations in {directory}: {error.strerror}") from None
    found: list[dict[str, int | str]] = []
    for path in files:
        match = _FILE.fullmatch(path.name)
        if match is None:
            raise MigrationsInvalid(f"{path}: name it NNNN_name.sql (four digits, lower-case letters, digits, _ and -)")
        expected = len(found) + 1
        if int(match["version"]) != expected:
            kind = "is used twice" if int(match["version"]) == len(found) else "leaves a gap"
            raise MigrationsInvalid(f"{path}: version {match['version']} {kind}; the next one is {expected:04d}")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        found.append({"version": expected, "name": match["name"], "sha256": digest})
    return found


def app_migrations(directory: Path, version: int | None = None) -> AppMigrations:
    """The migrations up to ``version`` (all of them by default), as components take them.

    :raises MigrationsInvalid: see :func:`load_migrations`; or ``version`` has no file.
    """
    found = load_migrations(directory)
    if version is not None and version > len(found):
        raise MigrationsInvalid(f"{directory} ends at version {len(found):04d}, version {version:04d} is asked for")
    return AppMigrations(str(directory.resolve()), tuple(found[:version]))
