"""Client of the local Stripe's control paths: time, faults, redelivery. Stripe itself has no API for them."""

from __future__ import annotations

from typing import Any

import httpx

from provisioner.errors import NotFound, Reject, RetryLater

TIMEOUT_S = 120.0


class LocalControl:
    def __init__(self, api_base: str | None, api_key: str) -> None:
        if api_base is None:
            raise Reject(
                "TENANTRY_STRIPE_API_BASE is not set: Stripe itself can't be told this",
                hint='Use the local Stripe: tenantry local up, then eval "$(tenantry local env)"',
            )
        self._base = api_base.rstrip("/")
        self._headers = {"Authorization": f"Bearer {api_key}"}

    def get(self, path: str) -> dict[str, Any]:
        return self._ask("GET", path, None)

    def post(self, path: str, document: dict[str, Any]) -> dict[str, Any]:
        return self._ask("POST", path, document)

    def _ask(self, method: str, path: str, document: dict[str, Any] | None) -> dict[str, Any]:
        try:
            response = httpx.request(
                method, self._base + path, headers=self._headers, json=document, timeout=TIMEOUT_S, trust_env=False
            )
            answer: dict[str, Any] = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise RetryLater(
                f"the local Stripe at {self._base} does not answer ({type(error).__name__})",
                hint="tenantry local status",
            ) from None
        if response.is_success:
            return answer
        message = answer.get("error", {}).get("message", f"status {response.status_code}")
        if response.status_code == 404:
            raise NotFound(f"the local Stripe: {message}")
        raise Reject(f"the local Stripe refused: {message}")
