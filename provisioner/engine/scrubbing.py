"""Replaces what is or looks like a secret in text that people will read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

_SECRET_ASSIGNMENT = re.compile(
    r"(?i)(password|passwd|secret|token|api[_-]?key|passphrase)(\"?\s*[=:]\s*\"?)([^\s\"',;&]+)"
)
_URL_PASSWORD = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s@/]+@")
_KNOWN_TOKENS = re.compile(r"\b(?:(?:sk|rk|whsec|pk)_[A-Za-z0-9_]{8,}|AKIA[0-9A-Z]{16}|ASIA[0-9A-Z]{16})\b")
#: Variables whose values never appear in a message.
_SECRET_VARIABLES = re.compile(
    r"(?i)(?:password|passphrase|secret|token|api_key|credential)(?!.*_(?:PROVIDER|FILE|ARN)$)"
)
_SHORTEST = 6


class Scrubber:
    """Knows the secrets of ``environment``: values of variables named like secrets, and passwords in URLs."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        values: set[str] = set()
        for name, text in environment.items():
            if _SECRET_VARIABLES.search(name):
                values |= {text, *text.split(",")}
            elif "://" in text and "@" in text:
                values |= _password(text)
        self._values = sorted((value for value in values if len(value) >= _SHORTEST), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for value in self._values:
            text = text.replace(value, "[secret]")
        text = _URL_PASSWORD.sub(r"\1[secret]@", text)
        text = _KNOWN_TOKENS.sub("[secret]", text)
        return _SECRET_ASSIGNMENT.sub(
            lambda match: match[0] if match[3].startswith(("[secret", "arn:")) else f"{match[1]}{match[2]}[secret]",
            text,
        )


def _password(url: str) -> set[str]:
    try:
        password = urlsplit(url).password
    except ValueError:
        return set()
    return {password, unquote(password)} if password else set()
