"""Attacks on another tenant's rows, by whoever can run any SQL as the attacker: through the SDK, on real servers."""

from __future__ import annotations

from collections.abc import Iterator

from isolation import other_schema, shared_tables
from isolation.attacks import channels, dump, entry, hijack, reuse
from isolation.attempts import Layer, Probe, is_ok, is_one_of
from isolation.connections import REFUSED, knock
from isolation.installation import Installation
from isolation.subject import Subject
from isolation.witness import Holdings


def probes(
    attacker: Subject, victim: Subject, own: Holdings, theirs: Holdings, installation: Installation
) -> Iterator[Probe]:
    """Those that fit where the two live: in the same tables, in one database, on two."""
    if attacker.database != victim.database:
        yield _connect(attacker, victim, None)
    elif attacker.outputs.db_schema == victim.outputs.db_schema:
        yield from shared_tables.probes(attacker, victim, own, theirs)
        yield from entry.probes(attacker, victim, own, theirs, installation.token_key)
        yield from hijack.probes(attacker, victim, own, theirs)
        yield from channels.in_shared_tables(attacker, victim, own, theirs)
        yield from reuse.probes(attacker, victim, own, theirs)
    else:
        yield from other_schema.probes(attacker, victim, own, theirs)
    if attacker.database == victim.database and installation.pg_dump is not None:
        yield from dump.probes(attacker, victim, own, theirs, installation.pg_dump)
    if attacker.server == victim.server:
        yield from channels.between_sessions(attacker, victim)
    if attacker.outputs.login != victim.outputs.login:
        yield _connect(attacker, victim, victim.outputs.login)


def _connect(attacker: Subject, victim: Subject, login: str | None) -> Probe:
    where = f"{victim.outputs.database.address}:{victim.outputs.database.port}/{victim.outputs.database.name}"
    who = "its own login" if login is None else f"login {login}"
    return Probe(
        "connect" if login is None else "connect-as-another",
        Layer.DATABASE,
        f"connects to {where} as {who}, with its own password",
        " or ".join(REFUSED),
        lambda: knock(attacker, victim, username=login),
        is_one_of(*REFUSED),
        "connects to its own database with its own login and password",
        lambda: knock(attacker, attacker),
        is_ok,
    )
