"""Whether a file of evidence can be relied on, and if not, precisely why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from isolation.evidence import canonical, signing
from isolation.evidence.document import SCHEMA, AttemptRecord, SignedDocument, as_text, counts, result
from isolation.evidence.signing import PublicKey

CLOCK_SKEW = timedelta(minutes=5)  #: how far another machine's clock may be ahead
_SHOWN = 5  #: problems of one kind that are told one by one


@dataclass(frozen=True)
class Verification:
    """``document`` is there if the file could be read; it can be relied on only if ``valid``."""

    document: SignedDocument | None
    problems: tuple[str, ...]

    @property
    def valid(self) -> bool:
        return self.document is not None and not self.problems


@dataclass
class _Found:
    problems: list[str] = field(default_factory=list)

    def add(self, problem: str) -> None:
        self.problems.append(problem)


def verify(content: bytes, keys: Iterable[PublicKey], *, now: datetime | None = None) -> Verification:
    """Check form, schema, digest, signature, times, and that counts and result follow from the attempts.

    ``keys``: those whose signatures count. Never raises for what is in ``content``.
    """
    found = _Found()
    try:
        value = canonical.loads(content)
        _check_form(content, value, found)
    except canonical.Malformed as error:
        return Verification(None, (f"the file can't be read: {error}",))
    document = _read(value, found)
    if document is None:
        return Verification(None, tuple(found.problems))
    _check_signature(document, value, {key.key_id: key for key in keys}, found)
    _check_times(document, now or datetime.now(UTC), found)
    _check_consistency(document, found)
    return Verification(document, tuple(found.problems))


def _check_form(content: bytes, value: dict[str, Any], found: _Found) -> None:
    canonically = canonical.dumps(value)
    if content != canonically:
        at = next((i for i, (a, b) in enumerate(zip(content, canonically, strict=False)) if a != b), None)
        where = f"first at byte {len(canonically) if at is None else at}"
        found.add(f"the file isn't as it was written: it is not in the canonical form of RFC 8785, {where}")


def _read(value: dict[str, Any], found: _Found) -> SignedDocument | None:
    version = value.get("schema_version")
    if version != SCHEMA:
        found.add(f"schema_version: {str(version)[:60]!r} is unknown to this program, which reads {SCHEMA!r}")
        return None
    try:
        document = SignedDocument.model_validate_json(canonical.dumps(value))
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        for problem in problems[:_SHOWN]:
            where = ".".join(str(part) for part in problem["loc"])
            found.add(f"{where}: {problem['msg']}")
        if len(problems) > _SHOWN:
            found.add(f"and {len(problems) - _SHOWN} more departures from the schema")
        return None
    if document.as_dict() != value:  # such as a moment with fewer digits
        found.add("the file isn't as it was written: a value is not in the form that documents have")
    return document


def _check_signature(
    document: SignedDocument, value: dict[str, Any], keys: Mapping[str, PublicKey], found: _Found
) -> None:
    signature = document.signature
    signed = signing.signed_part(value)
    digest = signing.sha256(signed)
    if digest != signature.digest:
        found.add(f"the content was changed after it was signed: its digest is {digest}, stated is {signature.digest}")
    key = keys.get(signature.key_id)
    if key is None:
        known = ", ".join(sorted(keys)) or "none"
        found.add(f"signed with an unknown key {signature.key_id}; known: {known}")
        return
    raw = signing.decoded(signature.value)
    if raw is None or not key.verifies(raw, signed):
        found.add(f"the signature is not one of key {signature.key_id} over this content")


def _check_times(document: SignedDocument, now: datetime, found: _Found) -> None:
    started, ended = document.started_at, document.ended_at
    if ended < started:
        found.add(f"ended_at {as_text(ended)} is before started_at {as_text(started)}")
    for name, instant in (("started_at", started), ("ended_at", ended)):
        if instant > now + CLOCK_SKEW:
            found.add(f"{name} {as_text(instant)} is in the future: it is {as_text(now)}")


def _check_consistency(document: SignedDocument, found: _Found) -> None:
    wrong = [
        f"attempts.{index}.passed: {each.passed} does not follow from refused {each.refused} and allow.passed "
        f"{each.allow.passed}"
        for index, each in enumerate(document.attempts)
        if each.passed != _passed(each)
    ]
    for problem in wrong[:_SHOWN]:
        found.add(problem)
    if len(wrong) > _SHOWN:
        found.add(f"and {len(wrong) - _SHOWN} more attempts whose `passed` does not follow")
    if document.counts != counts(document.attempts):
        found.add("counts: they are not those of the attempts")
    expected = result(document.attempts)
    for name in type(expected).model_fields:
        stated, actual = getattr(document.result, name), getattr(expected, name)
        if stated != actual:
            found.add(f"result.{name}: {stated} is stated, the attempts say {actual}")
    names = [each.tenant_id for each in document.tenants]
    if len(names) != len(set(names)):
        found.add("tenants: one is there twice")


def _passed(attempt: AttemptRecord) -> bool:
    return attempt.refused and attempt.allow.passed
