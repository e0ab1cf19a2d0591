"""Running other people's SQL as a schema's owner, on the master's session, so that the way back is shut.

``SET ROLE`` alone is a disguise: whatever runs under it may reset it and is the master again. Within a SECURITY DEFINER
function PostgreSQL refuses every change of the role, whichever way it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from psycopg import sql

from providers.postgres.connection import Connection

Run = Callable[[str], None]

_NAME = "tenantry_statement"
_CREATE = """
CREATE FUNCTION {}(statement text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
    AS 'BEGIN EXECUTE statement; END'
"""


@contextmanager
def runner(connection: Connection, schema: str) -> Iterator[Run]:
    """What runs one statement as the present role, which owns ``schema``; only within the present transaction.

    The function it takes is gone at the end of the block; other sessions never see it. The driver's errors tell the
    position in ``diag.internal_position``.
    """
    function = sql.Identifier(schema, _NAME)
    call = sql.SQL("SELECT {}(%s)").format(function)
    connection.execute(sql.SQL(_CREATE).format(function))

    def run(statement: str) -> None:
        connection.execute(call, (statement,))

    yield run
    connection.execute(sql.SQL("DROP FUNCTION {}(text)").format(function))
