"""Client of the local mail server's list of messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from provisioner.errors import NotFound, Reject, RetryLater

TIMEOUT_S = 10.0


@dataclass(frozen=True, repr=False)
class LocalMailbox:
    base: str
    password: str

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> LocalMailbox:
        """``Reject`` when the environment is not that of a local cloud."""
        base, password = environ.get("TENANTRY_LOCAL_MAIL"), environ.get("TENANTRY_SMTP_PASSWORD")
        if not base or not password:
            raise Reject(
                "this shell does not point at a local cloud with a mail server",
                hint='tenantry local up, then eval "$(tenantry local env)"',
            )
        return cls(base.rstrip("/"), password)

    def messages(self, recipient: str | None = None) -> list[dict[str, Any]]:
        """Newest first: number, at, sender, recipients, subject, message_id."""
        found: list[dict[str, Any]] = self._ask("GET", "/messages", {"recipient": recipient} if recipient else {})[
            "messages"
        ]
        return found

    def message(self, number: int) -> dict[str, Any]:
        """With headers, text and html."""
        return self._ask("GET", f"/messages/{number}", {})

    def clear(self) -> None:
        self._ask("DELETE", "/messages", {})

    def _ask(self, method: str, path: str, query: dict[str, str]) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.password}"}
        try:
            response = httpx.request(
                method, self.base + path, headers=headers, params=query, timeout=TIMEOUT_S, trust_env=False
            )
            answer: dict[str, Any] = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise RetryLater(
                f"the local mail server does not answer ({type(error).__name__})", hint="tenantry local status"
            ) from None
        if response.is_success:
            return answer
        message = answer.get("error", {}).get("message", f"status {response.status_code}")
        raise NotFound(str(message)) if response.status_code == 404 else Reject(f"the local mail server: {message}")
