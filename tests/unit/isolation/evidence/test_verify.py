"""What is signed is believed, and nothing else."""

from __future__ import annotations

import copy
import json
from datetime import timedelta
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation.evidence import canonical
from isolation.evidence.document import SCHEMA_FILE, json_schema
from isolation.evidence.signing import PublicKey, SigningKey, sign
from isolation.evidence.verify import Verification, verify
from tests.unit.isolation.evidence.documents import STARTED, attempt, document

KEY = SigningKey.generate()
NOW = STARTED + timedelta(hours=1)
SIGNED = sign(document(), KEY)
FAILED = sign(document([attempt(), attempt("globex", "acme", refused=False)]), KEY)


def check(content: bytes, *keys: PublicKey) -> Verification:
    return verify(content, keys or [KEY.public], now=NOW)


def resigned(change: Any) -> bytes:
    """A document that its own installation signed although it says what can't be."""
    content = json.loads(SIGNED)
    content.pop("signature")
    change(content)

    class Changed:
        def as_dict(self) -> dict[str, Any]:
            return dict(content)

    return sign(Changed(), KEY)  # type: ignore[arg-type]


def test_what_was_signed_is_valid_and_says_what_was_found() -> None:
    verification = check(SIGNED)
    assert verification.problems == ()
    assert verification.valid
    assert verification.document is not None
    assert verification.document.result.isolated
    failed = check(FAILED)
    assert failed.valid
    assert failed.document is not None
    assert (failed.document.result.isolated, failed.document.result.failed) == (False, 1)


def test_the_published_schema_is_up_to_date_and_describes_what_is_signed() -> None:
    assert SCHEMA_FILE.read_text() == json_schema(), "regenerate: python -m isolation.evidence.document"
    jsonschema.Draft202012Validator.check_schema(json.loads(json_schema()))
    jsonschema.validate(json.loads(SIGNED), json.loads(json_schema()), jsonschema.Draft202012Validator)


@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
def test_a_changed_byte_is_noticed(at: int, by: int) -> None:
    changed = SIGNED[:at] + bytes([SIGNED[at] ^ by]) + SIGNED[at + 1 :]
    assert not check(changed).valid


@given(st.integers(0, len(SIGNED) - 1))
def test_a_missing_end_or_byte_is_noticed(at: int) -> None:
    assert not check(SIGNED[:at]).valid
    assert not check(SIGNED[:at] + SIGNED[at + 1 :]).valid


@given(st.integers(0, len(SIGNED)), st.sampled_from([b" ", b"\n", b"0", b"\x00", b"}", b"\xef\xbb\xbf"]))
def test_an_added_byte_is_noticed(at: int, added: bytes) -> None:
    assert not check(SIGNED[:at] + added + SIGNED[at:]).valid


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for name, member in members for found in _paths(member, (*path, name)))]


_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 2**53), st.text(max_size=8), st.just([]), st.just({}), st.floats()
)


@given(st.data())
def test_a_changed_removed_repeated_or_added_member_is_noticed_however_the_file_is_written(data: st.DataObject) -> None:
    content = json.loads(SIGNED)
    path = data.draw(st.sampled_from(_paths(content)[1:]))
    holder = content
    for name in path[:-1]:
        holder = holder[name]
    match data.draw(st.sampled_from(["change", "remove", "add", "repeat"])):
        case "change":
            holder[path[-1]] = data.draw(_VALUES)
        case "remove":
            del holder[path[-1]]
        case "add" if isinstance(holder, dict):
            holder["added"] = data.draw(_VALUES)
        case _ if isinstance(holder, list):
            holder.append(copy.deepcopy(holder[path[-1]]))
    try:
        content_bytes = canonical.dumps(content)
    except canonical.Malformed:
        content_bytes = json.dumps(content).encode()
    if content_bytes != SIGNED:
        assert not check(content_bytes).valid


def test_another_keys_signature_is_reported_as_unknown_and_not_believed() -> None:
    other = SigningKey.generate()
    verification = check(SIGNED, other.public)
    assert not verification.valid
    [problem] = verification.problems
    assert f"unknown key {KEY.public.key_id}" in problem
    assert other.public.key_id in problem


def test_a_forgery_that_names_the_installations_key_is_refused() -> None:
    forged = json.loads(sign(document(), SigningKey.generate()))
    forged["signature"]["key_id"] = KEY.public.key_id
    [problem] = check(canonical.dumps(forged)).problems
    assert "the signature is not one of key" in problem


def _hide_failure(content: dict[str, Any]) -> None:
    content["attempts"][0]["refused"] = False


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_hide_failure, "attempts.0.passed: True does not follow"),
        (lambda c: c["result"].update(attempts=3), "result.attempts: 3 is stated, the attempts say 2"),
        (lambda c: c.update(counts=c["counts"][:1]), "counts: they are not those of the attempts"),
        (lambda c: c.update(attempts=[], counts=[]), "result.isolated: True is stated, the attempts say False"),
        (lambda c: c.update(ended_at="2026-11-24T02:29:00.000000Z"), "is before started_at"),
        (lambda c: c.update(ended_at="2027-11-24T02:29:00.000000Z"), "is in the future"),
        (lambda c: c.update(started_at="2026-11-24T02:29:00.000Z"), "started_at|form that documents have"),
        (lambda c: c.update(started_at="2026-11-24T04:29:00.000000+02:00"), "started_at: "),
        (lambda c: c.update(schema_version="tenantry-evidence/2"), "'tenantry-evidence/2' is unknown"),
        (lambda c: c.update(note="x"), "note: Extra inputs are not permitted"),
        (lambda c: c["result"].update(isolated="yes"), "result.isolated: "),
        (lambda c: c["tenants"].append(c["tenants"][0]), "tenants: one is there twice"),
    ],
)
def test_a_signature_does_not_make_nonsense_believable(change: Any, words: str) -> None:
    problems = " / ".join(check(resigned(change)).problems)
    assert any(word in problems for word in words.split("|")), problems


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"[]", "no JSON object but list"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"a":1,"a":2}', "'a' is there twice"),
        (b'{"a":NaN}', "NaN is no number"),
        (b'{"a":-Infinity}', "-Infinity is no number"),
        (b'{"a":1.5}', "1.5 is no integer"),
        (b'{"a":' + b"9" * 5000 + b"}", "larger than JSON's numbers hold"),
        (b'{"a":"\\ud800"}', "no canonical form"),
        (b"[" * 100_000, "nested too deeply"),
        (SIGNED[: len(SIGNED) // 2], "it ends too early"),
        (b"not json", "line 1, column 1"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(content: bytes, words: str) -> None:
    verification = check(content)
    assert (verification.document, verification.valid) == (None, False)
    assert words in verification.problems[0]


def test_a_huge_file_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canonical, "MAX_BYTES", 1000)
    assert "more than 1000 are not read" in check(SIGNED).problems[0]


def test_without_any_key_nothing_is_valid() -> None:
    assert "known: none" in verify(SIGNED, [], now=NOW).problems[0]
