"""boto3 sessions that act as one tenant: credentials of the broker, renewed by botocore before they expire."""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

import boto3
import botocore.config
import botocore.session
from botocore.credentials import RefreshableCredentials

from tenantry.broker import BrokerClient
from tenantry.config import Config
from tenantry.files import TenantFiles
from tenantry.placement import Placement

#: seconds before the end from when botocore tries to renew, and from when it must; the broker's last 600 at least
ADVISORY_REFRESH = 240
MANDATORY_REFRESH = 60


class TenantAwsSession(boto3.session.Session):
    """A boto3 session whose clients go to the SDK's endpoint unless one is named."""

    def __init__(self, botocore_session: botocore.session.Session, endpoint_url: str | None) -> None:
        super().__init__(botocore_session=botocore_session)
        self._endpoint_url = endpoint_url

    def client(self, *args: Any, **options: Any) -> Any:
        if self._endpoint_url is not None:
            options.setdefault("endpoint_url", self._endpoint_url)
        return super().client(*args, **options)

    def resource(self, *args: Any, **options: Any) -> Any:
        if self._endpoint_url is not None:
            options.setdefault("endpoint_url", self._endpoint_url)
        return super().resource(*args, **options)


class _Held:
    """What is kept of one tenant: credentials to share between sessions, and the S3 client, which is slow to make."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.credentials: RefreshableCredentials | None = None
        self.s3: Any = None


class AwsSessions:
    """Thread-safe; keeps the credentials and S3 clients of the ``size`` tenants used last."""

    def __init__(self, config: Config, broker: BrokerClient, *, size: int = 256) -> None:
        self._config = config
        self._broker = broker
        self._size = size
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[object, ...], _Held] = OrderedDict()

    def session(self, placement: Placement) -> boto3.session.Session:
        """A new session, since boto3's are not thread-safe, over the tenant's shared credentials."""
        held = self._of(placement)
        with held.lock:
            return self._session(held, placement)

    def files(self, placement: Placement) -> TenantFiles:
        held = self._of(placement)
        with held.lock:
            if held.s3 is None:
                held.s3 = self._session(held, placement).client(
                    "s3", config=botocore.config.Config(retries={"mode": "standard"})
                )
            return TenantFiles(held.s3, placement)

    def _session(self, held: _Held, placement: Placement) -> boto3.session.Session:
        if held.credentials is None:

            def fetch() -> dict[str, str]:
                issued = self._broker.aws(placement.tenant_id)
                return {
                    "access_key": issued.access_key_id,
                    "secret_key": issued.secret_access_key,
                    "token": issued.session_token,
                    "expiry_time": datetime.fromtimestamp(issued.expires_at, UTC).isoformat(),
                }

            held.credentials = RefreshableCredentials.create_from_metadata(
                metadata=fetch(),
                refresh_using=fetch,
                method="tenantry-broker",
                advisory_timeout=ADVISORY_REFRESH,
                mandatory_timeout=MANDATORY_REFRESH,
            )
        inner = botocore.session.get_session()
        inner.set_config_variable("region", placement.region)
        inner._credentials = held.credentials  # type: ignore[attr-defined]  # botocore's only way in
        return TenantAwsSession(inner, self._config.aws_endpoint_url)

    def _of(self, placement: Placement) -> _Held:
        # by whether it may write, too: credentials of a tenant that may only read are good for nothing else
        of = (placement.tenant_id, placement.generation, placement.epoch, placement.role_arn, placement.region)
        key = (*of, placement.writes)
        with self._lock:
            held = self._held.setdefault(key, _Held())
            self._held.move_to_end(key)
            while len(self._held) > self._size:
                self._held.popitem(last=False)
            return held
