"""What the registry knows of a tenant, as it goes into the tenant's export.

Every table of the registry with a tenant's rows is named here, with what of it is the tenant's to have; a test compares
with the schema, so that a new table is decided about. Left out are what is no statement about the tenant (leases,
fences), and what could open a door: addresses of secrets and roles, and bodies of Stripe's events, which carry client
secrets of payments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from provisioner.offboarding.layout import ExportWriter

#: Table -> columns, in order. A table that this installation does not have is passed over.
EXPORTED: Mapping[str, tuple[str, ...]] = {
    "tenant": (
        *("tenant_id", "generation", "cell", "state", "stripe_customer_id", "subscription_id", "subscription_status"),
        *("plan", "tier", "access", "access_since", "access_reason", "features", "limits", "seats", "retain_until"),
        *("created_at", "updated_at", "ready_at"),
    ),
    "timeline": ("at", "kind", "summary", "event_id", "operation_id", "detail"),
    "operation": ("operation_id", "kind", "status", "reason", "changes", "seconds", "started_at", "finished_at"),
    "event": ("event_id", "type", "object_id", "created_at", "status", "received_at", "processed_at"),
    "deletion": ("deletion_id", "generation", "cause", "reason", "requested_at", "method", "step", "copy_until"),
    "signup": ("email", "name", "reference", "created_at"),
    "planned_change": ("plan", "interval", "seats", "requested_at"),
    "cancellation": ("plan", "at_period_end", "feedback", "comment", "requested_at", "resumed_at"),
    "cancellation_detail": ("plan", "reason", "feedback", "comment", "canceled_at", "ended_at"),
    "trial": ("subscription_id", "identity", "started_at", "ends_at", "refused"),
    "notification": ("kind", "occasion", "recipient", "status", "planned_at", "sent_at"),
    "notification_profile": ("recipient",),
    "dunning_episode": ("plan", "opened_at", "amount", "currency", "steps", "closed_at", "outcome"),
    "entitlement_override": ("kind", "name", "granted", "value", "reason", "created_at", "expires_at"),
    "storage_usage": ("database_bytes", "files_bytes", "files", "measured_at"),
    "usage_entry": ("meter", "key", "kind", "hour", "records", "total", "last_value", "last_at", "received_at"),
    "usage_hour": ("meter", "hour", "aggregation", "records", "total", "last_value", "quantity"),
    "usage_report": ("meter", "hour", "value", "at", "state", "settled_at"),
    "usage_period": ("starts_at", "ends_at", "interval"),
    "usage_alert": ("meter", "period_start", "threshold", "used", "included", "at"),
}
#: Of a table, which rows are left out though they are the tenant's.
_CONDITIONS: Mapping[str, sql.SQL] = {
    "timeline": sql.SQL("kind <> 'proof'"),  # proofs name the other tenants that they were made against
}
#: Table -> why none of it is exported.
NOT_EXPORTED: Mapping[str, str] = {
    "placement": "where it lives: names of secrets, roles and servers; what the tenant may know is in the manifest",
    "approval": "what operators were asked about stacks",
    "audit_finding": "what operators are told to look at",
    "price_migration_item": "an operator's plan of moving subscribers to another price",
    "checkout": "keys of requests to Stripe",
    "trial_offer": "guards against two trials at once",
    "trial_exception": "an operator's word about a trial, which the trial shows",
    "hibernation": "what its instance does at the moment",
    "rate_window": "calls of the present minute",
    "usage_quarantine": "usage that was not understood and is not counted",
    "usage_finding": "differences to Stripe's totals, for operators",
    "tenant_proof": "the last word on its isolation; evidence is handed over by `tenantry prove export`",
}


def export(connection: psycopg.Connection[Any], tenant_id: str, writer: ExportWriter) -> dict[str, int]:
    """Write one member a table, as JSON lines. Returns the rows of each by member name."""
    written = {}
    for table, wanted in EXPORTED.items():
        columns = [name for name in wanted if name in _columns(connection, table)]
        if not columns:
            continue
        query = sql.SQL("SELECT {} FROM {} WHERE tenant_id = %s AND {} ORDER BY 1").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.Identifier("registry", table),
            _CONDITIONS.get(table, sql.SQL("true")),
        )
        rows = 0
        member = f"registry/{table}.ndjson"
        with writer.member(member) as file, connection.cursor("facts", row_factory=dict_row) as cursor:
            cursor.execute(query, [tenant_id])
            for row in cursor:
                file.line(row)
                rows += 1
        written[member] = rows
    return written


def tables_with_tenants(connection: psycopg.Connection[Any]) -> set[str]:
    """Of the registry: those that have a column ``tenant_id``."""
    found = connection.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' "
        "WHERE c.relnamespace = 'registry'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
    )
    return {str(row[0]) for row in found.fetchall()}


def _columns(connection: psycopg.Connection[Any], table: str) -> set[str]:
    found = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
        [f"registry.{table}"],
    )
    return {str(row[0]) for row in found.fetchall()}
