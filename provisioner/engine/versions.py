"""The versions of the engine that this code is written for."""

from __future__ import annotations

import re

#: The pinned engine, built or downloaded when no other is found; SDK and engine are released together.
PINNED = (3, 259, 0)
#: The oldest engine taken from PATH: the one the SDK was released with; older ones were never tried with it.
MINIMUM = PINNED
#: The oldest Go that builds the pinned engine; the `go` line of tools/engine/go.mod.
GO_MINIMUM = (1, 25, 11)

Version = tuple[int, int, int]


def parse(text: str) -> Version | None:
    """The first ``1.2.3`` in ``text`` (``v3.259.0``, ``go version go1.26 linux/amd64``); None if there is none."""
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


def show(version: Version) -> str:
    return ".".join(str(part) for part in version)
