"""``tenantry prove``: attacks what stands, and hands over signed evidence; ``prove verify`` checks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provisioner.cli.groups import RUN, RunByDefault
from provisioner.cli.output import JsonOption, err, out, print_columns, print_json, reports_errors, styled

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from isolation.attempts import Attempt
    from provisioner.proving.request import Proof, ProofRequest

NOT_ISOLATED = 1  #: exit code of a proof that found something, and of a document that can't be relied on
_COLOUR = {"isolated": "green", "not_isolated": "red", "not_run": "yellow"}


prove = typer.Typer(
    cls=RunByDefault,
    no_args_is_help=True,
    help="Prove tenants isolated: attack what stands, sign what was found. `tenantry prove acme` proves one tenant.",
)

ProofArgument = Annotated[str, typer.Argument(metavar="PROOF", help="a proof's id, as `prove list` shows it")]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="directory of the document and the page; default: under TENANTRY_HOME")
]


def register(app: typer.Typer) -> None:
    app.add_typer(prove, name="prove")


@prove.command(RUN)
@reports_errors
def run(
    tenant_id: Annotated[str | None, typer.Argument(metavar="[TENANT]", help="this tenant against others")] = None,
    all_: Annotated[bool, typer.Option("--all", help="all tenants of a cell")] = False,
    pair: Annotated[
        tuple[str, str] | None, typer.Option("--pair", metavar="A B", help="A attacks B, not the other way round")
    ] = None,
    cell: Annotated[str | None, typer.Option(help="with --all; default: TENANTRY_CELL")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="only what runs after every operation; with TENANT")] = False,
    out_: OutOption = None,
    json_output: JsonOption = False,
) -> None:
    """Attack as the tenant and as an outsider.

    Exit code 0: isolated; 1: not; 3: settings are wrong; 4: no such tenant, or it can't be proved; 5: not possible now.
    """
    import logging

    from provisioner import logs, settings
    from provisioner.proving.prover import prove as run_proof

    logs.configure(level=logging.WARNING)
    request = _request(tenant_id, all_, pair, cell, fast)
    configured = settings.load()
    if request.cell is None and all_:
        request = _of_cell(request, configured.cell)
    with _progress(json_output) as seen:
        proof = run_proof(configured, request, seen=seen)
    files = _write(proof, out_ or configured.home / "evidence")
    _tell(proof, files, json_output)
    if proof.status != "isolated":
        raise typer.Exit(NOT_ISOLATED)


def _request(
    tenant_id: str | None, all_: bool, pair: tuple[str, str] | None, cell: str | None, fast: bool
) -> ProofRequest:
    from isolation.evidence.document import ScopeKind
    from provisioner.proving.request import ProofRequest

    if (tenant_id is not None) + all_ + (pair is not None) != 1:
        raise typer.BadParameter("name one tenant, or give --all, or --pair A B", param_hint="TENANT")
    if cell is not None and not all_:
        raise typer.BadParameter("a tenant has its cell already; only --all takes one", param_hint="--cell")
    if fast and tenant_id is None:
        raise typer.BadParameter("only the proof of one tenant has a fast subset", param_hint="--fast")
    if pair is not None:
        return ProofRequest(ScopeKind.PAIR, pair)
    if all_:
        return ProofRequest(ScopeKind.ALL, cell=cell)
    assert tenant_id is not None
    return ProofRequest(ScopeKind.TENANT, (tenant_id,), fast=fast)


def _of_cell(request: ProofRequest, cell: str) -> ProofRequest:
    from dataclasses import replace

    return replace(request, cell=cell)


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[Attempt], None]]:
    if quiet or not err.is_terminal:
        yield lambda attempt: None
        return
    from rich.markup import escape

    done = failed = 0
    with err.status("looking up the tenants") as status:

        def seen(attempt: Attempt) -> None:
            nonlocal done, failed
            done += 1
            failed += not attempt.passed
            wrong = f"  [red]{failed} failed[/red]" if failed else ""
            status.update(escape(f"{done} attempts; {attempt.attacker} -> {attempt.victim}: {attempt.name}") + wrong)

        yield seen


def _write(proof: Proof, directory: Path) -> dict[str, Path]:
    """Document and page, named by when and what."""
    from isolation.evidence.document import SignedDocument
    from isolation.evidence.page import render
    from provisioner.errors import ConfigurationInvalid

    assert proof.content is not None
    record = proof.record
    subject = "-".join(record.tenant_ids) or f"all-{record.cell}"
    stem = f"{record.ended_at:%Y%m%dT%H%M%SZ}-{subject}-{record.proof_id[:8]}"
    files = {"document": directory / f"{stem}.json", "page": directory / f"{stem}.html"}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        files["document"].write_bytes(proof.content)
        files["page"].write_text(render(SignedDocument.model_validate_json(proof.content)), encoding="utf-8")
    except OSError as error:
        raise ConfigurationInvalid(
            f"evidence can't be written to {directory}: {error.strerror}",
            hint=f"name another directory: tenantry prove export {record.proof_id} --out DIR",
        ) from None
    return files


def _tell(proof: Proof, files: dict[str, Path], json_output: bool) -> None:
    assert proof.document is not None
    record = proof.record
    if json_output:
        print_json({**vars(record), "files": files})
        return
    failed = [each for each in proof.document.attempts if not each.passed]
    for each in failed[:20]:
        print(f"{styled('FAILED', 'red')} {each.layer}/{each.name}: {styled(each.attacker)} {styled(each.tried)}")
        print(f"       expected {styled(each.expected)}; got {styled(each.actual)}")
        if not each.allow.passed:
            print(f"       and {styled(each.allow.tried)}: not allowed: {styled(each.allow.actual)}")
    if len(failed) > 20:
        print(f"and {len(failed) - 20} more: see the page")
    for left_out in proof.document.left_out:
        print(f"{styled('left out', 'yellow')} {left_out.tenant_id}: {styled(left_out.reason)}")
    seconds = (record.ended_at - record.started_at).total_seconds()
    verdict = styled(record.status.replace("_", " ").upper(), _COLOUR[record.status])
    others = len(proof.document.tenants)
    print(f"{verdict}: {record.attempts - record.failed} of {record.attempts} attempts ended as they must", end=" ")
    print(f"({others} tenant{'s' if others != 1 else ''}, {seconds:.1f} s)")
    if proof.document.others == 0:
        print("There is no other tenant: what it owns was compared with what must stand, and outsiders were refused.")
    print(f"document {files['document']}\npage     {files['page']}")


@prove.command()
@reports_errors
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a document of evidence (JSON)")],
    key: Annotated[
        list[Path] | None, typer.Option("--key", help="public key to trust (PEM), instead of the installation's")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Whether a document is as it was signed, and by a known key. Exit code 1 if not.

    Checked are form, schema, digest, signature and times, and that counts and result follow from the attempts.
    """
    from isolation.evidence.verify import verify as verified

    content = read_document(file)
    verification = verified(content, given_keys(key) if key else registered_keys())
    document = verification.document
    if json_output:
        found = None if document is None else document.result.model_dump()
        proof_id = None if document is None else document.proof_id
        answer = {"valid": verification.valid, "problems": verification.problems, "proof_id": proof_id}
        print_json({**answer, "result": found})
    elif not verification.valid:
        print(f"{styled('NOT VALID', 'red')}: {file}: this document can't be relied on")
        for problem in verification.problems:
            print(f"  {styled(problem)}")
    else:
        assert document is not None
        said = "isolated" if document.result.isolated else "NOT ISOLATED"
        print(f"{styled('valid', 'green')}: signed by {document.signature.key_id}")
        print(
            f"  {document.installation}, {document.ended_at:%Y-%m-%d %H:%M:%S} UTC: {len(document.tenants)} tenants",
            end="",
        )
        print(f", {document.result.attempts} attempts, {document.result.failed} failed: {said}")
    if not verification.valid:
        raise typer.Exit(NOT_ISOLATED)


def read_document(file: Path) -> bytes:
    from isolation.evidence import canonical
    from provisioner.errors import NotFound, Reject

    try:
        if file.stat().st_size > canonical.MAX_BYTES:
            raise Reject(f"{file} has more than {canonical.MAX_BYTES} bytes: no document of evidence is so long")
        return file.read_bytes()
    except OSError as error:
        raise NotFound(f"{file} can't be read: {error.strerror}") from None


def given_keys(files: list[Path]) -> list[Any]:
    from isolation.evidence.signing import KeyInvalid, PublicKey
    from provisioner.errors import NotFound, Reject

    found = []
    for file in files:
        try:
            found.append(PublicKey.parse(file.read_bytes()))
        except OSError as error:
            raise NotFound(f"key {file} can't be read: {error.strerror}") from None
        except KeyInvalid as error:
            raise Reject(f"key {file}: {error}", hint="`tenantry prove key` prints the installation's") from None
    return found


def registered_keys() -> list[Any]:
    from isolation.evidence.signing import PublicKey
    from provisioner.cli.registry_access import ask
    from provisioner.registry import proofs

    return [PublicKey(pem) for pem in ask(proofs.keys)]


@prove.command()
@reports_errors
def key(json_output: JsonOption = False) -> None:
    """The installation's public key, to hand to whoever verifies; made on a laptop if there is none."""
    from provisioner import settings
    from provisioner.cli.registry_access import ask
    from provisioner.proving.key import signing_key
    from provisioner.registry import proofs

    configured = settings.load()
    public = signing_key(configured).public

    async def register_key(connection: AsyncConnection) -> None:
        await proofs.put_key(connection, public.key_id, public.pem)

    ask(register_key, configured)
    if json_output:
        print_json({"key_id": public.key_id, "public_key": public.pem})
    else:
        err.print(public.key_id)
        print(public.pem, end="")


@prove.command()
@reports_errors
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEY", help="sha256:..., as `prove verify` shows it")],
    reason: Annotated[str, typer.Option(help="why; it is recorded")],
    json_output: JsonOption = False,
) -> None:
    """Believe nothing any more that a key signed, since it may be in other hands. It can't be taken back."""
    import getpass

    from provisioner.cli.registry_access import ask
    from provisioner.errors import NotFound
    from provisioner.registry import proofs

    async def revoked(connection: AsyncConnection) -> bool:
        return await proofs.revoke_key(connection, key_id, why=f"{getpass.getuser()}: {reason}")

    if not ask(revoked):
        raise NotFound(f"no evidence of this installation was signed with {key_id}")
    if json_output:
        print_json({"revoked": key_id})
    else:
        print(f"{key_id} is revoked. Set another TENANTRY_EVIDENCE_KEY, then prove again: tenantry prove --all")


@prove.command("list")
@reports_errors
def list_(
    tenant: Annotated[str | None, typer.Option(help="only of this tenant, and those of all")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000)] = 50,
    json_output: JsonOption = False,
) -> None:
    """The latest proofs, newest first."""
    from provisioner.cli.registry_access import ask
    from provisioner.registry import proofs

    async def load(connection: AsyncConnection) -> Any:
        return await proofs.list_proofs(connection, tenant_id=tenant, limit=limit)

    found = ask(load)
    if json_output:
        print_json([vars(each) for each in found])
        return
    if not found:
        out.print("Nothing was proved yet. Do it now: tenantry prove --all")
        return
    rows = [
        (
            f"{each.ended_at:%Y-%m-%d %H:%M:%S}",
            each.status.replace("_", " "),
            " ".join(each.tenant_ids) or f"all of cell {each.cell}",
            ("fast, " if each.fast else "") + each.trigger,
            f"{each.attempts - each.failed} of {each.attempts}",
            each.proof_id,
            styled(each.reason or "")[:100],
        )
        for each in found
    ]
    header = ("ended (UTC)", "status", "tenants", "because", "passed", "proof", "reason")
    print_columns(header, rows, [_COLOUR.get(each.status) for each in found])


@prove.command()
@reports_errors
def export(proof_id: ProofArgument, out_: OutOption = None, json_output: JsonOption = False) -> None:
    """Write the document and the page of a former proof, as it was signed."""
    import uuid

    from provisioner import settings
    from provisioner.cli.registry_access import ask
    from provisioner.errors import NotFound
    from provisioner.proving.request import Proof
    from provisioner.registry import proofs

    async def load(connection: AsyncConnection) -> tuple[Any, bytes | None]:
        return await proofs.get(connection, proof_id), await proofs.document(connection, proof_id)

    missing = NotFound(f"there is no proof {proof_id}", hint="`tenantry prove list` shows the latest")
    try:
        uuid.UUID(proof_id)
    except ValueError:
        raise missing from None
    configured = settings.load()
    record, content = ask(load, configured)
    if record is None:
        raise missing
    if content is None:
        raise NotFound(f"proof {proof_id} has no document: it did not run: {record.reason}")
    files = _write(Proof(record, None, content), out_ or configured.home / "evidence")
    if json_output:
        print_json({**vars(record), "files": files})
    else:
        print(f"document {files['document']}\npage     {files['page']}")
