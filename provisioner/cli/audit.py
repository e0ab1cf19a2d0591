"""``tenantry audit``: whether Stripe, the registry and what stands agree, and what to do where they don't."""

from __future__ import annotations

import asyncio
import getpass
import logging
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provisioner.cli.output import JsonOption, out, print_columns, print_json, reports_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provisioner.audit.auditor import Audit
    from provisioner.audit.findings import Finding


def register(app: typer.Typer) -> None:
    app.command()(audit)


@reports_errors
def audit(
    fix: Annotated[bool, typer.Option("--fix", help="mend what needs no judgement; shows it, and asks first")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="with --fix: don't ask")] = False,
    json_output: JsonOption = False,
) -> None:
    """Compare every subscription, tenant and stack. Exit code 0: they agree; 3: there are findings; 5: a part could not
    be read. Nothing is changed without --fix, and nothing is ever destroyed by it."""
    from provisioner import logs

    logs.configure(level=logging.WARNING)
    found, begun = asyncio.run(_audit(fix=fix, ask=None if yes else _confirm, quiet=json_output))
    if json_output:
        print_json(
            {
                "tenants": len(found.picture.records),
                "complete": found.complete,
                "findings": [_document(each) for each in found.findings],
                "begun": [_document(each) for each in begun],
            }
        )
    elif begun:
        out.print(f"{len(begun)} begun. Look again in a minute: tenantry audit")
    if not found.complete:
        raise typer.Exit(5)
    if any(each not in begun for each in found.findings):
        raise typer.Exit(3)


async def _audit(*, fix: bool, ask: Any, quiet: bool) -> tuple[Audit, Sequence[Finding]]:
    from provisioner import settings
    from provisioner.audit.opening import open_auditor

    async with open_auditor(settings.load()) as auditor:
        found = await auditor.run()
        if not quiet:
            _show(found)
        fixable = [each for each in found.findings if each.fixable]
        if not fix or not fixable:
            return found, ()
        if not quiet:
            out.print(f"--fix would begin {len(fixable)} of {len(found.findings)}:")
            for each in fixable:
                out.print(f"  {each.remedy.value}: {each.tenant_id or each.subject} ({each.kind.value})", markup=False)
        if ask is not None and not ask():
            out.print("Nothing was changed.")
            return found, ()
        return found, await auditor.fix(fixable, by=getpass.getuser())


def _confirm() -> bool:
    return typer.confirm("Begin?")


def _show(found: Audit) -> None:
    count = len(found.picture.records)
    if not found.findings:
        out.print(f"Stripe, the registry and what stands agree on {count} tenants.")
        return
    print_columns(
        ["finding", "tenant", "what", "fix"],
        [[each.kind.value, each.tenant_id or "", f"{each.subject}: {each.what}", each.fix] for each in found.findings],
    )


def _document(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind.value,
        "subject": finding.subject,
        "tenant_id": finding.tenant_id,
        "what": finding.what,
        "fix": finding.fix,
        "remedy": finding.remedy.value,
    }
