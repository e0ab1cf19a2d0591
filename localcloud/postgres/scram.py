"""SCRAM-SHA-256 verifiers: what PostgreSQL stores instead of a password."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os

ITERATIONS = 4096  #: PostgreSQL's default
_SALT_BYTES = 16


def verifier(password: str) -> str:
    """A new verifier of ``password`` (printable ASCII), as ``ALTER ROLE ... PASSWORD`` takes it."""
    if not password.isascii() or not password.isprintable():
        # Other characters are normalised before they are hashed (RFC 4013), which this doesn't.
        raise ValueError("a password must be of printable ASCII characters")
    salt = os.urandom(_SALT_BYTES)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    stored = hashlib.sha256(_mac(salted, b"Client Key")).digest()
    server = _mac(salted, b"Server Key")
    return f"SCRAM-SHA-256${ITERATIONS}:{_text(salt)}${_text(stored)}:{_text(server)}"


def _mac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
