"""Whoever has no credentials: at the database, at the service. What is asked of AWS is in ``isolation.walls``."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from functools import cache

import httpx

from isolation.attacks.common import Own, probe
from isolation.attempts import OUTSIDER, Answer, Layer, Probe, is_one_of
from isolation.connections import REFUSED, attempt_login
from isolation.subject import Subject
from tenantry.broker import AWS, DATABASE

_Door = tuple[str, str, str, dict[str, object]]  #: method, path, what is behind it, options of the request
#: what the service must answer to nobody; paths that this service doesn't have are as good
_CLOSED = ("401", "403", "404")


def database_probes(victim: Subject) -> Iterator[Probe]:
    """At the tenant's database, with what an outsider may know: where it is and what the login is called."""
    login = victim.outputs.login

    def own() -> Answer:
        issued = victim.broker.credentials(victim.id)
        return attempt_login(victim, victim, issued.username, issued.password)

    allowed = Own("logs in with its own login and password", cache(own))

    def without_tls() -> Answer:
        issued = victim.broker.credentials(victim.id)
        return attempt_login(victim, victim, issued.username, issued.password, sslmode="disable")

    for name, tried, ask, fast in (
        ("wrong-password", f"logs in as {login} with a guess", lambda: _guess(victim, login), False),
        ("no-password", f"logs in as {login} without a password", lambda: _guess(victim, login, password=""), False),
        ("superuser-login", "logs in as postgres with a guess", lambda: _guess(victim, "postgres"), False),
        ("without-tls", f"logs in as {login}, with its password, without TLS", without_tls, True),
    ):
        yield probe(
            name,
            tried,
            ask,
            allowed,
            expected=" or ".join(REFUSED),
            judged=is_one_of(*REFUSED),
            by=OUTSIDER,
            fast=fast,
        )


def _guess(victim: Subject, login: str, password: str | None = None) -> Answer:
    return attempt_login(victim, victim, login, secrets.token_hex(16) if password is None else password)


def service_probes(victim: Subject) -> Iterator[Probe]:
    """At the service: each door without a token, with a guess, and the operators' with an application's token."""
    application = victim.broker.application_token

    def status(method: str, path: str, token: str | None, **options: object) -> Answer:
        try:
            answer = victim.broker.request(method, path, token=token, **options)
        except httpx.HTTPError as error:
            return Answer(type(error).__name__, "the service did not answer")
        return Answer("ok" if answer.is_success else str(answer.status_code), f"{method} {path}")

    allowed = Own("gets its own login with the application's token", lambda: victim.broker.own(victim.id))
    asked: dict[str, object] = {"json": {"tenant_id": victim.id}}
    doors: tuple[_Door, ...] = (
        ("POST", DATABASE, "the login", asked),
        ("POST", AWS, "AWS credentials", asked),
        ("GET", f"/v1/tenants/{victim.id}", "its record", {}),
        ("GET", f"/v1/tenants/{victim.id}/explain", "its timeline", {}),
        ("POST", f"/v1/tenants/{victim.id}/destroy", "its destruction", {"json": {}}),
        ("GET", "/v1/tenants", "all tenants", {}),
        ("GET", "/v1/events", "the payments' events", {}),
        ("GET", "/metrics", "metrics", {}),
    )

    def first_open(token: str | None, chosen: tuple[_Door, ...]) -> Answer:
        answers = [status(method, path, token, **options) for method, path, _, options in chosen]
        return next((each for each in answers if each.code not in _CLOSED), answers[0])

    for name, words, token, chosen in (
        ("service-without-token", "without a token", None, doors),
        ("service-with-a-guess", "with a guessed token", secrets.token_hex(16), doors),
        ("operator-as-application", "of the operators with an application's token", application, doors[2:]),
    ):
        yield probe(
            name,
            f"knocks at {len(chosen)} doors of the service {words}: {', '.join(what for _, _, what, _ in chosen)}",
            lambda token=token, chosen=chosen: first_open(token, chosen),  # type: ignore[misc]
            allowed,
            expected=" or ".join(_CLOSED),
            judged=is_one_of(*_CLOSED),
            by=OUTSIDER if name != "operator-as-application" else None,
            layer=Layer.API,
            fast=name == "service-without-token",
        )
