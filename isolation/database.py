"""Attacks on another tenant's rows, by whoever can run any SQL as the attacker: through the SDK, on real servers."""

from __future__ import annotations

from collections.abc import Iterator

from isolation import other_schema, shared_tables
from isolation.attempts import Layer, Probe, is_ok, is_one_of
from isolation.connections import REFUSED, knock
from isolation.subject import Subject
from isolation.witness import Holdings


def probes(attacker: Subject, victim: Subject, own: Holdings, theirs: Holdings) -> Iterator[Probe]:
    """Those that fit where the two live: in the same tables, in one database, on two."""
    if attacker.database == victim.database:
        if attacker.outputs.db_schema == victim.outputs.db_schema:
            yield from shared_tables.probes(attacker, victim, own, theirs)
        else:
            yield from other_schema.probes(attacker, victim, own, theirs)
    else:
        yield _connect(attacker, victim, None)
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
