"""Each tenant writes rows and files of its own through the SDK; then each attacks the others."""

from __future__ import annotations

from collections import Counter
from typing import Any

import boto3
from rich.console import Console
from rich.table import Table

from isolation.attempts import Attempt
from isolation.proof import prove_all, prove_pair
from isolation.report import explain
from localcloud.demo.selling import outputs_of
from provisioner.settings import Settings
from tenantry import Tenantry

_NAMED = 4  #: attacks of a border that the table names


def write(console: Console, sdk: Tenantry, sold: list[str]) -> None:
    console.print("\n[bold]Each tenant writes through the SDK[/bold]")
    for tenant_id in sold:
        with sdk.session(tenant_id) as session:
            session.execute("INSERT INTO project (tenant_id, name) VALUES (%s, %s)", (tenant_id, f"{tenant_id}'s plan"))
            row = session.execute("SELECT count(*) FROM project").fetchone()
        sdk.files(tenant_id).put("plan.txt", f"the secret plan of {tenant_id}".encode(), content_type="text/plain")
        assert row is not None
        console.print(f"  {tenant_id} wrote a file and a row; it sees {row[0]} project(s)")


def prove(console: Console, settings: Settings, sdk: Tenantry, sold: list[str], neighbour: str) -> bool:
    """Whether every attack of every tenant on every other was refused, and its permitted twin was not."""
    console.print("\n[bold]Every tenant attacks every other[/bold]; the same probe on its own data must work")
    with console.status("attacking") as status:

        def seen(attempt: Attempt) -> None:
            status.update(f"{attempt.attacker} -> {attempt.victim}: {attempt.name}")

        session: Any = boto3.session.Session(region_name=settings.region)
        attempts = prove_all(outputs_of(settings, sold), sdk=sdk, aws=session, seen=seen)
        pool, beside = outputs_of(settings, [sold[0], neighbour])
        for attacker, victim in ((pool, beside), (beside, pool)):
            attempts += prove_pair(attacker, victim, sdk=sdk, aws=session, seen=seen)
    table = Table("border", "attacks", "denied", "own", "for example", box=None, pad_edge=False)
    for layer, found in _grouped(attempts).items():
        denied, allowed = sum(each.refused for each in found), sum(each.allow.passed for each in found)
        names = list(dict.fromkeys(each.name for each in found))
        table.add_row(
            layer, str(len(names)), _tally(denied, len(found)), _tally(allowed, len(found)), ", ".join(names[:_NAMED])
        )
    console.print(table)
    failed = [attempt for attempt in attempts if not attempt.passed]
    for attempt in failed:
        console.print(f"[red]NOT ISOLATED[/red] {explain(attempt)}", soft_wrap=True)
    passed = Counter(attempt.passed for attempt in attempts)[True]
    colour = "red" if failed else "green"
    console.print(f"[{colour}]{passed} of {len(attempts)} attacks refused, each with its permitted twin[/{colour}]")
    return bool(attempts) and not failed


def _grouped(attempts: list[Attempt]) -> dict[str, list[Attempt]]:
    found: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        found.setdefault(attempt.layer.value, []).append(attempt)
    return found


def _tally(passed: int, total: int) -> str:
    return f"[green]{passed} of {total}[/green]" if passed == total else f"[red]{passed} of {total}[/red]"
