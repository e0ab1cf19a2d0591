"""What a session of the pool's login reaches with and without a valid token."""

from __future__ import annotations

from tests.integration.providers.postgres.conftest import Pool


def test_a_tenant_reads_and_writes_its_own_rows(pool: Pool) -> None:
    pool.admit("acme")
    with pool.entered("acme") as session:
        session.execute("INSERT INTO project (name) VALUES ('alpha')")
        assert session.execute("SELECT tenant_id, name FROM project").fetchall() == [("acme", "alpha")]
