"""Where Stripe may send a customer back to: addresses of the application, never any that a request brings along."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

from provisioner.errors import ConfigurationInvalid
from provisioner.selling.errors import ReturnUrlRefused

MAX_URL = 2000
#: RFC 3986's characters, and the braces of Stripe's ``{CHECKOUT_SESSION_ID}``. No backslash: browsers make it a slash.
_LEGAL = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]!$&'()*+,;=%{}]+")
_LOCAL = ("localhost", "127.0.0.1", "[::1]")
_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int]  #: scheme, host, port


class ReturnUrls:
    """``origins``: ``https://app.example.com``; http for this machine alone. Else ``ConfigurationInvalid``."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(_configured(origin) for origin in origins)

    def check(self, url: str, what: str) -> str:
        """``url`` if it leads to the application. ``ReturnUrlRefused``; ``ConfigurationInvalid`` if none is allowed."""
        if not self._origins:
            raise ConfigurationInvalid(
                "TENANTRY_RETURN_URLS is empty: nowhere may a customer be sent back to",
                hint="set it to your application's origin, for example https://app.example.com",
            )
        origin = _origin(url) if len(url) <= MAX_URL and _LEGAL.fullmatch(url) else None
        if origin not in self._origins:
            raise ReturnUrlRefused(
                f"{what} does not lead to an address that this installation sends customers back to",
                hint="use an absolute URL at one of the origins in TENANTRY_RETURN_URLS",
            )
        return url


def _configured(text: str) -> Origin:
    origin = _origin(text) if _LEGAL.fullmatch(text) else None
    if origin is None or text.rstrip("/").count("/") != 2 or "?" in text or "#" in text or "{" in text:
        raise ConfigurationInvalid(
            f"TENANTRY_RETURN_URLS: {text[:100]!r} is no origin", hint="write for example https://app.example.com"
        )
    if origin[0] == "http" and origin[1] not in _LOCAL:
        raise ConfigurationInvalid(
            f"TENANTRY_RETURN_URLS: {text[:100]!r} is not encrypted", hint="use https; http is for localhost alone"
        )
    return origin


def _origin(url: str) -> Origin | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc or _braces(parts):
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return parts.scheme, host, port or _PORTS[parts.scheme]


def _braces(parts: SplitResult) -> bool:
    return "{" in parts.netloc or "}" in parts.netloc
