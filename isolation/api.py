"""Attacks on the SDK and the broker: a tenant that is named where it must not count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from isolation.attempts import Answer, Layer, Probe, is_ok, is_one_of
from isolation.subject import Subject
from tenantry import InvalidFileName, TenantConflict

OWN_FILE = "tenantry-proof.txt"


def probes(attacker: Subject, victim: Subject) -> Iterator[Probe]:
    """Over HTTP to the broker that the SDK is configured with, and in the SDK itself."""

    def nested(inner: str) -> Callable[[], Answer]:
        def ask() -> Answer:
            with attacker.session():
                place = attacker.sdk.placement(inner)
                return Answer("ok", f"reaches schema {place.db_schema}")

        return ask

    yield Probe(
        "conflicting-tenant",
        Layer.API,
        f"asks the SDK for {victim.id} inside of a session of its own",
        TenantConflict.__name__,
        nested(victim.id),
        is_one_of(TenantConflict.__name__),
        "asks it for itself there",
        nested(attacker.id),
        is_ok,
        fast=True,
    )

    def own() -> Answer:
        return attacker.broker.own(attacker.id)

    own_tried = "asks the broker for its own login with the application's token"
    for name, token, words in (("no-token", None, "without a token"), ("wrong-token", "a-guess", "with a wrong token")):

        def ask(token: str | None = token) -> Answer:
            return attacker.broker.ask({"tenant_id": victim.id}, token=token)

        tried = f"asks the broker for the login of {victim.id} {words}"
        yield Probe(name, Layer.API, tried, "401", ask, is_one_of("401"), own_tried, own, is_ok)
    yield Probe(
        "chosen-placement",
        Layer.API,
        f"asks the broker for its own login but names the database, login and role of {victim.id}",
        "422",
        lambda: attacker.broker.as_application({"tenant_id": attacker.id, **_placement(victim)}),
        is_one_of("422"),
        own_tried,
        own,
        is_ok,
    )


def _placement(victim: Subject) -> dict[str, Any]:
    outputs = victim.outputs
    return {
        "login_secret_arn": outputs.login_secret_arn,
        "role_arn": outputs.role_arn,
        "db_name": outputs.database.name,
    }


def file_probes(attacker: Subject, victim: Subject) -> Iterator[Probe]:
    """File names that would lead out of the attacker's own place."""
    names = (f"../{victim.outputs.prefix or victim.id + '/'}x", f"/{victim.outputs.prefix}x", "a/../../x", "..\\x")

    def escape() -> Answer:
        files = attacker.sdk.files(attacker.id)
        for name in names:
            try:
                files.get(name)
            except InvalidFileName:
                continue
            except FileNotFoundError:
                pass
            return Answer("ok", f"S3 was asked for {name!r}")
        return Answer(InvalidFileName.__name__, "every name is refused before S3 is asked")

    def round_trip() -> Answer:
        files = attacker.sdk.files(attacker.id)
        content = attacker.id.encode()
        files.put(OWN_FILE, content)
        try:
            same = files.get(OWN_FILE) == content
        finally:
            files.delete(OWN_FILE)
        return Answer("ok" if same else "other content", f"writes, reads and deletes {OWN_FILE} in {files.bucket}")

    yield Probe(
        "file-name",
        Layer.FILES,
        "names a file so that its path would leave what is its own",
        InvalidFileName.__name__,
        escape,
        is_one_of(InvalidFileName.__name__),
        f"writes, reads and deletes a file {OWN_FILE} of its own",
        round_trip,
        is_ok,
        of_logins=True,
    )
