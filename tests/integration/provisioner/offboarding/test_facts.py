"""What the registry knows: every table is decided about, and people's names and addresses leave what stays."""

from __future__ import annotations

import asyncio
import json
import zipfile
from pathlib import Path
from typing import Any

import psycopg

from provisioner.offboarding import facts
from provisioner.offboarding.layout import ExportWriter
from provisioner.registry import deletions
from provisioner.registry.migrate import migrate

PERSON = "Grace Hopper <grace@navy.example>"


def test_every_table_with_a_tenant_is_exported_or_left_out_for_a_reason(database: str) -> None:
    migrate(database, database)
    with psycopg.connect(database) as connection:
        there = facts.tables_with_tenants(connection)
    decided = set(facts.EXPORTED) | set(facts.NOT_EXPORTED)
    assert there - decided == set(), "decide in provisioner/offboarding/facts.py whether a tenant gets it"
    assert decided - there == set(), "no such table any more"


def test_an_export_has_one_tenants_rows_and_no_other_tenants_name(database: str, tmp_path: Path) -> None:
    migrate(database, database)
    with psycopg.connect(database) as connection:
        for tenant in ("acme", "globex"):
            connection.execute("INSERT INTO registry.tenant (tenant_id) VALUES (%s)", [tenant])
            connection.execute(
                "INSERT INTO registry.timeline (tenant_id, kind, summary) VALUES (%s, 'decision', %s)",
                [tenant, f"of {tenant}"],
            )
        connection.execute(
            "INSERT INTO registry.timeline (tenant_id, kind, summary) VALUES ('acme', 'proof', 'globex got through')"
        )
        writer = ExportWriter(tmp_path / "x.zip")
        counts = facts.export(connection, "acme", writer)
        writer.abandon()
    assert counts["registry/timeline.ndjson"] == 1
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        everything = b"".join(archive.read(name) for name in archive.namelist())
        (line,) = archive.read("registry/timeline.ndjson").splitlines()
    assert json.loads(line)["summary"] == "of acme"
    assert b"globex" not in everything


def test_people_leave_what_stays_and_nobody_elses_do(database: str) -> None:
    migrate(database, database)
    body = json.dumps({"data": {"object": {"customer": "cus_1", "name": PERSON}}}).encode()
    neighbour = json.dumps({"data": {"object": {"customer": "cus_10", "name": PERSON}}}).encode()
    with psycopg.connect(database, autocommit=True) as connection:

        def event(identity: str, status: str, content: bytes, tenant: str | None) -> None:
            connection.execute(
                "INSERT INTO registry.event (event_id, type, livemode, body, status, tenant_id, created_at) "
                "VALUES (%s, 'invoice.paid', false, %s, %s, %s, now())",
                [identity, content, status, tenant],
            )

        event("evt_processed", "processed", body, "acme")
        event("evt_ignored", "ignored", body, None)
        event("evt_waiting", "received", body, "acme")
        event("evt_quarantined", "quarantined", body, "acme")
        event("evt_neighbour", "processed", neighbour, "globex")
        for tenant in ("acme", "globex"):
            connection.execute(
                "INSERT INTO registry.timeline (tenant_id, kind, summary, detail) VALUES (%s, 'operator', %s, %s)",
                [tenant, f"{PERSON} called", json.dumps({"who": PERSON})],
            )
            connection.execute(
                "INSERT INTO registry.signup (tenant_id, reference, email, name, reserved_until) "
                "VALUES (%s, 'grace', 'grace@navy.example', %s, now())",
                [tenant, PERSON],
            )

        async def redact() -> list[dict[str, int]]:
            async with await psycopg.AsyncConnection.connect(database, autocommit=True) as other:
                return [await deletions.redact(other, "acme", "cus_1") for _ in range(2)]

        first, second = asyncio.run(redact())
        left: dict[str, Any] = dict(
            connection.execute("SELECT event_id, position('Grace' IN encode(body, 'escape')) > 0 FROM registry.event")
        )
        told: dict[str, Any] = dict(
            connection.execute("SELECT tenant_id, summary || detail::text FROM registry.timeline")
        )
        names: dict[str, Any] = dict(connection.execute("SELECT tenant_id, name FROM registry.signup"))
        kept = connection.execute("SELECT body FROM registry.event WHERE event_id = 'evt_processed'").fetchone()
    assert first == {"events": 2, "timeline": 1, "others": 1}
    assert second == {"events": 0, "timeline": 0, "others": 0}
    assert left == {
        "evt_processed": False,
        "evt_ignored": False,
        "evt_waiting": True,
        "evt_quarantined": True,
        "evt_neighbour": True,
    }
    assert "grace@" not in told["acme"]
    assert "grace@" in told["globex"]
    assert names == {"acme": None, "globex": PERSON}
    assert kept is not None
    assert set(json.loads(kept[0])) == {"id", "type", "created", "livemode", "data", "redacted"}
