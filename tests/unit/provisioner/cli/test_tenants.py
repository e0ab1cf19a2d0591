"""What `tenantry tenants` prints."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from provisioner.cli.tenants import _in_words


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("full", "full"),
        (3, "3"),
        (datetime(2026, 12, 1, 12, 30, tzinfo=UTC), "2026-12-01 12:30:00+00:00"),
        (["files", "projects"], "files, projects"),
        ({"seats": 5, "projects": 10}, "seats 5, projects 10"),
        (
            [{"name": "api", "amount": 20, "soft": False}, {"name": "mail", "amount": 1, "soft": True}],
            "name api, amount 20, soft False; name mail, amount 1, soft True",
        ),
        (
            {"prices": ["team_monthly", "calls"], "period_end": None, "limits": {"seats": 0}},
            "prices team_monthly, calls, limits seats 0",
        ),
    ],
)
def test_every_value_of_the_document_has_words(value: Any, said: str) -> None:
    assert _in_words(value) == said
