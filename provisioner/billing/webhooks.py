"""Stripe's webhooks: the signature is verified over the raw bytes, then the body is read with suspicion.

Scheme: header ``Stripe-Signature: t=<Unix seconds>,v1=<hex>[,v1=<hex>...]`` with HMAC-SHA256 over ``<t>.<body>``
(https://docs.stripe.com/webhooks#verify-manually). Imports no Stripe library: intake stays light.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from provisioner.errors import ConfigurationInvalid, Reject, SignatureInvalid

DEFAULT_TOLERANCE_S = 300
MAX_HEADER = 4096
MAX_SIGNATURES = 16
#: Unix seconds: later times, with a retention added, are beyond what a ``datetime`` can be.
END_OF_TIME = 2**37

_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_V1 = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[A-Za-z0-9_]{1,255}")
_TYPE = re.compile(r"[a-z0-9_.]{1,100}")
_VERSION = re.compile(r"[0-9A-Za-z.-]{1,40}")


class PayloadInvalid(Reject):
    """A body that is signed but is no event this service can read. ``code`` says why."""

    code = "payload_invalid"


@dataclass(frozen=True)
class WebhookEvent:
    """What an event is used for: to know which object changed. Its contents are not trusted to be current."""

    id: str
    type: str
    created: int  #: Unix seconds of Stripe's clock; never an order: two changes of one second share it
    livemode: bool
    api_version: str | None
    account: str | None  #: the connected account, for a platform
    object_id: str | None  #: None for objects without one (an entitlement summary)
    object_type: str | None
    customer_id: str | None  #: the customer that the object names, or is
    subscription_id: str | None  #: the subscription that the object names, or is
    charge_id: str | None = None  #: the charge that the object names


def check_secrets(secrets: Sequence[str]) -> None:
    """``ConfigurationInvalid`` unless there is a secret and none is blank: a blank one would let anybody sign."""
    if not secrets or any(not secret.strip() for secret in secrets):
        raise ConfigurationInvalid(
            "TENANTRY_STRIPE_WEBHOOK_SECRETS is empty or has an empty entry",
            hint="Set it to the endpoint's signing secret (whsec_...); two, separated by a comma, during a rotation",
        )


def verify(
    payload: bytes,
    header: str,
    secrets: Sequence[str],
    tolerance_s: int = DEFAULT_TOLERANCE_S,
    now: float = 0.0,
) -> WebhookEvent:
    """The event in ``payload`` if one of ``secrets`` signed it within ``tolerance_s`` of ``now`` (Unix seconds).

    ``SignatureInvalid`` (codes ``signature_missing``, ``signature_malformed``, ``signature_stale``,
    ``signature_mismatch``) before a byte of the body is interpreted, ``PayloadInvalid`` after it.
    """
    check_secrets(secrets)
    stamp, signatures = _read_header(header)
    signed = stamp.encode() + b"." + payload
    matches = False
    for secret in secrets:
        expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
        for signature in signatures:
            matches |= hmac.compare_digest(expected, signature)
    if not matches:
        _forged("signature_mismatch", "no signature in the Stripe-Signature header matches the body")
    if abs(now - int(stamp)) > tolerance_s:
        _forged(
            "signature_stale",
            f"the signature's timestamp lies more than {tolerance_s} s from this machine's clock",
            hint="A replay, or a clock that is wrong: check NTP",
        )
    return parse(payload)


def _read_header(header: str) -> tuple[str, list[str]]:
    if not header:
        _forged("signature_missing", "the request has no Stripe-Signature header")
    stamps: list[str] = []
    signatures: list[str] = []
    if len(header) <= MAX_HEADER:
        for part in header.split(","):
            name, _, value = part.strip().partition("=")
            if name == "t":
                stamps.append(value)
            elif name == "v1" and _V1.fullmatch(value):
                signatures.append(value)
    if len(stamps) != 1 or not _TIMESTAMP.fullmatch(stamps[0]) or not 0 < len(signatures) <= MAX_SIGNATURES:
        _forged("signature_malformed", "the Stripe-Signature header has no timestamp with a v1 signature")
    return stamps[0], signatures


def parse(payload: bytes) -> WebhookEvent:
    """The event in a body that is known to come from Stripe; ``PayloadInvalid`` when it is none."""
    document = _load(payload)
    if not isinstance(document, dict):
        _unreadable("not_an_event", "the body is no JSON object")
    if document.get("object") != "event":
        _unreadable("not_an_event", "the body's `object` is not `event`")
    data = document.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("object"), dict):
        _unreadable("wrong_type", "`data.object` is no object")
    subject: dict[str, Any] = data["object"]
    created = document.get("created")
    if not isinstance(created, int) or isinstance(created, bool) or not 0 <= created < END_OF_TIME:
        _unreadable("wrong_type", "`created` is no timestamp")
    livemode = document.get("livemode")
    if not isinstance(livemode, bool):
        _unreadable("wrong_type", "`livemode` is no boolean")
    object_type = _optional(subject, "object", _TYPE, "data.object.object")
    object_id = _optional(subject, "id", _ID, "data.object.id")
    return WebhookEvent(
        id=_required(document, "id", _ID),
        type=_required(document, "type", _TYPE),
        created=created,
        livemode=livemode,
        api_version=_optional(document, "api_version", _VERSION, "api_version"),
        account=_optional(document, "account", _ID, "account"),
        object_id=object_id,
        object_type=object_type,
        customer_id=object_id if object_type == "customer" else _reference(subject.get("customer")),
        subscription_id=object_id if object_type == "subscription" else _subscription_of(subject),
        charge_id=_reference(subject.get("charge")),
    )


def _load(payload: bytes) -> Any:
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError:
        _unreadable("not_utf8", "the body is not UTF-8")
    try:
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except PayloadInvalid:
        raise
    except RecursionError:
        _unreadable("too_deep", "the body is nested too deeply")
    except ValueError:  # also an integer of thousands of digits
        _unreadable("not_json", "the body is not valid JSON")
    if "\\u" in text:
        _check_storable(document)
    return document


def _check_storable(document: Any) -> None:
    """PostgreSQL stores neither NUL nor half a surrogate pair; both can only come in as an escape."""
    try:
        encoded = json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        _unreadable("bad_text", "the body has half a surrogate pair in a string")
    # json.dumps escapes NUL; a backslash in a string is escaped as well, so an odd number of them precedes it.
    if re.search(rb"(?<!\\)(?:\\\\)*\\u0000", encoded):
        _unreadable("bad_text", "the body has a NUL character in a string")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        _unreadable("duplicate_key", "an object of the body has a key twice")
    return result


def _no_constant(name: str) -> NoReturn:
    _unreadable("not_json", "the body has a number that JSON does not know")


def _required(document: dict[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    value = _optional(document, key, pattern, key)
    if value is None:
        _unreadable("wrong_type", f"`{key}` is missing")
    return value


def _optional(document: dict[str, Any], key: str, pattern: re.Pattern[str], path: str) -> str | None:
    value = document.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not pattern.fullmatch(value):
        _unreadable("wrong_type", f"`{path}` has an unexpected form")
    return value


def _reference(value: Any) -> str | None:
    """The id in a reference, expanded or not; None for anything else: it is a hint only."""
    if isinstance(value, dict):
        value = value.get("id")
    return value if isinstance(value, str) and _ID.fullmatch(value) else None


def _subscription_of(subject: dict[str, Any]) -> str | None:
    """An invoice names its subscription under ``parent``; before API version 2025-03-31 at the top."""
    parent = subject.get("parent")
    details = parent.get("subscription_details") if isinstance(parent, dict) else None
    nested = details.get("subscription") if isinstance(details, dict) else None
    return _reference(nested) or _reference(subject.get("subscription"))


def _forged(code: str, message: str, *, hint: str = "") -> NoReturn:
    error = SignatureInvalid(message, hint=hint)
    error.code = code
    raise error


def _unreadable(code: str, message: str) -> NoReturn:
    error = PayloadInvalid(message)
    error.code = code
    raise error from None
