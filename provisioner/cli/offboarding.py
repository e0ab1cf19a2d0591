"""``tenantry export|erase|certificate|archive``: a tenant's data handed over, and its end."""

from __future__ import annotations

import asyncio
import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provisioner.cli.groups import RUN, RunByDefault
from provisioner.cli.output import JsonOption, err, out, print_columns, print_json, reports_errors, styled

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from provisioner.offboarding.exporter import Export
    from provisioner.registry.deletions import DeletionRecord
    from provisioner.settings import Settings

NOT_VALID = 1  #: exit code of a file that can't be relied on

export = typer.Typer(
    cls=RunByDefault,
    no_args_is_help=True,
    help="A tenant's data as one file, in an open layout. `tenantry export acme` exports one tenant.",
)
certificate = typer.Typer(no_args_is_help=True, help="Deletion certificates: what is gone, and what is not yet.")
archive = typer.Typer(no_args_is_help=True, help="Copies that are kept of deleted tenants: final exports, archives.")

TenantArgument = Annotated[str, typer.Argument(metavar="TENANT", help="the tenant's id")]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE")]
ToOption = Annotated[
    str | None, typer.Option("--to", help="directory, or s3://BUCKET/PREFIX; default: TENANTRY_HOME/exports")
]


def register(app: typer.Typer) -> None:
    app.add_typer(export, name="export")
    app.add_typer(certificate, name="certificate")
    app.add_typer(archive, name="archive")
    app.command()(erase)


@export.command(RUN)
@reports_errors
def run(tenant_id: TenantArgument, to: ToOption = None, json_output: JsonOption = False) -> None:
    """Write a tenant's tables, files and what the registry knows of it to one ZIP file.

    Tables are of one moment. A suspended or hibernated tenant is opened for its export, to nobody else, and closed
    again; a stopped instance is started for it. Exit code 3: an operator must act; 4: nothing to export; 5: try again.
    """
    from provisioner import logs, settings

    logs.configure(level=30)
    configured = settings.load()
    with err.status(f"exporting {tenant_id}"):
        written, where = asyncio.run(_export(configured, tenant_id, to))
    manifest = written.manifest
    if json_output:
        print_json({"file": where, **written.summary(), "left_out": [each.model_dump() for each in manifest.left_out]})
        return
    print(
        f"{where}\n  {manifest.rows} rows of {len(manifest.database.tables)} tables, {manifest.files.count} files,",
        end="",
    )
    print(f" {written.size} bytes\n  SHA-256 {written.digest}")
    for each in manifest.left_out:
        print(f"  left out: {styled(each.what)}: {styled(each.why)}")
    print(f"Check it: tenantry export verify {where}" if "://" not in where else "")


async def _export(settings: Settings, tenant_id: str, to: str | None) -> tuple[Export, str]:
    import psycopg

    from provisioner import app
    from provisioner.offboarding import configured, on_request
    from provisioner.offboarding.store import Directory, open_store

    clients = configured.exporter(settings)
    name = f"{tenant_id}-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.zip"
    store = open_store(
        to or str(settings.home / "exports" / "requests"),
        home=settings.home,
        environment=settings.environment,
        region=settings.region,
        clients=clients.clients,
    )
    path = (store.root if isinstance(store, Directory) else configured.spool(settings)) / name
    async with await psycopg.AsyncConnection.connect(
        settings.database_url.get_secret_value(), autocommit=True, connect_timeout=5, application_name="tenantry-cli"
    ) as connection:
        found = await on_request.standing(connection, tenant_id)
        if found.closed:
            async with (
                app.open_core(settings) as core,
                on_request.opened(core.operator, settings.app_schema, found, connection, by=_who()),
            ):
                written = await on_request.write(clients, found, path)
        else:
            written = await on_request.write(clients, found, path)
        await on_request.note(connection, written, tenant_id, _who())
    if isinstance(store, Directory):
        return written, str(path)
    try:
        with path.open("rb") as content:
            await asyncio.to_thread(store.put, name, content)
    finally:
        path.unlink()
    return written, store.where(name)


@export.command()
@reports_errors
def verify(file: FileArgument, json_output: JsonOption = False) -> None:
    """Whether an export is whole: every member there, as long as it must be, with its SHA-256. Exit code 1 if not."""
    from provisioner.offboarding import layout

    found = layout.verify(file)
    if json_output:
        told = None if found.manifest is None else found.manifest.model_dump(mode="json", exclude={"members"})
        print_json({"valid": found.valid, "problems": found.problems, "files": found.files, "manifest": told})
    elif found.manifest is None or not found.valid:
        print(f"{styled('NOT VALID', 'red')}: {file}")
        for problem in found.problems[:20]:
            print(f"  {styled(problem)}")
    else:
        manifest = found.manifest
        print(f"{styled('valid', 'green')}: tenant {manifest.tenant_id}, life {manifest.generation}, as of", end=" ")
        print(f"{manifest.database.snapshot_at:%Y-%m-%d %H:%M:%S} UTC: {manifest.rows} rows, {found.files} files")
    if not found.valid:
        raise typer.Exit(NOT_VALID)


@reports_errors
def erase(
    tenant_id: TenantArgument,
    by: Annotated[str, typer.Option(help="who asked for it; it is recorded and signed")],
    reason: Annotated[str, typer.Option(help="why; it is recorded and signed: name no person in it")],
    stripe_customer: Annotated[
        bool, typer.Option("--stripe-customer", help="delete the customer in Stripe too; invoices stay there")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="don't ask")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="show progress until it is done")] = True,
    json_output: JsonOption = False,
) -> None:
    """Forget a tenant that nobody pays for: everything of it is deleted and no copy kept, archives included.

    Export it first if its data is to be handed over. Exit code 4: it is paid for still.
    """
    from provisioner import app, settings
    from provisioner.cli.registry_access import ask
    from provisioner.offboarding import configured, requests

    if not yes and typer.prompt(f"Type the tenant's id to erase {tenant_id} and every copy of it") != tenant_id:
        out.print("Nothing was changed.")
        raise typer.Exit(4)
    loaded = settings.load()

    async def authorise(connection: AsyncConnection) -> requests.Erased:
        gateway = app.gateway(loaded)
        try:
            now = await gateway.now()
        finally:
            await gateway.close()

        async def forget(customer_id: str) -> None:
            await configured.forget_customer(loaded, customer_id)

        return await requests.erase(
            connection,
            tenant_id,
            by=by,
            reason=reason,
            forget_customer=stripe_customer,
            billing_now=now,
            forget=forget,
        )

    done = ask(authorise, loaded)
    record = None
    if done.queued and wait:
        from provisioner.cli.progress import follow

        record = follow(tenant_id, quiet=json_output)
        while record.failure is None and record.next_attempt_at is not None:  # its export is made, the rest follows
            record = follow(tenant_id, quiet=json_output)
    if json_output:
        print_json({**vars(done), "state": None if record is None else record.shown_state})
    elif record is not None:
        print(f"{tenant_id} is {record.shown_state}. Its certificate: tenantry certificate show {tenant_id}")
    elif done.queued:
        print(f"Queued. Watch it: tenantry explain {tenant_id}")
    else:
        print(f"Nothing of {tenant_id} stood; {done.events} events and {done.timeline} timeline entries were redacted")
    if record is not None and record.failure is not None:
        raise typer.Exit(3 if record.failure.get("class") == "operator" else 5)


@certificate.command()
@reports_errors
def show(
    tenant_id: TenantArgument,
    generation: Annotated[int | None, typer.Option(help="which life of the id; default: the last one deleted")] = None,
    out_: Annotated[Path | None, typer.Option("--out", help="write the signed file there")] = None,
    json_output: JsonOption = False,
) -> None:
    """The certificate of a tenant's deletion."""
    from provisioner.cli.registry_access import ask
    from provisioner.errors import ConfigurationInvalid, NotFound
    from provisioner.offboarding.certificate import SignedCertificate
    from provisioner.registry import deletions

    async def load(connection: AsyncConnection) -> bytes | None:
        return await deletions.certificate(connection, tenant_id, generation)

    content = ask(load)
    if content is None:
        raise NotFound(
            f"there is no certificate of tenant {tenant_id}", hint=f"`tenantry explain {tenant_id}` tells how far it is"
        )
    if out_ is not None:
        try:
            out_.write_bytes(content)
        except OSError as error:
            raise ConfigurationInvalid(f"{out_} can't be written: {error.strerror}") from None
    found = SignedCertificate.model_validate_json(content)
    if json_output:
        print_json(found.model_dump(mode="json"))
        return
    deleted, authorised = found.deleted, found.authorisation
    whose = f"{found.tenant.tenant_id}, life {found.tenant.generation} ({found.tenant.tier})"
    print(f"{whose}: deleted {found.completed_at:%Y-%m-%d %H:%M:%S} UTC")
    print(f"  authorised by {styled(authorised.by)} ({authorised.cause}): {styled(authorised.reason)}")
    print(f"  {deleted.rows} rows of {len(deleted.tables)} tables, {deleted.versions} versions of", end=" ")
    print(f"{deleted.objects} files, {len(deleted.resources)} resources; {deleted.events_redacted} events redacted")
    for each in found.remaining:
        until = "no time is known" if each.until is None else f"until {each.until:%Y-%m-%d}"
        print(f"  remains, {until}: {styled(each.what)} ({styled(each.where)}): {styled(each.why)}")
    print(f"  signed by {found.signature.key_id}" + ("" if out_ is None else f"; written to {out_}"))


@certificate.command("verify")
@reports_errors
def verify_certificate(
    file: FileArgument,
    key: Annotated[
        list[Path] | None, typer.Option("--key", help="public key to trust (PEM), instead of the installation's")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Whether a certificate is as it was signed, and by a known key. Exit code 1 if not."""
    from provisioner.cli.prove import given_keys, read_document, registered_keys
    from provisioner.offboarding.certificate import verify as verified

    found = verified(read_document(file), given_keys(key) if key else registered_keys())
    if json_output:
        identity = None if found.certificate is None else found.certificate.certificate_id
        print_json({"valid": found.valid, "problems": found.problems, "certificate_id": identity})
    elif found.certificate is None or not found.valid:
        print(f"{styled('NOT VALID', 'red')}: {file}: this certificate can't be relied on")
        for problem in found.problems:
            print(f"  {styled(problem)}")
    else:
        print(f"{styled('valid', 'green')}: signed by {found.certificate.signature.key_id}")
    if not found.valid:
        raise typer.Exit(NOT_VALID)


@archive.command("list")
@reports_errors
def list_(
    tenant: Annotated[str | None, typer.Argument(metavar="[TENANT]", help="only of this tenant")] = None,
    json_output: JsonOption = False,
) -> None:
    """Copies that are kept, the one that goes first first."""
    from provisioner.cli.registry_access import ask
    from provisioner.registry import deletions

    async def load(connection: AsyncConnection) -> list[DeletionRecord]:
        return await deletions.copies(connection, tenant)

    found = ask(load)
    if json_output:
        print_json([_copy(each) for each in found])
        return
    if not found:
        out.print("No copy of a deleted tenant is kept.")
        return
    rows = [
        (
            each.tenant_id if each.generation == 1 else f"{each.tenant_id} ({each.generation})",
            "archive" if each.archives else "final export",
            f"{each.copy_until:%Y-%m-%d %H:%M}",
            str((each.export or {}).get("rows", "")),
            str((each.export or {}).get("files", "")),
            each.deletion_id,
        )
        for each in found
    ]
    print_columns(("tenant", "what", "kept until", "rows", "files", "deletion"), rows)


@archive.command()
@reports_errors
def fetch(
    tenant_id: TenantArgument,
    to: Annotated[Path, typer.Option("--to", help="directory")] = Path(),
    deletion: Annotated[
        str | None, typer.Option(help="which one, as `archive list` shows it; default: the last")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Decrypt a copy and write the export that it is; its digest is checked."""
    from provisioner import settings
    from provisioner.cli.registry_access import ask
    from provisioner.errors import NotFound
    from provisioner.offboarding import configured
    from provisioner.registry import deletions, timeline
    from provisioner.registry.timeline import EntryKind

    loaded = settings.load()

    async def load(connection: AsyncConnection) -> list[DeletionRecord]:
        return await deletions.copies(connection, tenant_id)

    found = [each for each in ask(load, loaded) if deletion in (None, each.deletion_id)]
    if not found:
        raise NotFound(f"no copy of tenant {tenant_id} is kept", hint="`tenantry archive list` shows all")
    chosen = max(found, key=lambda each: each.created_at)
    clients = configured.exporter(loaded).clients
    path = _fetched(configured.copies(loaded, clients), chosen, to)

    async def note(connection: AsyncConnection) -> None:
        await timeline.add(
            connection,
            tenant_id,
            EntryKind.OPERATOR,
            f"{_who()} fetched the copy of life {chosen.generation}",
            detail={"deletion_id": chosen.deletion_id},
        )

    ask(note, loaded)
    if json_output:
        print_json({"file": path, **_copy(chosen)})
    else:
        print(f"{path}\nCheck it: tenantry export verify {path}")


def _fetched(copies: Any, chosen: DeletionRecord, directory: Path) -> Path:
    import os

    from provisioner.errors import ConfigurationInvalid
    from provisioner.offboarding.errors import ExportRefused
    from provisioner.offboarding.layout import sha256_of

    path = directory / f"{chosen.tenant_id}.{chosen.generation}-{chosen.deletion_id[:8]}.zip"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        try:
            with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                copies.fetch(chosen, file)
            if chosen.export is None or sha256_of(partial) != chosen.export["digest"]:
                raise ExportRefused("the copy is not the export that was made", hint="it was replaced in the store")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationInvalid(
            f"{path} can't be written: {error.strerror}", hint="name another directory"
        ) from None
    return path


def _copy(each: DeletionRecord) -> dict[str, Any]:
    return {
        "tenant_id": each.tenant_id,
        "generation": each.generation,
        "deletion_id": each.deletion_id,
        "kind": "archive" if each.archives else "export",
        "until": each.copy_until,
        "name": each.copy_name,
        "export": each.export,
    }


def _who() -> str:
    return getpass.getuser()
