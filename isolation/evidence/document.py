"""The document: its fields and what they mean. ``docs/evidence.schema.json`` is generated from these models.

A test compares; regenerate with ``python -m isolation.evidence.document``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer

SCHEMA: Literal["tenantry-evidence/1"] = "tenantry-evidence/1"
SCHEMA_FILE = Path(__file__).parents[2] / "docs" / "evidence.schema.json"
_INSTANT = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"


def _utc(value: datetime) -> datetime:
    if value.utcoffset() != UTC.utcoffset(None):
        raise ValueError("not in UTC")
    return value


def as_text(instant: datetime) -> str:
    """The one form of a moment in a document: UTC, microseconds, ``Z``."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


Instant = Annotated[
    AwareDatetime,
    AfterValidator(_utc),
    PlainSerializer(as_text, return_type=str, when_used="json"),
    Field(json_schema_extra={"pattern": _INSTANT}),
]
Number = Annotated[int, Field(ge=0, lt=2**53)]  # what JSON's numbers hold everywhere
Name = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(max_length=4000)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ScopeKind(StrEnum):
    TENANT = "tenant"  #: one tenant and an outsider against others
    PAIR = "pair"  #: the first against the second
    ALL = "all"  #: every tenant against every other


class Trigger(StrEnum):
    OPERATOR = "operator"  #: somebody ran ``tenantry prove``
    OPERATION = "operation"  #: the tenant's stack was changed
    NIGHTLY = "nightly"


class Scope(Model):
    """What was asked for."""

    kind: ScopeKind
    tenants: Annotated[list[Name], Field(max_length=2, description="who was named; empty for all")]
    cell: Name
    fast: bool = Field(description="only the subset that runs after every operation")
    trigger: Trigger
    operation_id: Number | None = Field(description="of the control plane, if an operation was the trigger")


class Product(Model):
    """The program that attacked."""

    version: Name
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40,64}(-modified)?$")] | None = Field(
        description="of its repository; null where it runs without one"
    )


class Database(Model):
    address: Name
    port: Number
    name: Name


class Placed(Model):
    """Where a tenant lives. No secret: logins are named, and where their passwords are kept."""

    database: Database
    db_schema: Name
    login: Name
    login_secret_arn: Name
    bucket: Name
    prefix: Text
    kms_key_arn: Name
    role_arn: Name


class Tenant(Model):
    """One tenant as it stood when the proof began."""

    tenant_id: Name
    generation: Number
    cell: Name
    tier: Name
    epoch: Number
    placement: Placed


class LeftOut(Model):
    """A tenant that was asked for and could not take part."""

    tenant_id: Name
    reason: Text


class Twin(Model):
    """The same probe on the attacker's own: it must be allowed, or the refusal shows nothing."""

    tried: Text
    actual: Text
    decided_by: Text
    passed: bool


class AttemptRecord(Model):
    """One attack. ``passed``: it was refused in the way expected, and its twin was allowed."""

    name: Name
    layer: Name = Field(description="which kind of border; with `name` it identifies the attack, release after release")
    severity: Name = Field(description="what a failure means: breach, wall (defence in depth) or leak")
    attacker: Name
    victim: Name
    tried: Text
    expected: Text
    actual: Text
    decided_by: Text
    refused: bool
    allow: Twin
    passed: bool


class Count(Model):
    """Attempts of one attacker on one victim in one layer."""

    attacker: Name
    victim: Name
    layer: Name
    passed: Number
    failed: Number


class Result(Model):
    isolated: bool = Field(description="something was tried, and every attempt passed")
    attempts: Number
    failed: Number


class Signature(Model):
    """Of the canonical form (RFC 8785) of the document without this member."""

    algorithm: Literal["Ed25519"]
    key_id: Digest = Field(description="SHA-256 of the public key's DER (SubjectPublicKeyInfo)")
    digest: Digest = Field(description="SHA-256 of what was signed")
    value: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{86}==$")] = Field(description="Base64")


class Document(Model):
    """Everything that is signed."""

    schema_version: Literal["tenantry-evidence/1"]
    proof_id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
    installation: Name
    environment: Name
    product: Product
    scope: Scope
    started_at: Instant
    ended_at: Instant
    tenants: list[Tenant] = Field(description="who took part")
    others: Number = Field(description="tenants of the cell that could take part; of many, a tenant attacks a few")
    left_out: list[LeftOut]
    assumptions: list[Text] = Field(description="what is trusted, and therefore not attacked")
    attempts: list[AttemptRecord]
    counts: list[Count]
    result: Result

    def as_dict(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


class SignedDocument(Document):
    """A file of evidence."""

    signature: Signature


def counts(attempts: Iterable[AttemptRecord]) -> list[Count]:
    """Per attacker, victim and layer, in the order of first appearance."""
    found: dict[tuple[str, str, str], list[int]] = {}
    for each in attempts:
        tally = found.setdefault((each.attacker, each.victim, each.layer), [0, 0])
        tally[0 if each.passed else 1] += 1
    return [
        Count(attacker=attacker, victim=victim, layer=layer, passed=passed, failed=failed)
        for (attacker, victim, layer), (passed, failed) in found.items()
    ]


def result(attempts: list[AttemptRecord]) -> Result:
    failed = sum(not each.passed for each in attempts)
    return Result(isolated=bool(attempts) and not failed, attempts=len(attempts), failed=failed)


def json_schema() -> str:
    """The content of ``docs/evidence.schema.json``."""
    schema = SignedDocument.model_json_schema(mode="serialization")
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": SCHEMA}
    return json.dumps(described, indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(json_schema())
