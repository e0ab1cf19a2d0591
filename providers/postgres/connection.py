"""Connections of the master: TLS with the server verified, bounded in time, patient with a server that is starting."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
import psycopg
from psycopg import sql

from providers.postgres.errors import ConnectionFailed, DatabaseGone, PostgresProviderError
from providers.postgres.patience import pause
from providers.postgres.secrets_manager import Secrets
from providers.postgres.sessions import IDLE
from providers.postgres.sessions import Connection as Connection

MAINTENANCE_DATABASE = "postgres"
CONNECT_TIMEOUT = 10  #: seconds, one attempt
CONNECT_DEADLINE = 90.0  #: seconds, all attempts: a new instance's DNS name and listener appear late
AUTHENTICATION_DEADLINE = 10.0  #: seconds: a rotation changes secret and server moments apart
STATEMENT_TIMEOUT = 120  #: seconds; migrations set their own
LOCK_TIMEOUT = 5  #: seconds

_AUTHENTICATION_FAILED = ("password authentication failed", "no password supplied")
_NOT_RETRIED = ("certificate", "SSL", "does not exist", "pg_hba.conf", "permission denied")

_credentials: dict[str, tuple[str, str]] = {}
_credentials_lock = threading.Lock()


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server and the secret of its master, as the provider is configured.

    ``stopped``: it is being stopped, or is. What closes access is still done, since that comes first; a refresh has
    nobody to ask.
    """

    host: str
    port: int
    master_secret_arn: str
    region: str
    stopped: bool = False

    @property
    def secrets(self) -> Secrets:
        return Secrets(self.region)

    @contextmanager
    def connect(self, database: str = MAINTENANCE_DATABASE) -> Iterator[Connection]:
        """An autocommit connection of the master to ``database``: an idle one, or a new one.

        :raises DatabaseGone: there is no such database.
        :raises ConnectionFailed: the server can't be reached in time, or refuses the master.
        """
        key = (self, database, os.environ.get("AWS_ENDPOINT_URL", ""), _certificates())
        connection = IDLE.take(key) or self._open(database)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        IDLE.give(key, connection)

    def accepts(self, username: str, password: str, database: str) -> bool:
        """Whether the server takes ``password`` for the login, whatever else may keep it out."""
        try:
            psycopg.connect(
                host=self.host,
                port=self.port,
                dbname=database,
                user=username,
                password=password,
                sslmode="verify-full",
                sslrootcert=_certificates(),
                connect_timeout=CONNECT_TIMEOUT,
                application_name="tenantry-postgres",
            ).close()
        except psycopg.OperationalError as error:
            return not any(text in str(error) for text in _AUTHENTICATION_FAILED)
        return True

    def _open(self, database: str) -> Connection:
        started = time.monotonic()
        delay = 0.1
        refresh = False
        while True:
            user, password = self._master(refresh=refresh)
            try:
                return psycopg.connect(
                    host=self.host,
                    port=self.port,
                    dbname=database,
                    user=user,
                    password=password,
                    sslmode="verify-full",
                    sslrootcert=_certificates(),
                    connect_timeout=CONNECT_TIMEOUT,
                    tcp_user_timeout=CONNECT_TIMEOUT * 1000,  # a failover leaves idle sessions without a peer
                    application_name="tenantry-postgres",
                    autocommit=True,
                    prepare_threshold=None,  # sessions forget their statements between operations
                    options=(
                        f"-c statement_timeout={STATEMENT_TIMEOUT}s -c lock_timeout={LOCK_TIMEOUT}s"
                        " -c idle_in_transaction_session_timeout=300s -c client_min_messages=warning"
                        " -c datestyle=ISO -c search_path=pg_catalog"
                    ),
                )
            except psycopg.OperationalError as error:
                reason = _one_line(error)
                elapsed = time.monotonic() - started
                refused = any(text in reason for text in _AUTHENTICATION_FAILED)
                if "does not exist" in reason and f'database "{database}"' in reason:
                    raise DatabaseGone(f"there is no database {database} at {self.host}:{self.port}") from None
                final = any(text in reason for text in _NOT_RETRIED) and not refused
                if final or elapsed > (AUTHENTICATION_DEADLINE if refused else CONNECT_DEADLINE):
                    raise ConnectionFailed(
                        f"cannot connect to database {database} at {self.host}:{self.port}: {reason}"
                        + _hint(reason, final, refused, self.master_secret_arn),
                        grpc.StatusCode.FAILED_PRECONDITION if final or refused else grpc.StatusCode.UNAVAILABLE,
                    ) from None
                refresh = refused
            pause(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
            delay = min(delay * 2, 3.0)

    def _master(self, *, refresh: bool) -> tuple[str, str]:
        with _credentials_lock:
            known = _credentials.get(self._cache_key)
        if known is not None and not refresh:
            return known
        secret = self.secrets.get(self.master_secret_arn)
        try:
            if secret is None:
                raise KeyError
            found = (str(secret.value["username"]), str(secret.value["password"]))
        except KeyError:
            raise PostgresProviderError(
                f"secret {self.master_secret_arn} holds no username and password of the master"
            ) from None
        with _credentials_lock:
            _credentials[self._cache_key] = found
        return found

    @property
    def _cache_key(self) -> str:
        return "|".join((os.environ.get("AWS_ENDPOINT_URL", ""), self.region, self.master_secret_arn))


def _one_line(error: psycopg.Error) -> str:
    return " ".join(str(error).split()).removeprefix("connection failed: ") or type(error).__name__


def _certificates() -> str:
    return os.environ.get("TENANTRY_DATABASE_CA") or "system"


def _hint(reason: str, final: bool, refused: bool, secret_arn: str) -> str:
    if refused:
        return f". The secret {secret_arn} was read again and is refused too: is a rotation stuck?"
    if "certificate" in reason or "SSL" in reason:
        return ". Set TENANTRY_DATABASE_CA to the CA bundle of the server (for RDS: the region's global bundle)"
    return "" if final else ". Check that it runs and that its security group lets this machine in, then try again"


def become(connection: Connection, role: str) -> None:
    """Act as ``role`` until the end of the transaction; the master is made a member first if it isn't.

    A master without SUPERUSER has only ADMIN on the roles it created: SET has to be granted.
    """
    ensure_member(connection, role)
    connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))


def ensure_member(connection: Connection, role: str) -> None:
    """Let the master act as, and with the privileges of, ``role``."""
    row = connection.execute(
        "SELECT pg_has_role(oid, 'SET') AND pg_has_role(oid, 'USAGE') FROM pg_roles WHERE rolname = %s", (role,)
    ).fetchone()
    if row is None:
        raise PostgresProviderError(f"role {role} does not exist; declare it before what it owns")
    if not row[0]:
        connection.execute(sql.SQL("GRANT {} TO CURRENT_USER WITH SET TRUE, INHERIT TRUE").format(sql.Identifier(role)))
