"""/v1/webhook_endpoints"""

from __future__ import annotations

import re
import secrets
from typing import Any

from localcloud.stripe.account import API_VERSION, Account
from localcloud.stripe.errors import invalid
from localcloud.stripe.fields import assign, deleted, merge_metadata
from localcloud.stripe.ids import new_id
from localcloud.stripe.lists import page
from localcloud.stripe.routing import PAGING, route
from localcloud.stripe.store import Object


@route(
    "POST",
    "/v1/webhook_endpoints",
    "WebhookEndpointCreateParams",
    "api_version description enabled_events metadata url",
)
def create(account: Account, params: dict[str, Any]) -> Object:
    version = params.get("api_version")
    if version not in (None, API_VERSION):
        raise invalid(f"This server renders events in API version {API_VERSION} only", param="api_version")
    secret = "whsec_" + secrets.token_hex(16)
    endpoint = add_endpoint(account, _url(params["url"]), secret, params["enabled_events"], version)
    endpoint["metadata"] = merge_metadata({}, params.get("metadata"))
    assign(endpoint, params, "description")
    return {**endpoint, "secret": secret}


def add_endpoint(
    account: Account, url: str, secret: str, enabled_events: list[str], version: str | None = None
) -> Object:
    """Store an endpoint; its secret is kept apart, since the API shows it once only."""
    endpoint = account.store.add(
        {
            "id": new_id("webhook_endpoint"),
            "object": "webhook_endpoint",
            "api_version": version,
            "application": None,
            "created": account.now(),
            "description": None,
            "enabled_events": list(enabled_events),
            "livemode": False,
            "metadata": {},
            "status": "enabled",
            "url": url,
        }
    )
    account.store.add({"object": "_endpoint_secret", "id": endpoint["id"], "secrets": [secret]})
    return endpoint


def _url(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", value):
        raise invalid("Invalid URL: URL must be publicly accessible and start with http:// or https://", param="url")
    return value


@route("GET", "/v1/webhook_endpoints/{endpoint}", "WebhookEndpointRetrieveParams")
def retrieve(account: Account, params: dict[str, Any], endpoint: str) -> Object:
    return account.find("webhook_endpoint", endpoint, noun="webhook endpoint")


@route(
    "POST",
    "/v1/webhook_endpoints/{endpoint}",
    "WebhookEndpointUpdateParams",
    "description disabled enabled_events metadata url",
)
def update(account: Account, params: dict[str, Any], endpoint: str) -> Object:
    found = account.store.edit(account.find("webhook_endpoint", endpoint, noun="webhook endpoint"))
    assign(found, params, "description", "enabled_events")
    if "url" in params:
        found["url"] = _url(params["url"])
    if "disabled" in params:
        found["status"] = "disabled" if params["disabled"] else "enabled"
    found["metadata"] = merge_metadata(found["metadata"], params.get("metadata"))
    return found


@route("DELETE", "/v1/webhook_endpoints/{endpoint}", "WebhookEndpointDeleteParams")
def delete(account: Account, params: dict[str, Any], endpoint: str) -> Object:
    found = account.find("webhook_endpoint", endpoint, noun="webhook endpoint")
    account.store.remove(found)
    account.store.remove(account.find("_endpoint_secret", endpoint))
    for record in account.store.all("_delivery"):
        if record["endpoint"] == endpoint:
            account.store.remove(record)
    return deleted(found)


@route("GET", "/v1/webhook_endpoints", "WebhookEndpointListParams", PAGING)
def list_all(account: Account, params: dict[str, Any]) -> Object:
    return page(account, "webhook_endpoint", params, "/v1/webhook_endpoints")
