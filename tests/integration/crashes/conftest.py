"""One local cloud a test module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.crashes.world import World


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World.begin()
    try:
        yield world
    finally:
        world.end()
