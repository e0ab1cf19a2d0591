"""The broker as anybody can ask it over HTTP: with the application's token, another, or none."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import httpx

from isolation.attempts import Answer
from tenantry import Config
from tenantry.broker import DATABASE, DatabaseCredentials


class Broker:
    """One HTTP client for a whole proof. ``config``: the SDK's, which says where the broker is."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._client = httpx.Client(base_url=config.api_url, timeout=config.broker_timeout)
        self._issued: dict[str, DatabaseCredentials] = {}
        self._own: dict[str, Answer] = {}

    def ask(self, body: dict[str, Any], *, token: str | None) -> Answer:
        """``ok`` if a login is issued, else the HTTP status."""
        try:
            answer = self._post(body, token)
        except httpx.HTTPError as error:
            return Answer(type(error).__name__, "the broker did not answer")
        if answer.status_code == 200:
            return Answer("ok", f"the broker issued login {answer.json()['username']}")
        try:
            return Answer(str(answer.status_code), str(answer.json()["error"]["code"]))
        except (ValueError, KeyError, TypeError):
            return Answer(str(answer.status_code))

    def request(self, method: str, path: str, *, token: str | None, **options: Any) -> httpx.Response:
        """Anything of the service, with a bearer token or none. Raises ``httpx.HTTPError``."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self._client.request(method, path, headers={**headers, **options.pop("headers", {})}, **options)

    @property
    def application_token(self) -> str:
        return self._config.application_token

    def as_application(self, body: dict[str, Any]) -> Answer:
        """``ask`` with the application's own token."""
        return self.ask(body, token=self._config.application_token)

    def own(self, tenant_id: str) -> Answer:
        """A tenant's own login, asked for as its application does: once a proof, being the twin of many attacks."""
        if tenant_id not in self._own:
            self._own[tenant_id] = self.as_application({"tenant_id": tenant_id})
        return self._own[tenant_id]

    def credentials(self, tenant_id: str) -> DatabaseCredentials:
        """A tenant's own, as its application gets them; kept. Raises ``httpx.HTTPError`` and ``ValueError``."""
        if tenant_id not in self._issued:
            self._issued[tenant_id] = self._ask_for(tenant_id)
        return self._issued[tenant_id]

    def _ask_for(self, tenant_id: str) -> DatabaseCredentials:
        answer = self._post({"tenant_id": tenant_id}, self._config.application_token)
        if answer.status_code != 200:
            raise ValueError(f"the broker answered {answer.status_code} to tenant {tenant_id}")
        return DatabaseCredentials.parse(answer.json())

    def _post(self, body: dict[str, Any], token: str | None) -> httpx.Response:
        return self.request("POST", DATABASE, token=token, json=body)

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Broker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
