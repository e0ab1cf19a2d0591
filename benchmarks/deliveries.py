"""Webhook deliveries as bytes: a real event's shape and size, signed as Stripe signs."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any

PATH = "/webhooks/stripe"


def event(identifier: str, template: dict[str, Any]) -> bytes:
    """``template``, an event of the local Stripe, under another id."""
    return json.dumps({**template, "id": identifier}, separators=(",", ":")).encode()


def signature(body: bytes, secret: str, at: float | None = None) -> str:
    """The header's value: ``t=<Unix seconds>,v1=<hex>``."""
    stamp = str(int(time.time() if at is None else at))
    digest = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={digest}"


def request(body: bytes, header: str, *, length: int | None = None) -> bytes:
    """A whole HTTP/1.1 request on a kept connection, with the headers that Stripe sends."""
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Stripe/1.0 (+https://stripe.com/docs/webhooks)\r\n"
        f"Accept: */*; q=0.5, application/xml\r\nCache-Control: no-cache\r\n"
        f"Content-Type: application/json; charset=utf-8\r\nStripe-Signature: {header}\r\n"
        f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body
