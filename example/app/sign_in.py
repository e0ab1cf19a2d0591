"""Who asks: a token that this application signed when its user signed in, tenant included: a client can't choose.

Any other sign-in does as well (an identity provider's JWT, a session in a store), as long as it is verified here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import asdict, dataclass

from tenantry.asgi import Scope

LIFETIME = 8 * 3600  #: seconds


@dataclass(frozen=True)
class User:
    tenant_id: str
    name: str


class SignIn:
    """``key``: at least 32 secret bytes, the same in every process of the application."""

    def __init__(self, key: bytes) -> None:
        if len(key) < 32:
            raise ValueError("the signing key has fewer than 32 bytes")
        self._key = key

    def token(self, user: User, *, now: float | None = None) -> str:
        """A bearer token good for ``LIFETIME``; issued when the user's password (or whatever it is) was checked."""
        expiry = int(time.time() if now is None else now) + LIFETIME
        payload = base64.urlsafe_b64encode(json.dumps({**asdict(user), "expiry": expiry}).encode())
        return f"{payload.decode()}.{self._signature(payload)}"

    def user(self, token: str) -> User | None:
        """The user of a token that was signed with the key and has not expired."""
        payload, _, signature = token.partition(".")
        try:
            if not hmac.compare_digest(self._signature(payload.encode()).encode(), signature.encode()):
                return None
            claims = json.loads(base64.urlsafe_b64decode(payload))
            return User(claims["tenant_id"], claims["name"]) if claims["expiry"] > time.time() else None
        except ValueError:
            return None

    def of_request(self, scope: Scope) -> User | None:
        """The user that an ASGI request's ``Authorization`` header proves."""
        for name, value in scope["headers"]:
            if name == b"authorization":
                scheme, _, token = value.decode("latin-1").partition(" ")
                return self.user(token.strip()) if scheme.lower() == "bearer" else None
        return None

    def _signature(self, payload: bytes) -> str:
        return hmac.new(self._key, payload, hashlib.sha256).hexdigest()
