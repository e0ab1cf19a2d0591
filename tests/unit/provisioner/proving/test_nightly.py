"""When the night was."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from provisioner.proving.nightly import last_time
from provisioner.settings import Settings


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (datetime(2026, 3, 1, 2, 29, 59, tzinfo=UTC), datetime(2026, 2, 28, 2, 30, tzinfo=UTC)),
        (datetime(2026, 3, 1, 2, 30, tzinfo=UTC), datetime(2026, 3, 1, 2, 30, tzinfo=UTC)),
        (datetime(2026, 3, 1, 23, 59, tzinfo=UTC), datetime(2026, 3, 1, 2, 30, tzinfo=UTC)),
    ],
)
def test_the_last_time_is_never_in_the_future(now: datetime, expected: datetime) -> None:
    assert last_time("02:30", now) == expected


@pytest.mark.parametrize("time", ["24:00", "2:30", "02:60", "", "nightly"])
def test_another_time_is_refused(time: str) -> None:
    with pytest.raises(ValidationError):
        Settings(database_url="x", proof_time=time)


def test_never_is_a_time() -> None:
    assert Settings(database_url="x", proof_time="never").proof_time == "never"
