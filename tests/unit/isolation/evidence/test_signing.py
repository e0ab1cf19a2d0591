"""Keys in every form they are handed over in."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from isolation.evidence.signing import KeyInvalid, PublicKey, SigningKey, sign, signed_part
from tests.unit.isolation.evidence.documents import attempt, document


def test_a_key_survives_its_pem_and_shows_nothing_of_it() -> None:
    key = SigningKey.generate()
    again = SigningKey.parse(key.pem())
    assert again.public.key_id == key.public.key_id
    assert PublicKey.parse(key.public.pem.encode()) == key.public
    secret = key.pem().decode().splitlines()[1]
    assert secret not in repr(key)


def test_the_same_document_has_the_same_bytes_whoever_writes_it() -> None:
    key = SigningKey.generate()
    assert sign(document(), key) == sign(document(), SigningKey.parse(key.pem()))


@pytest.mark.parametrize("parse", [SigningKey.parse, PublicKey.parse])
def test_other_kinds_of_keys_are_refused_by_name(parse: type) -> None:
    other = generate_private_key(SECP256R1())
    private = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for pem in (b"", b"nonsense", b"\xff", b"x" * 20_000, private, public):
        with pytest.raises(KeyInvalid):
            parse(pem)


def test_an_encrypted_key_is_refused_with_the_reason() -> None:
    other = generate_private_key(SECP256R1())
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    with pytest.raises(KeyInvalid, match="passphrase"):
        SigningKey.parse(pem)


def test_openssl_and_the_standard_library_agree_as_the_guide_for_auditors_says(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    assert openssl is not None, "install openssl"
    key = SigningKey.generate()
    content = json.loads(sign(document([attempt(actual="ok: Zürich \x7f \N{GRINNING FACE}")]), key))
    signature = content.pop("signature")
    # what any language does: no library of ours
    signed = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert signed == signed_part({**content, "signature": signature})
    assert signature["digest"] == f"sha256:{hashlib.sha256(signed).hexdigest()}"
    for name, data in (("signed", signed), ("sig", base64.b64decode(signature["value"]))):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "key.pem").write_text(key.public.pem)
    der = subprocess.run(
        [openssl, "pkey", "-pubin", "-in", tmp_path / "key.pem", "-outform", "DER"], capture_output=True, check=True
    ).stdout
    assert key.public.key_id == f"sha256:{hashlib.sha256(der).hexdigest()}"
    command = [
        openssl,
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        "key.pem",
        "-rawin",
        "-in",
        "signed",
        "-sigfile",
        "sig",
    ]
    assert b"Verified Successfully" in subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout
    (tmp_path / "signed").write_bytes(signed + b" ")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode != 0
