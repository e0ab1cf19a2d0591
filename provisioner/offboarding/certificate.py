"""The deletion certificate: what is gone, what can't be removed yet and until when, and who authorised it; signed.

``docs/deletion-certificate.schema.json`` is generated from these models by ``python -m
provisioner.offboarding.certificate``; a test compares. Form and signature are those of evidence (``docs/evidence.md``):
canonical JSON, Ed25519, the installation's key.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from isolation.evidence import canonical, signing
from isolation.evidence.document import Digest, Instant, Model, Name, Number, Product, Signature, Text, as_text
from isolation.evidence.signing import PublicKey, SigningKey

SCHEMA: Literal["tenantry-deletion/1"] = "tenantry-deletion/1"
SCHEMA_FILE = Path(__file__).parents[2] / "docs" / "deletion-certificate.schema.json"
CLOCK_SKEW = timedelta(minutes=5)  #: how far another machine's clock may be ahead
_SHOWN = 5  #: problems of one kind that are told one by one


class Subject(Model):
    """Whose data it was."""

    tenant_id: Name
    generation: Number = Field(description="which life of the id")
    cell: Name
    tier: Name | None = Field(description="null: nothing ever stood")
    plan: Name | None


class Authorisation(Model):
    """Why it was deleted. ``by`` is a person, or `policy` for the plan's retention."""

    cause: Literal["retention", "operator", "erasure"]
    by: Name
    reason: Text
    at: Instant


class Table(Model):
    schema_name: Name
    name: Name
    rows: Number


class Deleted(Model):
    """What there was before, none of which is left."""

    tables: list[Table] = Field(description="rows as the final export counted them; access was closed by then")
    rows: Number
    objects: Number = Field(description="files in S3 with a present version")
    versions: Number = Field(description="all versions of files, former ones too")
    delete_markers: Number
    uploads: Number = Field(description="multipart uploads that were never completed")
    resources: list[Resource] = Field(description="of the tenant's Pulumi stack")
    events_redacted: Number = Field(description="stored webhooks of Stripe whose content was removed")
    timeline_redacted: Number = Field(description="timeline entries from which addresses were removed")
    others_redacted: Number = Field(description="other rows of the registry: who signed up, who got messages, comments")
    customer_deleted: bool = Field(description="whether Stripe was asked to delete the customer")


class Resource(Model):
    """``id`` is the ARN where there is one."""

    type: Name
    id: Text


class Copy(Model):
    """The copy that is kept, encrypted: the final export until it is fetched, or the archive that the plan promises."""

    kind: Literal["export", "archive"]
    digest: Digest = Field(description="SHA-256 of the unencrypted file")
    size: Number
    until: Instant = Field(description="when it is deleted")


class Remaining(Model):
    """What can't be removed now. ``until`` null: no time is known here; ``why`` tells what decides."""

    what: Text
    where: Text
    until: Instant | None
    why: Text


class Certificate(Model):
    """Everything that is signed."""

    schema_version: Literal["tenantry-deletion/1"]
    certificate_id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
    installation: Name
    environment: Name
    product: Product
    tenant: Subject
    authorisation: Authorisation
    method: Literal["crypto_shred", "archive"]
    began_at: Instant
    destroyed_at: Instant | None = Field(description="when the stack was gone; null: there was none")
    completed_at: Instant = Field(description="when nothing was left over")
    deleted: Deleted
    export: Copy | None = Field(description="null: no copy is kept")
    remaining: list[Remaining]

    def as_dict(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


class SignedCertificate(Certificate):
    """A file."""

    signature: Signature


def sign(certificate: Certificate, key: SigningKey) -> bytes:
    """The file: the certificate with its signature, in canonical form."""
    signed = canonical.dumps(certificate.as_dict())
    value = base64.b64encode(key.sign(signed)).decode()
    signature = Signature(algorithm="Ed25519", key_id=key.public.key_id, digest=signing.sha256(signed), value=value)
    return canonical.dumps({**certificate.as_dict(), "signature": signature.model_dump()})


@dataclass(frozen=True)
class Verification:
    """``certificate`` is there if the file could be read; it can be relied on only if ``valid``."""

    certificate: SignedCertificate | None
    problems: tuple[str, ...]

    @property
    def valid(self) -> bool:
        return self.certificate is not None and not self.problems


def verify(content: bytes, keys: Iterable[PublicKey], *, now: datetime | None = None) -> Verification:
    """Check form, schema, digest, signature, times and sums. Never raises for what is in ``content``."""
    try:
        value = canonical.loads(content)
        problems = [] if content == canonical.dumps(value) else ["the file isn't in the canonical form of RFC 8785"]
    except canonical.Malformed as error:
        return Verification(None, (f"the file can't be read: {error}",))
    if value.get("schema_version") != SCHEMA:
        found = str(value.get("schema_version"))[:60]
        return Verification(None, (f"schema_version: {found!r} is unknown to this program, which reads {SCHEMA!r}",))
    try:
        certificate = SignedCertificate.model_validate_json(canonical.dumps(value))
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False, include_context=False)
        told = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in wrong[:_SHOWN]]
        return Verification(None, tuple(told))
    if certificate.as_dict() != value:
        problems.append("the file isn't as it was written: a value is not in the form that certificates have")
    problems += _signature_problems(certificate, value, {key.key_id: key for key in keys})
    problems += _sense(certificate, now or datetime.now(UTC))
    return Verification(certificate, tuple(problems))


def _signature_problems(certificate: SignedCertificate, value: dict[str, Any], keys: dict[str, PublicKey]) -> list[str]:
    signature, signed = certificate.signature, signing.signed_part(value)
    digest = signing.sha256(signed)
    problems = []
    if digest != signature.digest:
        problems.append(f"the content was changed after it was signed: its digest is {digest}")
    key = keys.get(signature.key_id)
    if key is None:
        known = ", ".join(sorted(keys)) or "none"
        return [*problems, f"signed with an unknown key {signature.key_id}; known: {known}"]
    raw = signing.decoded(signature.value)
    if raw is None or not key.verifies(raw, signed):
        problems.append(f"the signature is not one of key {signature.key_id} over this content")
    return problems


def _sense(certificate: Certificate, now: datetime) -> list[str]:
    problems = []
    if certificate.completed_at < certificate.began_at:
        problems.append(f"completed_at {as_text(certificate.completed_at)} is before began_at")
    if certificate.completed_at > now + CLOCK_SKEW:
        problems.append(f"completed_at {as_text(certificate.completed_at)} is in the future: it is {as_text(now)}")
    if certificate.deleted.rows != sum(table.rows for table in certificate.deleted.tables):
        problems.append("deleted.rows: it is not the sum of the tables'")
    return problems


def json_schema() -> str:
    """The content of ``docs/deletion-certificate.schema.json``."""
    schema = SignedCertificate.model_json_schema(mode="serialization")
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": SCHEMA}
    return json.dumps(described, indent=2) + "\n"


Deleted.model_rebuild()

if __name__ == "__main__":
    SCHEMA_FILE.write_text(json_schema())
