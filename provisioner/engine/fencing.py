"""Installs the trigger that refuses writes of Pulumi's state by an engine whose lease was taken over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from provisioner.engine.state import DEFAULT_TABLE

#: SQLSTATE of a refused write.
SQLSTATE = "TFENC"

# The backend's own definition, so that the trigger is in place before the first engine ever writes.
_TABLE = """
CREATE TABLE IF NOT EXISTS {table} (
    key text PRIMARY KEY,
    data json NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS {index} ON {table} (key text_pattern_ops);
"""


def install(connection: psycopg.Connection[Any], *, table: str = DEFAULT_TABLE) -> None:
    """Create the state table if it is missing, and the trigger; may be run again. Needs ``registry.lease``.

    Runs in the caller's transaction. The connection is one to the database of ``PULUMI_BACKEND_URL``.
    """
    template = _TABLE + Path(__file__).with_name("fencing.sql").read_text()
    statement = sql.SQL(template).format(
        table=sql.Identifier(table),
        index=sql.Identifier(f"{table}_key_prefix_idx"),
        function=sql.Identifier(f"{table}_fence"),
        trigger=sql.Identifier(f"{table}_fence"),
    )
    connection.execute(statement)
