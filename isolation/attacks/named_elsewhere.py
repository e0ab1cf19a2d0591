"""A tenant that a client names in a header, a path, a query or twice in a body: only the body's field may count."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

import httpx
import psycopg

from isolation.attacks.common import SET_TENANT, SET_TOKEN, Own, probe
from isolation.attempts import Answer, Layer, Probe, is_one_of
from isolation.connections import open_own
from isolation.subject import Subject
from tenantry.broker import DATABASE, DatabaseCredentials

_HEADERS = ("X-Tenant-Id", "X-Tenant", "Tenant-Id", "X-Forwarded-Host", "X-Original-URL")
_REFUSED = ("400", "404", "405", "422")


def probes(attacker: Subject, victim: Subject) -> Iterator[Probe]:
    """Asked with the application's token, which may act for every tenant: what counts is whom the answer is for."""
    body = {"tenant_id": attacker.id}

    def issued(**options: object) -> Answer:
        path = str(options.pop("path", DATABASE))
        try:
            answer = attacker.broker.request("POST", path, token=attacker.broker.application_token, **options)
        except httpx.HTTPError as error:
            return Answer(type(error).__name__, "the broker did not answer")
        if answer.status_code != 200:
            return Answer(str(answer.status_code), "the broker refused")
        return _whose(attacker, victim, DatabaseCredentials.parse(answer.json()))

    def own() -> Answer:
        answer = issued(json=body)
        return Answer("ok", "it is issued its own") if answer.code == "its own" else answer

    allowed = Own("asks for itself and names nobody else", own)
    for name, words, options in (
        ("header", f"names {victim.id} in the headers", {"json": body, "headers": dict.fromkeys(_HEADERS, victim.id)}),
        ("query", f"names {victim.id} in the query", {"json": body, "params": {"tenant_id": victim.id}}),
        ("path", f"names {victim.id} in the path", {"json": body, "path": f"{DATABASE}/{victim.id}"}),
        ("field", f"names {victim.id} in a field more", {"json": {**body, "tenant": victim.id}}),
        ("list", "names both in a list", {"json": {"tenant_id": [attacker.id, victim.id]}}),
        ("form", f"names {victim.id} in a form", {"data": {"tenant_id": victim.id}}),
    ):
        yield probe(
            f"tenant-in-{name}",
            f"asks the broker for its own login and {words}",
            partial(issued, **options),
            allowed,
            expected="its own, or " + ", ".join(_REFUSED),
            judged=is_one_of("its own", *_REFUSED),
            layer=Layer.API,
            fast=name == "header",
            of_logins=True,
        )

    def spelled(value: str) -> Answer:
        content = json.dumps({"tenant_id": value})
        return issued(content=content, headers={"Content-Type": "application/json"})

    def injected() -> Answer:
        for value in (f"{victim.id}' OR '1'='1", f"{victim.id}\u0000", f" {victim.id}", victim.id.upper(), "%", "../x"):
            answer = spelled(value)
            if answer.code not in _REFUSED:
                return Answer(answer.code, f"as {value!r}: {answer.detail}")
        return answer

    yield probe(
        "tenant-injected",
        "asks the broker for the login of what is no tenant's id, SQL among it",
        injected,
        allowed,
        expected=" or ".join(_REFUSED),
        judged=is_one_of(*_REFUSED),
        layer=Layer.API,
        of_logins=True,
    )


def _whose(attacker: Subject, victim: Subject, issued: DatabaseCredentials) -> Answer:
    """Whom credentials let in; in a pool, where all have one login, the database is asked whose the token is."""
    if attacker.outputs.login != victim.outputs.login:
        own = issued.username == attacker.outputs.login
        return Answer("its own" if own else "ok", f"login {issued.username}")
    with open_own(attacker) as connection, connection.transaction(force_rollback=True):
        connection.execute(SET_TENANT, (victim.id,))
        connection.execute(SET_TOKEN, (issued.token or "",))
        try:
            with connection.transaction():
                connection.execute("SELECT tenantry.current_tenant()")
                return Answer("ok", f"the token lets in {victim.id}")
        except psycopg.errors.InsufficientPrivilege:
            pass
    return Answer("its own", f"the token does not let in {victim.id}")
