"""The definitions of a schema's objects, as SQL that makes them again: types, sequences, functions, tables, the rest.

Read from the catalogue by the functions that PostgreSQL has for it, so that no program of the server's very version
is needed. The order is one in which they can be run; rows are loaded after the tables and before the constraints.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

from psycopg import sql

from providers.postgres.connection import Connection
from provisioner.registry.queries import load

ROWS_GO_HERE = "-- Load the rows of tables/*.csv here: COPY <table> (<columns>) FROM ... (FORMAT csv, HEADER true)."
_sql = functools.partial(dict.__getitem__, load("ddl", Path(__file__).parent))


def statements(connection: Connection, schema: str) -> Iterator[str]:
    """One a line or several; names are qualified, so that no search_path decides what they are."""
    row = connection.execute("SELECT quote_ident(%s)", (schema,)).fetchone()
    assert row is not None
    yield f"-- Schema {row[0]}, as it was exported."
    yield "SET check_function_bodies = off;"
    yield "SET search_path = pg_catalog;"
    yield f"CREATE SCHEMA IF NOT EXISTS {row[0]};"
    for name in ("types", "sequences", "functions", "tables", "partitions"):
        yield from _answers(connection, _sql(name), row[0])
    yield ROWS_GO_HERE
    for name in ("positions", "constraints", "indexes", "views", "triggers"):
        yield from _answers(connection, _sql(name), row[0])


def _answers(connection: Connection, query: sql.SQL, schema: object) -> Iterator[str]:
    for (text,) in connection.execute(query, {"schema": schema}).fetchall():
        yield str(text)
