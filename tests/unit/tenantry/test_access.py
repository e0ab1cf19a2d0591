"""What the SDK makes of a tenant's access: who is let in, with which statement, and what a refused write is called."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest

from components.spec import Access
from tenantry.broker import DatabaseCredentials
from tenantry.entry import entry_statement, read_only, refused_write, worth_repeating
from tenantry.errors import TenantReadOnly, TenantSuspended
from tenantry.files import TenantFiles
from tenantry.placement import SERVING, WRITING, Placement
from tenantry.routing import admitted

PLACEMENT = Placement(
    *("acme", 1, "default", "us-east-1", "pool", 1, "full", "host", 5432, "db", "app", "pool", "bucket", "acme/"),
    *("arn:key", "arn:role", "starter"),
    access_reason="payment_failed",
    access_since=datetime(2026, 11, 20, tzinfo=UTC),
)
CREDENTIALS = DatabaseCredentials("pool", "password", "token", 1, 0.0)
READ_ONLY = replace(PLACEMENT, access="read_only")


def test_the_sdk_and_the_control_plane_mean_the_same_by_every_access() -> None:
    assert {access.value for access in Access if access.serves} == SERVING
    assert {access.value for access in Access if access.writes} == WRITING


@pytest.mark.parametrize("access", [*Access, "of a later release", ""])
def test_who_may_read_is_let_in_and_others_are_told_why(access: str) -> None:
    placement = replace(PLACEMENT, access=access)
    if access in SERVING:
        assert admitted("acme", placement) is placement
        return
    with pytest.raises(TenantSuspended) as refused:
        admitted("acme", placement)
    assert f"({access}, payment_failed since 2026-11-20)" in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize("tier", ["pool", "bridge"])
def test_a_transaction_of_a_tenant_that_may_only_read_is_read_only(tier: str) -> None:
    for access in Access:
        if access.serves:
            statement, _ = entry_statement(replace(PLACEMENT, tier=tier, access=access), CREDENTIALS)
            assert ("transaction_read_only" in statement) == (access is Access.READ_ONLY)


class Refused(psycopg.Error):
    def __init__(self, sqlstate: str) -> None:
        super().__init__()
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("placement", "sqlstate", "expected"),
    [
        (READ_ONLY, "25006", True),
        (READ_ONLY, "42501", False),  # of a read: that is no write that was refused
        (PLACEMENT, "25006", True),  # a pool's register was quicker than the notification
        (PLACEMENT, "42501", True),  # so was a login's loss of its privileges
        (READ_ONLY, "23505", False),
        (PLACEMENT, "40001", False),
    ],
)
def test_what_looks_like_a_refused_write(placement: Placement, sqlstate: str, expected: bool) -> None:
    assert refused_write(placement, Refused(sqlstate)) is expected
    assert not refused_write(placement, ValueError())


def test_a_refused_write_is_not_tried_again_and_says_why() -> None:
    assert not worth_repeating(Refused("25006"))
    error = read_only(READ_ONLY)
    assert isinstance(error, TenantReadOnly)
    assert error.message == "tenant 'acme' may read and not write (read_only, payment_failed since 2026-11-20)"


def test_files_are_neither_written_nor_deleted_and_s3_is_not_even_asked() -> None:
    files = TenantFiles(None, READ_ONLY)
    with pytest.raises(TenantReadOnly):
        files.put("name", b"")
    with pytest.raises(TenantReadOnly):
        files.delete("name")


def test_credentials_of_an_older_service_are_for_writing() -> None:
    body = {"username": "u", "password": "p", "token": None, "epoch": 1, "expires_at": "2026-12-01T00:00:00+00:00"}
    assert DatabaseCredentials.parse(body).writes
    assert not DatabaseCredentials.parse({**body, "access": "read_only"}).writes
