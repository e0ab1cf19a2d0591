"""Attacks on the way into a pool: ids that are none, tokens that were altered, are another's, or are out of date."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Iterator
from functools import partial

from psycopg import sql

from isolation.attacks.common import DENIED, SET_TENANT, SET_TOKEN, Own, in_session, probe, read_of, refused
from isolation.attempts import Answer, Layer, Probe, Severity, is_one_of
from isolation.connections import Connection, open_own
from isolation.installation import TokenKey
from isolation.subject import Subject
from isolation.witness import Holdings
from tenantry import NoTenant, UnknownTenant
from tenantry.session import TenantSession


def nonsense(victim: str) -> tuple[str, ...]:
    """What is no tenant's id, or would be the victim's to whoever cuts, folds, joins or interprets it."""
    return (
        "",
        "*",
        "%",
        f"{victim} ",
        f" {victim}",
        victim.upper(),
        f"{victim}|1|9999999999",
        f"{victim}\n",
        f"{victim}'--",
        f"' OR tenant_id = '{victim}",
        f"x' UNION SELECT '{victim}",
        f"{victim}; RESET ALL",
        f"{victim},{victim}",
        f"{victim}\u200b",
        f"\u0430{victim[1:]}",  # a Cyrillic a
        victim * 20,
        "null",
        "platform",
    )


def probes(
    attacker: Subject, victim: Subject, own: Holdings, theirs: Holdings, token_key: TokenKey | None
) -> Iterator[Probe]:
    """Within a pool. ``token_key`` makes tokens that only the broker could make, and that are no good all the same."""
    allowed = Own.reading(attacker, own.with_rows)

    def ids(session: TenantSession) -> Answer:
        for value in nonsense(victim.id):
            answer = _entered(session, theirs, value, None, victim.id)
            if answer.code != DENIED:
                return Answer(answer.code, f"as {value[:48]!r}: {answer.detail}")
        return Answer(DENIED, f"for {len(nonsense(victim.id))} ids")

    yield probe(
        "nonsense-tenant",
        "sets app.current_tenant to what is no tenant's id, injections among it, beside its own valid token",
        partial(in_session, attacker, ids),
        allowed,
        fast=True,
    )

    def altered(session: TenantSession) -> Answer:
        token = attacker.broker.credentials(attacker.id).token or ""
        for what, tenant, value in _altered(token, attacker.id, victim.id):
            answer = _entered(session, theirs, tenant, value, tenant)
            if answer.code != DENIED:
                return Answer(answer.code, f"{what}: {answer.detail}")
        return Answer(DENIED, f"for {len(_altered(token, attacker.id, victim.id))} alterations")

    yield probe(
        "altered-token",
        f"presents its own token for {victim.id}, and for itself with another expiry, epoch or signature",
        partial(in_session, attacker, altered),
        allowed,
        fast=True,
    )
    if token_key is not None:
        yield from _signed(attacker, own, token_key)

    def register(session: TenantSession) -> Answer:
        found = session.execute("SELECT FROM tenantry.pool_tenant").rowcount
        return Answer("ok", f"reads the register of {found} tenants")

    yield probe(
        "tenant-register",
        "reads who the pool's tenants are",
        partial(in_session, attacker, register),
        allowed,
        severity=Severity.LEAK,
    )
    yield _in_sdk(attacker, victim)


def _entered(session: TenantSession | Connection, rows: Holdings, tenant: str, token: str | None, of: str) -> Answer:
    """What comes of reading rows of ``of`` as ``tenant``; with the session's own token if there is none."""
    with session.transaction():
        session.execute(SET_TENANT, (tenant,))
        if token is not None:
            session.execute(SET_TOKEN, (token,))
        denied = all(
            refused(session, sql.SQL("SELECT FROM {} LIMIT 1").format(table.identifier), DENIED)
            for table in rows.with_rows
        )
        return Answer(DENIED) if denied else read_of(session, rows.with_rows, of)


def _altered(token: str, attacker: str, victim: str) -> list[tuple[str, str, str]]:
    expiry, epoch, signature = token.split(".")
    flipped = ("1" if signature[0] == "0" else "0") + signature[1:]
    return [
        ("another's id", victim, token),
        ("a later expiry", attacker, f"{int(expiry) + 3600}.{epoch}.{signature}"),
        ("another epoch", attacker, f"{expiry}.{int(epoch) + 1}.{signature}"),
        ("another signature", attacker, f"{expiry}.{epoch}.{flipped}"),
        ("a shorter signature", attacker, token[:-1]),
        ("capitals", attacker, f"{expiry}.{epoch}.{signature.upper().replace('0', 'O', 1)}"),
        ("a sign", attacker, f"+{token}"),
        ("no signature", attacker, f"{expiry}.{epoch}."),
    ]


def sign(key: bytes, tenant: str, epoch: int, expiry: int) -> str:
    """As the broker does (``docs/architecture.md``, "Pool entry token")."""
    signature = hmac.new(key, f"{tenant}|{epoch}|{expiry}".encode(), hashlib.sha256).hexdigest()
    return f"{expiry}.{epoch}.{signature}"


def _signed(attacker: Subject, own: Holdings, token_key: TokenKey) -> Iterator[Probe]:
    """Tokens under the pool's real key; each is the valid one with one thing changed."""

    def present(epoch: int, seconds: int, tenant: str = attacker.id) -> Answer:
        token = sign(token_key(attacker.outputs), tenant, epoch, int(time.time()) + seconds)
        with open_own(attacker) as connection:
            answer = _entered(connection, own, tenant, token, attacker.id)
        return answer

    epoch = attacker.outputs.epoch
    valid = Own("enters itself with a token of the same key that is right", lambda: present(epoch, 300))
    for name, tried, ask in (
        ("expired-token", "enters with its own token a second after it expired", lambda: present(epoch, -1)),
        ("token-of-another-epoch", "enters with its own token of an epoch to come", lambda: present(epoch + 1, 300)),
        ("token-of-a-former-epoch", "enters with a token of where it lived before", lambda: present(epoch - 1, 300)),
        (
            "token-of-nobody",
            "enters with a token, rightly signed, of a tenant that is not in this pool",
            lambda: present(epoch, 300, "somebody-else"),
        ),
    ):
        yield probe(name, tried, ask, valid, fast=True)


def _in_sdk(attacker: Subject, victim: Subject) -> Probe:
    def injected() -> Answer:
        for value in nonsense(victim.id):
            answer = _asked(value)
            if answer.code not in _REFUSALS:
                return Answer(answer.code, f"as {value[:48]!r}: {answer.detail}")
        return Answer(UnknownTenant.__name__, f"for {len(nonsense(victim.id))} ids")

    def _asked(value: str) -> Answer:
        try:
            with attacker.sdk.session(value) as session:
                return Answer("ok", f"a session of {session.placement.tenant_id}")
        except (UnknownTenant, NoTenant) as error:
            return Answer(type(error).__name__)

    def own() -> Answer:
        with attacker.session() as session:
            return Answer("ok", f"a session of {session.tenant_id}")

    allowed: Callable[[], Answer] = own
    return probe(
        "injected-tenant",
        "asks the SDK for a session of what is no tenant's id, SQL among it",
        injected,
        Own("asks it for a session of itself", allowed),
        expected=UnknownTenant.__name__,
        judged=is_one_of(*_REFUSALS),
        layer=Layer.API,
        of_logins=True,
    )


_REFUSALS = (UnknownTenant.__name__, NoTenant.__name__)
