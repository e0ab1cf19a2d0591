"""Placements for the broker, which works in threads: a small pool of its own, opened when it is first asked."""

from __future__ import annotations

from psycopg import Connection
from psycopg.rows import class_row
from psycopg_pool import ConnectionPool

from provisioner.broker import BrokerPlacement

_PLACEMENT = """
SELECT p.tenant_id, p.generation, p.epoch, p.access, p.region, p.login_secret_arn, p.token_secret_arn, p.role_arn,
       t.access_reason, t.access_since
  FROM registry.placement p JOIN registry.tenant t USING (tenant_id) WHERE tenant_id = %s
"""


class Placements:
    """A ``PlacementSource``; raises ``psycopg.Error`` while the registry can't be reached."""

    def __init__(self, database_url: str) -> None:
        self._pool: ConnectionPool[Connection[tuple[object, ...]]] = ConnectionPool(
            database_url,
            kwargs={"autocommit": True, "application_name": "tenantry-broker"},
            min_size=0,
            max_size=8,
            timeout=5,
            open=False,
        )

    def open(self) -> None:
        self._pool.open()

    def close(self) -> None:
        self._pool.close()

    def __call__(self, tenant_id: str, /) -> BrokerPlacement | None:
        with self._pool.connection() as connection, connection.cursor(row_factory=class_row(BrokerPlacement)) as cursor:
            return cursor.execute(_PLACEMENT, [tenant_id]).fetchone()
