"""The credential broker: the only part that may choose a tenant, so that nothing an application sends can.

An application names a tenant; the broker finds its placement on the server and issues what that placement
allows, for 15 minutes: the login of its database with, in the pool, an entry token, and AWS credentials whose
session carries the tag ``tenant_id``. Access is checked at every request, whatever is cached.

The tag is transitive: a role assumed with the issued credentials keeps it and can't choose another
(``docs/decisions/0013-broker-sessions.md``).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from botocore.exceptions import BotoCoreError, ClientError

from components.documents import READ_ONLY_SESSION, SESSION_POLICY_LIMIT, to_json
from components.spec import TENANT_ID, Access
from provisioner.errors import NotFound, OperatorNeeded, Reject, RetryLater
from provisioner.expiring import ExpiringCache

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sts import STSClient

LIFETIME = 900  #: seconds a token and an AWS session are good for; also AssumeRole's minimum
SESSION_TAG = "tenant_id"
READ_ONLY_MODE = "r"  #: behind the epoch of an entry token: the pool's policies refuse what writes

log = structlog.get_logger(__name__)


class UnknownTenant(NotFound):
    """No such tenant stands."""

    code = "unknown_tenant"


class TenantSuspended(Reject):
    """The tenant may not even read."""

    code = "tenant_suspended"


class BrokerUnavailable(RetryLater):
    """AWS did not answer, throttled the call, or a secret has no value yet."""

    code = "broker_unavailable"


class BrokerMisconfigured(OperatorNeeded):
    """A secret or a role that the placement names is missing, malformed, or closed to the broker."""

    code = "broker_misconfigured"


@dataclass(frozen=True)
class BrokerPlacement:
    """What the broker must know of a tenant; read on the server, never taken from a request."""

    tenant_id: str
    generation: int
    epoch: int
    access: str
    region: str
    login_secret_arn: str
    token_secret_arn: str | None  #: the pool's HMAC key; None where the tenant has a login of its own
    role_arn: str
    access_reason: str | None = None  #: ``provisioner.billing.verdict.Reason``
    access_since: datetime | None = None

    @property
    def known_access(self) -> Access:
        """What access means to an older release is not guessed: one that it does not know is closed."""
        return Access(self.access) if self.access in _ACCESS else Access.SUSPENDED


_ACCESS = frozenset(Access)


class PlacementSource(Protocol):
    """Reads one tenant's present placement; None when no such tenant stands. Called from several threads."""

    def __call__(self, tenant_id: str, /) -> BrokerPlacement | None: ...


class AwsClients(Protocol):
    """The two boto3 clients of a region. Called from several threads."""

    def sts(self, region: str) -> STSClient: ...

    def secretsmanager(self, region: str) -> SecretsManagerClient: ...


@dataclass(frozen=True)
class DatabaseCredentials:
    """``token`` is set in the pool only; ``expires_at`` is when to ask again. ``access``: what they were issued for."""

    username: str
    password: str = field(repr=False)
    token: str | None = field(repr=False)
    epoch: int
    expires_at: datetime
    access: Access = Access.FULL


@dataclass(frozen=True)
class AwsCredentials:
    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires_at: datetime


def entry_token(key: bytes, tenant_id: str, epoch: int, expiry: int, *, writes: bool = True) -> str:
    """The pool entry token that ``tenantry.current_tenant()`` verifies (``docs/architecture.md``).

    One of a tenant that may only read says so. One without a mode is what it was before there was any, so that
    applications and pools of either release understand each other: an old pool refuses the mode, and so the tenant.
    """
    counted = f"{epoch}{'' if writes else READ_ONLY_MODE}"
    signature = hmac.new(key, f"{tenant_id}|{counted}|{expiry}".encode(), hashlib.sha256).hexdigest()
    return f"{expiry}.{counted}.{signature}"


class ApplicationTokens:
    """The bearer tokens that may use the broker. Comparing takes the same time whichever matches, or none."""

    def __init__(self, tokens: Iterable[str]) -> None:
        self._digests = [hashlib.sha256(token.encode()).digest() for token in tokens if token]

    def accept(self, presented: str) -> bool:
        digest = hashlib.sha256(presented.encode("utf-8", "surrogateescape")).digest()
        found = False
        for known in self._digests:
            found |= hmac.compare_digest(known, digest)
        return found


class Broker:
    """Issues credentials for one tenant at a time. Thread-safe; every method may call AWS.

    ``secret_ttl``: seconds a secret's value is kept. A rotated secret is seen after that, or at once when a
    caller whose credentials failed asks with ``fresh`` (which re-reads a secret at most once a second).
    """

    def __init__(
        self,
        placements: PlacementSource,
        aws: AwsClients,
        *,
        secret_ttl: float = 30.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._placements = placements
        self._aws = aws
        self._clock = clock
        self._secrets: ExpiringCache[tuple[str, str], dict[str, Any]] = ExpiringCache(1024, clock=clock)
        self._sessions: ExpiringCache[tuple[object, ...], AwsCredentials] = ExpiringCache(4096, clock=clock)
        self._secret_ttl = secret_ttl

    def database(self, tenant_id: str, *, fresh: bool = False) -> DatabaseCredentials:
        """The tenant's login and, in the pool, an entry token.

        Raises UnknownTenant, TenantSuspended, BrokerUnavailable or BrokerMisconfigured.
        """
        placement = self._admit(tenant_id)
        expiry = int(self._clock()) + LIFETIME
        login = self._secret(placement, placement.login_secret_arn, fresh=fresh)
        username, password = login.get("username"), login.get("password")
        if not isinstance(username, str) or not isinstance(password, str):
            raise BrokerMisconfigured(
                f"secret {placement.login_secret_arn} has no username and password",
                hint=f"reconcile the stack of tenant {tenant_id}",
            )
        token = None
        if placement.token_secret_arn is not None:
            key = self._token_key(placement, placement.token_secret_arn, fresh=fresh)
            writes = placement.known_access.writes
            token = entry_token(key, placement.tenant_id, placement.epoch, expiry, writes=writes)
        access = placement.known_access
        log.info("broker.database", tenant_id=tenant_id, epoch=placement.epoch, expiry=expiry, access=access)
        expires_at = datetime.fromtimestamp(expiry, UTC)
        return DatabaseCredentials(username, password, token, placement.epoch, expires_at, access)

    def aws(self, tenant_id: str) -> AwsCredentials:
        """AWS credentials of the tenant's role, tagged ``tenant_id``; good for 10 to 15 minutes.

        A session issued less than five minutes ago for the same placement is given out again, so that many
        processes of an application don't exhaust STS's request quota. Raises what ``database`` raises.

        Those of a tenant that may only read are good for nothing else, whatever its role allows: a role that tenants
        share can't tell them apart. Sessions from before end within their 15 minutes; an own role refuses them at once.
        """
        placement = self._admit(tenant_id)
        writes = placement.known_access.writes
        key = (placement.tenant_id, placement.generation, placement.epoch, placement.role_arn, writes)
        return self._sessions.get(key, LIFETIME / 3, lambda: self._assume(placement))

    def _admit(self, tenant_id: str) -> BrokerPlacement:
        # an id that can't exist is not looked up: what PostgreSQL refuses to take as text must not become an error
        placement = self._placements(tenant_id) if TENANT_ID.fullmatch(tenant_id) else None
        if placement is None:
            raise UnknownTenant(f"no tenant {tenant_id!r} stands", hint="check the id; `tenantry tenants list` has all")
        if not placement.known_access.serves:
            log.info("broker.refused", tenant_id=placement.tenant_id, access=placement.access)
            raise TenantSuspended(
                f"the access of tenant {placement.tenant_id!r} is {placement.access!r}{_because(placement)}",
                hint=f"{_WAY_BACK.get(placement.known_access, '')}`tenantry explain` tells more",
            )
        return placement

    def _assume(self, placement: BrokerPlacement) -> AwsCredentials:
        narrowed: dict[str, Any] = {} if placement.known_access.writes else {"Policy": _READ_ONLY_SESSION}
        try:
            answer = self._aws.sts(placement.region).assume_role(
                RoleArn=placement.role_arn,
                RoleSessionName=f"tenantry-{placement.tenant_id}",
                DurationSeconds=LIFETIME,
                Tags=[{"Key": SESSION_TAG, "Value": placement.tenant_id}],
                TransitiveTagKeys=[SESSION_TAG],
                **narrowed,
            )
        except (ClientError, BotoCoreError) as error:
            raise _translated(error, f"role {placement.role_arn} could not be assumed") from error
        issued = answer["Credentials"]
        log.info("broker.aws", tenant_id=placement.tenant_id, role_arn=placement.role_arn)
        return AwsCredentials(
            issued["AccessKeyId"], issued["SecretAccessKey"], issued["SessionToken"], issued["Expiration"]
        )

    def _token_key(self, placement: BrokerPlacement, arn: str, *, fresh: bool) -> bytes:
        value = self._secret(placement, arn, fresh=fresh).get("key")
        try:
            key = bytes.fromhex(value) if isinstance(value, str) else b""
        except ValueError:
            key = b""
        if len(key) != 64:
            raise BrokerMisconfigured(
                f"secret {arn} holds no token key of 128 hex digits", hint="reconcile the platform stack"
            )
        return key

    def _secret(self, placement: BrokerPlacement, arn: str, *, fresh: bool) -> dict[str, Any]:
        ttl = min(1.0, self._secret_ttl) if fresh else self._secret_ttl
        return self._secrets.get((placement.region, arn), ttl, lambda: self._read_secret(placement.region, arn))

    def _read_secret(self, region: str, arn: str) -> dict[str, Any]:
        try:
            answer = self._aws.secretsmanager(region).get_secret_value(SecretId=arn)
        except (ClientError, BotoCoreError) as error:
            raise _translated(error, f"secret {arn} could not be read") from error
        try:
            value = json.loads(answer.get("SecretString", ""))
        except ValueError:
            value = None
        if not isinstance(value, dict):
            # not chained: the parser's error quotes the secret
            raise BrokerMisconfigured(f"secret {arn} is no JSON object", hint="put the form RDS uses") from None
        return value


#: what brings a tenant back, by what it is
_WAY_BACK = {
    Access.SUSPENDED: "a payment opens it again; ",
    Access.HIBERNATED: "a payment starts its database again, which takes minutes if it is the tenant's own; ",
    Access.RETAINED: "its data is kept: subscribing again brings it back; ",
}
_READ_ONLY_SESSION = to_json(READ_ONLY_SESSION, limit=SESSION_POLICY_LIMIT, what="the session policy")


def _because(placement: BrokerPlacement) -> str:
    """``, payment_overdue since 2026-11-28``, as far as that is known."""
    if placement.access_reason is None:
        return ""
    since = placement.access_since
    return f", {placement.access_reason}" + (f" since {since.astimezone(UTC):%Y-%m-%d}" if since is not None else "")


_REFUSED = {"AccessDenied", "AccessDeniedException", "ValidationError", "InvalidParameterException"}
_MISSING = {"ResourceNotFoundException", "NoSuchEntity"}


def _translated(error: Exception, what: str) -> BrokerUnavailable | BrokerMisconfigured:
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
    if code in _REFUSED:
        return BrokerMisconfigured(f"{what}: {code}", hint="check the broker's own role and the trust policy")
    if code in _MISSING:
        return BrokerMisconfigured(f"{what}: {code}", hint="reconcile the stack it belongs to")
    return BrokerUnavailable(f"{what}: {code}", hint="try again; AWS throttled the call or did not answer")


class Boto3Clients:
    """``AwsClients`` over boto3's default credential chain, one client a service and region: making one is slow."""

    def __init__(self) -> None:
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    def sts(self, region: str) -> STSClient:
        client: STSClient = self._client("sts", region)
        return client

    def secretsmanager(self, region: str) -> SecretsManagerClient:
        client: SecretsManagerClient = self._client("secretsmanager", region)
        return client

    def _client(self, service: str, region: str) -> Any:
        import boto3
        from botocore.config import Config

        with self._lock:
            key = (service, region)
            if key not in self._clients:
                self._clients[key] = boto3.session.Session(region_name=region).client(  # type: ignore[call-overload]
                    service,
                    config=Config(
                        connect_timeout=2,
                        read_timeout=5,
                        retries={"total_max_attempts": 3, "mode": "standard"},
                        max_pool_connections=32,
                    ),
                )
            return self._clients[key]
