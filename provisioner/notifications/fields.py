"""Makes text of strangers harmless: what a customer typed at a checkout ends up in our messages to it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime

LONGEST = 120  #: characters of a name in a message
#: Marks that turn the direction of the text around them, and invisible ones. ZWJ and ZWNJ stay: emoji, Persian.
_INVISIBLE = re.compile(r"[\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]")
#: What a mail program would make a link of: an account's name is no place for an advertisement to others.
_LINK = re.compile(r"(?:[a-z][a-z0-9+.-]*:\s*//|www\s*\.|\b[\w-]+\.(?:[a-z]{2,24})/)", re.IGNORECASE)


def line(value: object, longest: int = LONGEST) -> str:
    """``value`` as one line of visible text; '' for what is no text."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    text = str(value)[: longest * 8]  # composing a very long text takes long
    text = unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
    text = "".join(" " if unicodedata.category(each) in ("Cc", "Zl", "Zp", "Zs") else each for each in text)
    text = "".join(each for each in text if unicodedata.category(each) not in ("Cs", "Co", "Cn"))
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def name(value: object) -> str:
    """A person's or company's name; '' if it looks like an advertisement."""
    text = line(value)
    return "" if _LINK.search(text) else text


def link(value: object) -> str:
    """A URL that may be clicked: https, without user or password; '' for anything else."""
    from urllib.parse import urlsplit

    if not isinstance(value, str) or len(value) > 2000 or not re.fullmatch(r"[!-~]+", value):
        return ""
    try:
        parts = urlsplit(value)
        sound = parts.scheme == "https" and bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:
        return ""
    return value if sound and not set(value) & set("\"'<>\\^`{|}") else ""


def moment(value: object) -> datetime | None:
    """A time out of ISO 8601 text; None for anything else."""
    if isinstance(value, str) and len(value) <= 40:
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


def whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**15 else None


def money(value: object) -> tuple[int, str] | None:
    """(amount in the smallest unit, ISO 4217 code in capitals) out of ``{"amount": ..., "currency": ...}``."""
    if not isinstance(value, Mapping):
        return None
    amount, currency = whole(value.get("amount")), value.get("currency")
    if amount is None or not isinstance(currency, str) or not re.fullmatch(r"[A-Za-z]{3}", currency):
        return None
    return amount, currency.upper()
