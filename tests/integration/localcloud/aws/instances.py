"""RDS instances with real servers, in a data directory of a test's own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from localcloud.aws.rds_records import Record, Records
from localcloud.home import Home
from localcloud.latency import set_delay
from providers.base.testing import ProviderClient, Resource, RpcFailed
from tests.integration.localcloud.aws.world import REGION, World

INSTANCE = "aws:rds/instance:Instance"


@dataclass
class Instances:
    """``world.client`` is connected to a provider with the data directory ``home``; ``port`` is the provider's."""

    world: World
    home: Home
    port: int
    _connections: list[ProviderClient] = field(default_factory=list)

    def connection(self) -> ProviderClient:
        """Another engine's connection: one that was cancelled does nothing more."""
        client = ProviderClient(self.port)
        self._connections.append(client)
        client.configure({"region": REGION, "accessKey": "test", "secretKey": "test"})
        return client

    def close(self) -> None:
        for client in self._connections:
            client.close()

    def login(self, made: Resource) -> dict[str, str]:
        """The master's credentials, as an application finds them."""
        arn = made.outputs["masterUserSecrets"][0]["secretArn"]
        found = self.world.api("secretsmanager").get_secret_value(SecretId=arn)
        return dict(json.loads(found["SecretString"]))

    def connect(
        self, made: Resource, *, user: str | None = None, password: str | None = None, database: str = "postgres"
    ) -> psycopg.Connection[Any]:
        login = {"username": user, "password": password} if user and password else self.login(made)
        host, port = str(made.outputs["endpoint"]).split(":")
        return psycopg.connect(
            host=host,
            port=int(port),
            user=login["username"],
            password=login["password"],
            dbname=database,
            sslmode="verify-full",
            sslrootcert=str(self.home.authority.bundle),
            connect_timeout=10,
            autocommit=True,
        )

    def record(self, made: Resource) -> Record | None:
        return Records(self.home.instances).find(resource_id=made.id)

    def described(self, identifier: str | None = None) -> dict[str, Any]:
        found = self.world.api("rds").describe_db_instances(DBInstanceIdentifier=identifier or self.world.name)
        return dict(found["DBInstances"][0])

    def traces(self) -> list[str]:
        """Names of servers and records that are left, snapshots aside."""
        records = [record.name for record in Records(self.home.instances)]
        servers = [path.name for path in self.home.clusters.iterdir() if path.is_dir() and path.name != "snapshots"]
        return sorted({*records, *servers})

    def until(self, holds: Callable[[], bool], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"still not so after {seconds} s"
            time.sleep(0.02)

    def until_status(self, status: str) -> None:
        self.until(lambda: self.described()["DBInstanceStatus"] == status)

    @contextmanager
    def slow(self, operation: str) -> Iterator[None]:
        """Inside, the operation takes an hour; what still waits at the end goes on at once."""
        set_delay(self.home.latency, operation, 3600)
        try:
            yield
        finally:
            set_delay(self.home.latency, operation, 0)


class Call:
    """A call in a thread of its own, as the engine makes them."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._result: Any = None
        self._error: RpcFailed | None = None
        self._thread = threading.Thread(target=self._run, args=(call,))
        self._thread.start()

    def _run(self, call: Callable[[], Any]) -> None:
        try:
            self._result = call()
        except RpcFailed as error:
            self._error = error

    def error(self) -> RpcFailed:
        """The error it ends with."""
        self._thread.join(30)
        assert not self._thread.is_alive(), "the call goes on"
        assert self._error is not None, f"the call succeeded: {self._result}"
        return self._error
