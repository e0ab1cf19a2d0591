"""What a provider resource's configuration becomes: AWS clients of one account, shared by all threads."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from providers.base import UNKNOWN, CheckFailed, Properties, has_unknown

_REGION_DEFAULT = "us-east-1"
#: configuration of `pulumi_aws.Provider` that means something on a laptop
SUPPORTED = frozenset(
    {"region", "accessKey", "secretKey", "token", "profile", "endpoints", "defaultTags", "ignoreTags"}
)
#: configuration that turns off things a local cloud does not do anyway
IGNORED = frozenset(
    {
        "skipCredentialsValidation",
        "skipMetadataApiCheck",
        "skipRegionValidation",
        "skipRequestingAccountId",
        "s3UsePathStyle",
        "maxRetries",
        "retryMode",
        "allowedAccountIds",
        "forbiddenAccountIds",
        "useDualstackEndpoint",
        "useFipsEndpoint",
        "stsRegion",
        "assumeRoles",
        "insecure",
        "userAgents",
    }
)
# Creating a client parses the service's model (33-45 ms): one for each endpoint, credentials, region and service.
_clients: dict[tuple[Any, ...], Any] = {}
_clients_lock = threading.Lock()


@dataclass(frozen=True)
class Aws:
    """One account and region, with the provider's default tags. Immutable; clients are cached process-wide."""

    region: str = _REGION_DEFAULT
    endpoint: str | None = None
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    default_tags: Mapping[str, str] = field(default_factory=dict)
    #: where handlers keep what moto does not (the servers behind RDS instances); None in unit tests
    data_dir: Path | None = None

    def client(self, service: str) -> Any:
        key = (service, self.region, self.endpoint, self.access_key, self.secret_key, self.session_token)
        client = _clients.get(key)
        if client is None:
            with _clients_lock:  # botocore's sessions are not safe to create clients from in parallel
                client = _clients.get(key)
                if client is None:
                    client = _clients[key] = self._create_client(service)
        return client

    def _create_client(self, service: str) -> Any:
        session = boto3.session.Session(
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            aws_session_token=self.session_token,
            region_name=self.region,
        )
        config = Config(
            retries={"mode": "standard", "max_attempts": 3},
            max_pool_connections=64,
            s3={"addressing_style": "path"},
            connect_timeout=5,
        )
        return session.client(service, endpoint_url=self.endpoint, config=config)  # type: ignore[call-overload]

    def at(self, region: Any) -> Aws:
        """The same account in the region that a resource names (``region`` of every regional resource)."""
        if not isinstance(region, str) or region == self.region:
            return self
        return replace(self, region=region)

    @property
    def account_id(self) -> str:
        """The caller's account: one STS call for each set of credentials."""
        key = ("account", self.endpoint, self.access_key, self.secret_key, self.session_token)
        account = _clients.get(key)
        if account is None:
            account = _clients[key] = str(self.client("sts").get_caller_identity()["Account"])
        return str(account)

    def arn(self, service: str, resource: str, *, region: bool = True, account: bool = True) -> str:
        return ":".join(
            (
                "arn",
                partition(self.region),
                service,
                self.region if region else "",
                self.account_id if account else "",
                resource,
            )
        )


def partition(region: str) -> str:
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def forget_clients() -> None:
    """Drop every cached client: for tests that run with an in-process `mock_aws` each."""
    with _clients_lock:
        _clients.clear()


def check_config(config: Properties) -> Properties:
    failures = [
        (key, "is not supported by the local cloud")
        for key in config
        if key not in SUPPORTED | IGNORED and not key.startswith("__")
    ]
    region = config.get("region")
    if region is not UNKNOWN and region is not None and not _known_region(str(region)):
        failures.append(("region", f"{region!r} is no AWS region"))
    if failures:
        raise CheckFailed(failures)
    return config


def _known_region(region: str) -> bool:
    session = boto3.session.Session()
    return any(
        region in session.get_available_regions("ec2", partition_name=p) for p in session.get_available_partitions()
    )


def configure(config: Properties, endpoint: str | None = None, data_dir: Path | None = None) -> Aws:
    """The clients for a provider resource. ``endpoint`` is the server's default; the configuration may override it."""
    endpoints = config.get("endpoints") or []
    overrides = {url for entry in endpoints for url in entry.values() if isinstance(url, str)}
    if len(overrides) > 1:
        raise CheckFailed([("endpoints", "the local cloud has one endpoint for all services")])
    default_tags = config.get("defaultTags") or {}
    tags = default_tags.get("tags", {}) if isinstance(default_tags, Mapping) else {}
    if has_unknown(tags):
        tags = {}
    return Aws(
        region=str(
            config.get("region")
            or os.environ.get("AWS_REGION")
            or os.environ.get("AWS_DEFAULT_REGION")
            or _REGION_DEFAULT
        ),
        endpoint=next(iter(overrides), None) or endpoint,
        access_key=str(config.get("accessKey") or os.environ.get("AWS_ACCESS_KEY_ID") or "tenantry-local"),
        secret_key=str(config.get("secretKey") or os.environ.get("AWS_SECRET_ACCESS_KEY") or "tenantry-local"),
        session_token=config.get("token") or os.environ.get("AWS_SESSION_TOKEN"),
        default_tags={str(k): _tag_text(v) for k, v in tags.items()},
        data_dir=data_dir,
    )


def _tag_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
