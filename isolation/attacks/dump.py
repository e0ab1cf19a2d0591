"""``pg_dump`` with a tenant's own login and password: the ordinary way to carry a database off."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

from components.tiers import TIERS
from isolation.attacks.common import Own, probe
from isolation.attempts import Answer, Probe, is_one_of
from isolation.subject import Subject
from isolation.tables import names
from isolation.witness import Holdings

SECONDS = 60
REFUSED = "refused"
_DENIALS = ("permission denied", "row-level security", "no tenant entered", "tenant token", "unsupported startup")
#: libpq's names of what the SDK connects with
_ENVIRONMENT = {
    "host": "PGHOST",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "connect_timeout": "PGCONNECT_TIMEOUT",
}


def probes(attacker: Subject, victim: Subject, own: Holdings, theirs: Holdings, program: Path) -> Iterator[Probe]:
    """Of one database: the victim's schema, in a pool with and without row-level security, and everything."""
    pooled = attacker.outputs.db_schema == victim.outputs.db_schema
    schema = f"--schema={victim.outputs.db_schema}"
    ways = [("dump-schema", [schema], ""), ("dump-everything", [], "")]
    if pooled:
        forged = f"-c app.current_tenant={victim.id}"
        ways += [
            ("dump-under-policies", [schema, "--enable-row-security"], ""),
            ("dump-as-another", [schema, "--enable-row-security"], forged),
        ]
    # in shared tables pg_dump is refused as a whole: there only a table without tenants is its own
    own_schema = TIERS[attacker.outputs.tier].own_schema
    mine = [each for each in own.relations if each.is_table and each.readable]
    table = next((each for each in mine if own_schema or not each.by_tenant), None)
    if table is None:
        return
    dumped = partial(_run, attacker, victim, program, [f"--table={table.schema}.{table.name}"], "")
    allowed = Own(f"dumps {table.name}, which it may read", cache(partial(_as_allowed, dumped)))
    for name, arguments, options in ways:
        yield probe(
            name,
            f"runs pg_dump {' '.join(arguments)} {f'with PGOPTIONS {options}' if options else ''}".rstrip()
            + f" for {names(theirs.with_rows)}",
            partial(_run, attacker, victim, program, arguments, options),
            allowed,
            expected=REFUSED,
            judged=is_one_of(REFUSED),
            of_logins=True,
        )


def _as_allowed(dumped: partial[Answer]) -> Answer:
    answer = dumped()
    return Answer("ok", answer.detail) if answer.code == "dumped" else answer


def _run(attacker: Subject, victim: Subject, program: Path, arguments: list[str], options: str) -> Answer:
    issued = attacker.broker.credentials(attacker.id)
    known = attacker.sdk.config.connection_parameters(attacker.placement(), issued.username, issued.password)
    environment = {name: str(known[key]) for key, name in _ENVIRONMENT.items() if key in known}
    environment |= {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "PGOPTIONS": options}
    done = subprocess.run(
        [program, "--data-only", "--no-password", *arguments],
        env=environment,
        capture_output=True,
        timeout=SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if victim.id.encode() in _rows(done.stdout):
        return Answer("ok", f"dumps rows of {victim.id}")
    if done.returncode == 0:
        return Answer("dumped", f"{len(done.stdout)} bytes")
    # what pg_dump says holds statements and names, and no rows
    text = done.stderr.decode(errors="replace")
    return Answer(REFUSED if any(each in text for each in _DENIALS) else "failed", _first(text))


def _rows(output: bytes) -> bytes:
    """What stands between COPY and its end: names of schemas hold tenants' ids as well."""
    blocks = output.split(b" FROM stdin;\n")[1:]
    return b"".join(block.split(b"\n\\.\n")[0] for block in blocks)


def _first(text: str) -> str:
    line = next((each for each in text.splitlines() if "error" in each), "no error is told")
    return line.partition("error: ")[2][:160] or line[:160]
