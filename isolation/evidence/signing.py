"""Signatures of documents: Ed25519 (RFC 8032), made with the key of the installation."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from isolation.evidence import canonical
from isolation.evidence.document import Document, Signature

MAX_PEM = 16 * 1024  #: bytes


class KeyInvalid(ValueError):
    """Not a key of the kind that is wanted; ``str`` says what it is instead, never what is in it."""


@dataclass(frozen=True)
class PublicKey:
    """What anybody needs to verify."""

    pem: str

    @property
    def key_id(self) -> str:
        """``sha256:`` and the hash of its DER, as ``openssl pkey -pubin -outform DER | sha256sum`` prints it."""
        der = self._key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return sha256(der)

    @property
    def _key(self) -> Ed25519PublicKey:
        try:
            key = load_pem_public_key(self.pem.encode("ascii"))
        except Exception:
            raise KeyInvalid("it is no public key in PEM (-----BEGIN PUBLIC KEY-----)") from None
        if not isinstance(key, Ed25519PublicKey):
            raise KeyInvalid(f"it is a key of another kind than Ed25519: {type(key).__name__}")
        return key

    @classmethod
    def parse(cls, pem: bytes) -> PublicKey:
        """Raises KeyInvalid."""
        if len(pem) > MAX_PEM:
            raise KeyInvalid("it is too long for a key")
        try:
            found = cls(pem.decode("ascii").strip() + "\n")
        except UnicodeDecodeError:
            raise KeyInvalid("it is no PEM") from None
        return cls(found._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())

    def verifies(self, signature: bytes, signed: bytes) -> bool:
        try:
            self._key.verify(signature, signed)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class SigningKey:
    """An installation's private key. Its ``repr`` shows the public part alone."""

    _key: Ed25519PrivateKey

    @classmethod
    def generate(cls) -> SigningKey:
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def parse(cls, pem: bytes) -> SigningKey:
        """Of PKCS#8 in PEM, without a passphrase (``openssl genpkey -algorithm ed25519``). Raises KeyInvalid."""
        if len(pem) > MAX_PEM:
            raise KeyInvalid("it is too long for a key")
        try:
            key = load_pem_private_key(pem, password=None)
        except TypeError:
            raise KeyInvalid("it is encrypted with a passphrase") from None
        except Exception:
            raise KeyInvalid("it is no private key in PEM (-----BEGIN PRIVATE KEY-----)") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyInvalid(f"it is a key of another kind than Ed25519: {type(key).__name__}")
        return cls(key)

    def pem(self) -> bytes:
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def public(self) -> PublicKey:
        return PublicKey(self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())

    def sign(self, signed: bytes) -> bytes:
        return self._key.sign(signed)

    def __repr__(self) -> str:
        return f"SigningKey({self.public.key_id})"


def sign(document: Document, key: SigningKey) -> bytes:
    """The file: ``document`` with its signature, in canonical form."""
    return canonical.dumps({**document.as_dict(), "signature": signature_of(document, key).model_dump()})


def signature_of(document: Document, key: SigningKey) -> Signature:
    """The same each time: Ed25519 has no randomness in it."""
    signed = canonical.dumps(document.as_dict())
    value = base64.b64encode(key.sign(signed)).decode()
    return Signature(algorithm="Ed25519", key_id=key.public.key_id, digest=sha256(signed), value=value)


def signed_part(content: dict[str, Any]) -> bytes:
    """The bytes that the signature of a document is of."""
    return canonical.dumps({name: value for name, value in content.items() if name != "signature"})


def decoded(value: str) -> bytes | None:
    """The signature's bytes; None unless ``value`` is the one Base64 form of 64 bytes."""
    try:
        found = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    return found if len(found) == 64 and base64.b64encode(found).decode() == value else None


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
