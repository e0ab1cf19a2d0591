"""How a transaction becomes one tenant's, and what a refusal to let it means. No I/O."""

from __future__ import annotations

from enum import Enum

import psycopg

from tenantry.broker import DatabaseCredentials
from tenantry.errors import DatabaseUnavailable, EntryRefused, TenantReadOnly, TenantryError
from tenantry.placement import Placement

# One round trip: the materialised CTE runs before current_tenant() is called, so an unverifiable token is refused
# here, where entering can be tried again, and not at the caller's first statement.
_ENTER_POOL = (
    "WITH entered AS MATERIALIZED (SELECT set_config('search_path', %s, true),"
    " set_config('app.current_tenant', %s, true), set_config('app.tenant_token', %s, true))"
    " SELECT tenantry.current_tenant() FROM entered"
)
_ENTER_OWN = "SELECT set_config('search_path', %s, true), set_config('app.current_tenant', %s, true)"
# Of a tenant that may only read. The database refuses its writes whatever a session sets: this makes every tier say so
# with the same SQLSTATE, before a statement is looked at any closer.
_READ_ONLY = ", set_config('transaction_read_only', 'on', true)"
_ENTER_POOL_READ_ONLY = _ENTER_POOL.replace(") SELECT", _READ_ONLY + ") SELECT")
_ENTER_OWN_READ_ONLY = _ENTER_OWN + _READ_ONLY

#: undoes what another tenant's statements may have left on the connection: temporary tables, settings, cursors
RESET = "DISCARD ALL"


def entry_statement(placement: Placement, credentials: DatabaseCredentials) -> tuple[str, tuple[str, ...]]:
    """The statement that makes a transaction the tenant's, and its parameters: all of it ends with the transaction."""
    path = search_path(placement.db_schema)
    if placement.pooled:
        if credentials.token is None:
            raise EntryRefused(
                f"the broker issued no entry token for tenant {placement.tenant_id!r} of the pool",
                hint="its placement changed this moment; try again",
            )
        enter = _ENTER_POOL if placement.writes else _ENTER_POOL_READ_ONLY
        return enter, (path, placement.tenant_id, credentials.token)
    return _ENTER_OWN if placement.writes else _ENTER_OWN_READ_ONLY, (path, placement.tenant_id)


def search_path(schema: str) -> str:
    """``schema`` quoted, and temporary objects last: one left on a connection must not hide a table."""
    return '"' + schema.replace('"', '""') + '", pg_temp'


class Remedy(Enum):
    """What may make a failed entry work; each is tried once."""

    RESOLVE = "resolve"  #: placement or credentials are out of date
    RECONNECT = "reconnect"  #: the connection, or the server behind it, went away
    NONE = "none"


# 42501: the token or its epoch, 28*: the login was closed or its password rotated, 3D/3F: database or schema moved
_OUTDATED = ("42501", "28000", "28P01", "3D000", "3F000", "42883")
# 57P0*: terminated, crashed, starting up; 08*: connection failures, PgBouncer's among them
_GONE = ("57P01", "57P02", "57P03", "57P05", "25P03", "08")


def remedy(error: psycopg.Error) -> Remedy:
    state = error.sqlstate
    if state is None:
        # libpq's own errors have no SQLSTATE, nor has a server's refusal while connecting: the text is all there is
        if not isinstance(error, psycopg.OperationalError):
            return Remedy.NONE
        text = str(error)
        refused = (
            "authentication failed",
            "not permitted to log in",
            "does not exist",
            "no such user",
            "no such database",
        )
        return Remedy.RESOLVE if any(each in text for each in refused) else Remedy.RECONNECT
    if state.startswith(_OUTDATED):
        return Remedy.RESOLVE
    return Remedy.RECONNECT if state.startswith(_GONE) else Remedy.NONE


def failure(placement: Placement, error: psycopg.Error) -> TenantryError | psycopg.Error:
    """What to raise when no remedy helped."""
    where = f"{placement.db_host}:{placement.db_port}/{placement.db_name}"
    kind = remedy(error)
    if kind is Remedy.RESOLVE:
        return EntryRefused(
            f"database {where} refused tenant {placement.tenant_id!r}: {error.sqlstate or type(error).__name__}",
            hint="its access was withdrawn or it moves this moment",
        )
    if kind is Remedy.RECONNECT or (error.sqlstate or "").startswith("53"):
        return DatabaseUnavailable(
            f"database {where} of tenant {placement.tenant_id!r} can't be used: "
            f"{error.sqlstate or type(error).__name__}",
            hint="is it up, and reachable from here?",
        )
    return error


def outdated(error: BaseException) -> bool:
    """Whether an error inside a session means that what is known of the tenant may be out of date."""
    return isinstance(error, psycopg.Error) and remedy(error) is not Remedy.NONE


_READ_ONLY_TRANSACTION = "25006"
_DENIED = "42501"


def refused_write(placement: Placement, error: BaseException) -> bool:
    """Whether ``error``, inside a session of ``placement``, is what the refusal of a write looks like.

    One that began when the tenant could write and then loses its privileges is denied them like any other.
    """
    state = error.sqlstate if isinstance(error, psycopg.Error) else None
    return state == _READ_ONLY_TRANSACTION or (state == _DENIED and placement.writes)


#: Where it is not simply a payment that is owed.
_WRITES_AGAIN = {"payment_disputed": "it writes again when the dispute of its payment is won"}


def read_only(placement: Placement) -> TenantReadOnly:
    """What a refused write of such a tenant is raised as."""
    return TenantReadOnly(
        f"tenant {placement.tenant_id!r} may read and not write ({placement.because})",
        hint=_WRITES_AGAIN.get(placement.access_reason or "", "a payment lets it write again"),
    )


_RETRYABLE = ("40001", "40P01")


def worth_repeating(error: psycopg.Error, *, committing: bool = False) -> bool:
    """Whether the whole transaction may succeed if it is run again, and surely did not yet.

    ``committing``: its work was done and the commit under way. A connection lost then leaves open whether it was.
    """
    if (error.sqlstate or "").startswith(_RETRYABLE):
        return True
    kind = remedy(error)
    return kind is Remedy.RESOLVE or (kind is Remedy.RECONNECT and not committing)
