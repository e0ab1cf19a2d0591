from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from provisioner.billing import webhooks
from provisioner.billing.webhooks import PayloadInvalid, WebhookEvent
from provisioner.errors import ConfigurationInvalid, SignatureInvalid

NOW = 1_800_000_000
SECRET = "whsec_unit"
EVENT: dict[str, Any] = {
    "id": "evt_1",
    "object": "event",
    "api_version": "2026-10-28.endive",
    "created": NOW,
    "data": {"object": {"id": "sub_1", "object": "subscription", "customer": "cus_1"}},
    "livemode": False,
    "type": "customer.subscription.updated",
}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda child: st.lists(child, max_size=3) | st.dictionaries(st.text(max_size=6), child, max_size=3),
    max_leaves=10,
)


def sign(body: bytes, secret: str = SECRET, at: int | str = NOW) -> str:
    return f"t={at},v1={hmac.new(secret.encode(), f'{at}.'.encode() + body, hashlib.sha256).hexdigest()}"


def verify(body: bytes, header: str | None = None, secrets: tuple[str, ...] = (SECRET,), **more: Any) -> WebhookEvent:
    return webhooks.verify(body, sign(body) if header is None else header, secrets, now=more.pop("now", NOW), **more)


def body_of(**changes: Any) -> bytes:
    return json.dumps({**EVENT, **changes}).encode()


def refused(body: bytes, header: str | None = None, **more: Any) -> str:
    with pytest.raises(SignatureInvalid) as error:
        verify(body, header, **more)
    return error.value.code


def unreadable(body: bytes) -> str:
    with pytest.raises(PayloadInvalid) as error:
        verify(body)
    return error.value.code


def test_an_event_says_what_changed() -> None:
    assert verify(body_of()) == WebhookEvent(
        id="evt_1",
        type="customer.subscription.updated",
        created=NOW,
        livemode=False,
        api_version="2026-10-28.endive",
        account=None,
        object_id="sub_1",
        object_type="subscription",
        customer_id="cus_1",
        subscription_id="sub_1",
    )


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ({"id": "cus_1", "object": "customer"}, ("cus_1", "cus_1", None)),
        ({"object": "entitlements.active_entitlement_summary", "customer": "cus_1"}, (None, "cus_1", None)),
        (
            {"id": "cs_1", "object": "checkout.session", "customer": "cus_1", "subscription": "sub_1"},
            ("cs_1", "cus_1", "sub_1"),
        ),
        (
            {"id": "in_1", "object": "invoice", "parent": {"subscription_details": {"subscription": "sub_1"}}},
            ("in_1", None, "sub_1"),
        ),
        ({"id": "in_1", "object": "invoice", "subscription": "sub_old"}, ("in_1", None, "sub_old")),
        (
            {
                "id": "in_1",
                "object": "invoice",
                "subscription": "sub_old",
                "parent": {"subscription_details": {"subscription": "sub_new"}},
            },
            ("in_1", None, "sub_new"),
        ),
        (
            {"id": "in_1", "object": "invoice", "parent": None, "customer": {"id": "cus_1", "object": "customer"}},
            ("in_1", "cus_1", None),
        ),
        (
            {"id": "in_1", "object": "invoice", "parent": {"subscription_details": None}, "subscription": 5},
            ("in_1", None, None),
        ),
        ({"object": "invoice"}, (None, None, None)),
    ],
)
def test_references_are_read_in_the_shapes_of_old_and_new_api_versions(
    subject: dict[str, Any], expected: tuple[str | None, ...]
) -> None:
    event = verify(body_of(data={"object": subject}))
    assert (event.object_id, event.customer_id, event.subscription_id) == expected


# -- signatures


@given(st.binary(max_size=80), st.text(max_size=20), st.integers(0, 10**11))
def test_whoever_does_not_know_the_secret_is_refused(body: bytes, secret: str, at: int) -> None:
    if secret != SECRET:
        assert refused(body, sign(body, secret, at), now=at) == "signature_mismatch"


@given(st.integers(0, len(body_of()) - 1), st.integers(1, 255))
def test_a_changed_byte_breaks_the_signature(position: int, change: int) -> None:
    body = body_of()
    forged = body[:position] + bytes([body[position] ^ change]) + body[position + 1 :]
    assert refused(forged, sign(body)) == "signature_mismatch"


@given(st.integers(0, len(body_of()) - 1))
def test_a_truncated_body_breaks_the_signature(length: int) -> None:
    assert refused(body_of()[:length], sign(body_of())) == "signature_mismatch"


@given(st.text(max_size=120))
def test_no_header_but_the_right_one_is_taken(header: str) -> None:
    assert refused(body_of(), header) in {"signature_missing", "signature_malformed", "signature_mismatch"}


VALID = sign(body_of()).partition("v1=")[2]


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "signature_missing"),
        (f"v1={VALID}", "signature_malformed"),
        (f"t={NOW}", "signature_malformed"),
        (f"t={NOW},v0={VALID}", "signature_malformed"),
        (f"t={NOW},t={NOW},v1={VALID}", "signature_malformed"),
        (f"t={NOW - 1},t={NOW},v1={VALID}", "signature_malformed"),
        (f"t=-{NOW},v1={VALID}", "signature_malformed"),
        (f"t={NOW}.0,v1={VALID}", "signature_malformed"),
        ("t=1e9,v1=" + VALID, "signature_malformed"),
        (f"t=\u0661\u0662,v1={VALID}", "signature_malformed"),
        (f"t={NOW},v1={VALID.upper()}", "signature_malformed"),
        (f"t={NOW},v1={VALID[:-1]}", "signature_malformed"),
        (f"t={NOW}," + f"v1={'0' * 64}," * 16 + f"v1={VALID}", "signature_malformed"),
        (f"t={NOW},v1={VALID}" + "," * 5000, "signature_malformed"),
        (f"t={NOW + 1},v1={VALID}", "signature_mismatch"),
    ],
)
def test_a_header_that_is_none(header: str, code: str) -> None:
    assert refused(body_of(), header) == code


def test_a_header_may_have_other_schemes_and_blanks() -> None:
    assert verify(body_of(), f"t={NOW}, v0=abc , v1={'0' * 64}, v1={VALID}").id == "evt_1"


@pytest.mark.parametrize(("age", "taken"), [(-301, False), (-300, True), (0, True), (300, True), (301, False)])
def test_old_and_future_signatures_are_stale(age: int, taken: bool) -> None:
    header = sign(body_of(), at=NOW - age)
    if taken:
        assert verify(body_of(), header).id == "evt_1"
    else:
        assert refused(body_of(), header) == "signature_stale"


def test_the_tolerance_is_the_callers() -> None:
    header = sign(body_of(), at=NOW - 50)
    assert verify(body_of(), header, tolerance_s=50).id == "evt_1"
    assert refused(body_of(), header, tolerance_s=49) == "signature_stale"


def test_any_of_several_secrets_may_have_signed() -> None:
    secrets = ("whsec_new", SECRET)
    for secret in secrets:
        assert verify(body_of(), sign(body_of(), secret), secrets).id == "evt_1"
    assert refused(body_of(), sign(body_of(), "whsec_third"), secrets=secrets) == "signature_mismatch"


@pytest.mark.parametrize("secrets", [(), ("",), ("  ",), (SECRET, ""), ("\t\n", SECRET)])
@pytest.mark.parametrize("signer", [SECRET, "", "  "])
def test_an_empty_secret_refuses_everybody(secrets: tuple[str, ...], signer: str) -> None:
    with pytest.raises(ConfigurationInvalid, match="TENANTRY_STRIPE_WEBHOOK_SECRETS"):
        verify(body_of(), sign(body_of(), signer), secrets)


def test_no_error_shows_a_secret_or_the_body() -> None:
    for body, header in ((b'{"card": "4242424242424242"', sign(b"other")), (b'{"card": "4242424242424242"', None)):
        with pytest.raises((SignatureInvalid, PayloadInvalid)) as error:
            verify(body, header)
        assert SECRET not in str(error.value)
        assert "4242" not in str(error.value)
        assert error.value.__cause__ is None


@given(JSON)
def test_the_library_agrees_about_every_signature(document: Any) -> None:
    body = json.dumps(document)
    header = sign(body.encode())
    assert stripe.WebhookSignature.verify_header(body, header, SECRET, tolerance=None)
    with pytest.raises(PayloadInvalid):
        verify(body.encode(), header)


# -- bodies


@given(st.binary(max_size=120))
def test_signed_bytes_that_are_no_event_are_refused_with_a_reason(body: bytes) -> None:
    assert unreadable(body) in {"not_utf8", "not_json", "not_an_event", "bad_text", "duplicate_key", "wrong_type"}


@given(st.dictionaries(st.sampled_from([*EVENT, "account"]), JSON, max_size=4))
def test_whatever_the_fields_are_it_is_an_event_or_refused(changes: dict[str, Any]) -> None:
    try:
        event = verify(body_of(**changes))
    except PayloadInvalid as error:
        reason = error.code
    else:
        assert isinstance(event.id, str)
        assert isinstance(event.created, int)
        return
    assert reason in {"not_an_event", "wrong_type", "bad_text"}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "not_json"),
        (b"\xff{}", "not_utf8"),
        (b"{'id': 1}", "not_json"),
        (body_of()[:-1], "not_json"),
        (body_of() + b"{}", "not_json"),
        (b"[]", "not_an_event"),
        (b"null", "not_an_event"),
        (b'"evt_1"', "not_an_event"),
        (b'{"object": "charge"}', "not_an_event"),
        (b"[" * 100_000 + b"]" * 100_000, "too_deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "too_deep"),
        (b'{"object": "event", "created": NaN}', "not_json"),
        (b'{"object": "event", "created": Infinity}', "not_json"),
        (b'{"n": ' + b"9" * 5000 + b"}", "not_json"),
        (b'{"id": "evt_1", "id": "evt_2", "object": "event"}', "duplicate_key"),
        (body_of().replace(b'"customer": "cus_1"', b'"customer": "cus_1", "customer": "cus_2"'), "duplicate_key"),
        (body_of(id="evt_\x00"), "bad_text"),
        (body_of(note="\x00"), "bad_text"),
        (body_of(**{"a\x00": 1}), "bad_text"),
        (body_of(note="\ud800"), "bad_text"),
        (body_of(note="\udc00\ud800"), "bad_text"),
        (body_of(note="\\\x00"), "bad_text"),
        (body_of(id=""), "wrong_type"),
        (body_of(id="evt 1"), "wrong_type"),
        (body_of(id=None), "wrong_type"),
        (body_of(id="e" * 256), "wrong_type"),
        (body_of(type="customer.UPDATED"), "wrong_type"),
        (body_of(created="now"), "wrong_type"),
        (body_of(created=True), "wrong_type"),
        (body_of(created=1.5), "wrong_type"),
        (body_of(created=-1), "wrong_type"),
        (body_of(created=2**40), "wrong_type"),
        (body_of(livemode=None), "wrong_type"),
        (body_of(livemode="false"), "wrong_type"),
        (body_of(data=[]), "wrong_type"),
        (body_of(data={"object": None}), "wrong_type"),
        (body_of(data={"object": {"id": 7}}), "wrong_type"),
        (body_of(account={"id": "acct"}), "wrong_type"),
    ],
)
def test_a_body_that_is_signed_and_can_not_be_used(body: bytes, code: str) -> None:
    assert unreadable(body) == code


@pytest.mark.parametrize("text", ["\\u0000", "a\\\\u0000b", "\U0001f600", "\u2028", "\x7f", "\ufffe"])
def test_text_that_only_looks_dangerous_is_kept(text: str) -> None:
    assert verify(body_of(note=text)).id == "evt_1"


def test_an_events_optional_fields_may_be_missing() -> None:
    document = {name: value for name, value in EVENT.items() if name not in ("api_version", "account")}
    event = verify(json.dumps(document).encode())
    assert (event.api_version, event.account) == (None, None)
    assert verify(body_of(account="acct_1")).account == "acct_1"
