"""Where quotas are asked, and the boto3 clients that ask."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from components.account import Account
from provisioner.quotas.errors import QuotasUnavailable
from provisioner.quotas.table import Quota, Scope

#: Where the quotas that all Regions of a partition share are managed: IAM's and S3's.
HOME_REGIONS = {"aws": "us-east-1", "aws-us-gov": "us-gov-west-1", "aws-cn": "cn-north-1"}

_DENIED = frozenset(
    {
        *("AccessDenied", "AccessDeniedException", "AuthorizationError", "AuthorizationErrorException"),
        *("UnauthorizedOperation", "DependencyAccessDeniedException", "InvalidClientTokenId", "OptInRequired"),
        *("UnrecognizedClientException", "AuthFailure", "SubscriptionRequiredException"),
    }
)


@dataclass(frozen=True)
class Place:
    """An account and Region: those of a cell. ``ValueError`` for what is neither."""

    account_id: str
    region: str

    def __post_init__(self) -> None:
        Account(self.account_id, self.region)

    @property
    def home_region(self) -> str:
        return HOME_REGIONS[Account(self.account_id, self.region).partition]

    def region_of(self, quota: Quota) -> str:
        """Where Service Quotas manages ``quota``."""
        return self.home_region if quota.scope is Scope.ACCOUNT else self.region


class AwsClients(Protocol):
    """boto3 clients of one account's credentials. Called from several threads."""

    def __call__(self, service: str, region: str, /) -> Any: ...


class Boto3Clients:
    """``AwsClients`` over boto3's default credential chain, one client a service and Region: making one is slow."""

    def __init__(self) -> None:
        self._clients: dict[tuple[str, str], Any] = {}
        self._session: Any = None
        self._lock = threading.Lock()

    def __call__(self, service: str, region: str, /) -> Any:
        import boto3
        from botocore.config import Config

        with self._lock:
            key = (service, region)
            if key not in self._clients:
                # One session for all: what it parses for one client, the next one needs too.
                self._session = self._session or boto3.session.Session()
                self._clients[key] = self._session.client(
                    service,
                    region_name=region,
                    config=Config(
                        connect_timeout=2,
                        read_timeout=10,
                        retries={"total_max_attempts": 4, "mode": "standard"},
                    ),
                )
            return self._clients[key]


def caller_place(clients: AwsClients, region: str) -> Place:
    """The place of the credentials in use, for a stack whose account nobody recorded yet. Raises QuotasUnavailable."""
    try:
        return Place(str(clients("sts", region).get_caller_identity()["Account"]), region)
    except (ClientError, BotoCoreError) as error:
        raise QuotasUnavailable(
            f"which AWS account this is could not be asked: sts:GetCallerIdentity: {error_code(error)}",
            hint="check the worker's AWS credentials",
        ) from error


def error_code(error: ClientError | BotoCoreError) -> str:
    """AWS's own code, or the name of what kept it from answering."""
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else type(error).__name__


def is_denied(error: ClientError | BotoCoreError) -> bool:
    """Whether asking again can't help: the credentials are not allowed to."""
    return isinstance(error, ClientError) and error_code(error) in _DENIED
