"""The application's migrations, as an argument of components: read from disk by stacks, never by a component."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class AppMigrations:
    """``directory`` with the SQL files, and those of them that apply: ``{version, name, sha256}`` each, in order."""

    directory: str
    migrations: tuple[Mapping[str, Any], ...]

    @property
    def version(self) -> int:
        return max((int(each["version"]) for each in self.migrations), default=0)
