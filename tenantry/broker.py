"""The credential broker's client, and a cache of what it issued that asks again before it expires. Sync and async."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

import httpx

from tenantry.config import Config
from tenantry.errors import BrokerUnavailable, ConfigurationInvalid, TenantryError, TenantSuspended, UnknownTenant
from tenantry.placement import WRITING

DATABASE = "/v1/broker/database"
AWS = "/v1/broker/aws"


@dataclass(frozen=True)
class DatabaseCredentials:
    """``expires_at`` in Unix seconds."""

    username: str
    password: str = field(repr=False)
    token: str | None = field(repr=False)
    epoch: int
    expires_at: float
    access: str = "full"  #: what they were issued for; a service of an earlier release issues them for nothing else

    @property
    def writes(self) -> bool:
        return self.access in WRITING

    @classmethod
    def parse(cls, body: dict[str, Any]) -> DatabaseCredentials:
        return cls(
            body["username"],
            body["password"],
            body["token"],
            int(body["epoch"]),
            _unix(body["expires_at"]),
            str(body.get("access", "full")),
        )


@dataclass(frozen=True)
class AwsCredentials:
    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires_at: float

    @classmethod
    def parse(cls, body: dict[str, Any]) -> AwsCredentials:
        return cls(body["access_key_id"], body["secret_access_key"], body["session_token"], _unix(body["expires_at"]))


T = TypeVar("T", DatabaseCredentials, AwsCredentials)


def _unix(text: str) -> float:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without its zone")
    return moment.timestamp()


def _unanswered(error: httpx.HTTPError) -> BrokerUnavailable:
    return BrokerUnavailable(f"the broker did not answer: {type(error).__name__}", hint="try again")


def _parsed(tenant_id: str, response: httpx.Response, parse: Callable[[dict[str, Any]], T]) -> T:
    if response.status_code == 200:
        try:
            return parse(response.json())
        except (ValueError, KeyError, TypeError):
            # not chained: the parser's error quotes the body, which holds secrets
            raise BrokerUnavailable(
                "the broker's answer is not understood", hint="are the SDK and the service of one release?"
            ) from None
    raise _refusal(tenant_id, response)


def _refusal(tenant_id: str, response: httpx.Response) -> TenantryError:
    code, status = _code(response), response.status_code
    if status == 404 and code == "unknown_tenant":
        return UnknownTenant(f"no tenant {tenant_id!r} stands", hint="check the id")
    if status == 403:
        said = _message(response)
        return TenantSuspended(
            f"access of tenant {tenant_id!r} is withdrawn ({code}{': ' + said if said else ''})",
            hint="its subscription decides",
        )
    if status == 401:
        return ConfigurationInvalid("the broker refused the application token", hint="set TENANTRY_APPLICATION_TOKEN")
    if 400 <= status < 500 and status not in (408, 429):
        return ConfigurationInvalid(f"the broker refused the request: {status} {code}", hint="check TENANTRY_API_URL")
    return BrokerUnavailable(f"the broker failed: {status} {code}", hint="try again")


def _message(response: httpx.Response) -> str:
    """The service's own words about a tenant, cut short: they end in an error's text."""
    try:
        return str(response.json()["error"]["message"])[:200]
    except (ValueError, KeyError, TypeError):
        return ""


def _code(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return "no code"


class BrokerClient:
    """Thread-safe. Raises UnknownTenant, TenantSuspended, BrokerUnavailable, ConfigurationInvalid."""

    def __init__(self, config: Config, transport: httpx.BaseTransport | None = None) -> None:
        self._client = httpx.Client(
            base_url=config.api_url,
            timeout=config.broker_timeout,
            headers={"Authorization": f"Bearer {config.application_token}"},
            transport=transport or httpx.HTTPTransport(retries=1),
        )

    def database(self, tenant_id: str, *, fresh: bool = False) -> DatabaseCredentials:
        body = {"tenant_id": tenant_id} | ({"fresh": True} if fresh else {})
        return self._post(DATABASE, tenant_id, body, DatabaseCredentials.parse)

    def aws(self, tenant_id: str) -> AwsCredentials:
        return self._post(AWS, tenant_id, {"tenant_id": tenant_id}, AwsCredentials.parse)

    def _post(self, path: str, tenant_id: str, body: dict[str, Any], parse: Callable[[dict[str, Any]], T]) -> T:
        try:
            response = self._client.post(path, json=body)
        except httpx.HTTPError as error:
            raise _unanswered(error) from error
        return _parsed(tenant_id, response, parse)

    def close(self) -> None:
        self._client.close()


class AsyncBrokerClient:
    def __init__(self, config: Config, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._client = httpx.AsyncClient(
            base_url=config.api_url,
            timeout=config.broker_timeout,
            headers={"Authorization": f"Bearer {config.application_token}"},
            transport=transport or httpx.AsyncHTTPTransport(retries=1),
        )

    async def database(self, tenant_id: str, *, fresh: bool = False) -> DatabaseCredentials:
        body = {"tenant_id": tenant_id} | ({"fresh": True} if fresh else {})
        try:
            response = await self._client.post(DATABASE, json=body)
        except httpx.HTTPError as error:
            raise _unanswered(error) from error
        return _parsed(tenant_id, response, DatabaseCredentials.parse)

    async def close(self) -> None:
        await self._client.aclose()


class CredentialCache(Generic[T]):
    """What was issued last, by tenant. Thread-safe, no I/O.

    ``wanted`` is None where new ones are due: five minutes before they expire, so that a transaction that begins
    has that long. ``usable`` still gives the old ones while the broker is down, until half a minute before the end.
    """

    EARLY = 300.0
    LATE = 30.0

    def __init__(self, size: int = 100_000, clock: Callable[[], float] = time.time) -> None:
        self._size = size
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, T] = OrderedDict()

    def wanted(self, tenant_id: str) -> T | None:
        return self._younger(tenant_id, self.EARLY)

    def usable(self, tenant_id: str) -> T | None:
        return self._younger(tenant_id, self.LATE)

    def _younger(self, tenant_id: str, margin: float) -> T | None:
        with self._lock:
            found = self._entries.get(tenant_id)
            if found is None or found.expires_at - self._clock() <= margin:
                return None
            self._entries.move_to_end(tenant_id)
            return found

    def put(self, tenant_id: str, issued: T) -> None:
        with self._lock:
            self._entries[tenant_id] = issued
            self._entries.move_to_end(tenant_id)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)

    def forget(self, tenant_id: str) -> None:
        with self._lock:
            self._entries.pop(tenant_id, None)
