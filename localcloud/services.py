"""The services of a local cloud beside its PostgreSQL servers: how each is started and when it is ready."""

from __future__ import annotations

import http.client
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from localcloud.home import REPOSITORY, Home
from localcloud.moto import READY_PATH


@dataclass(frozen=True)
class Service:
    """One child process of the supervisor."""

    name: str
    port: int
    command: tuple[str, ...]
    #: whether it answers now
    ready: Callable[[], bool] = field(repr=False)
    #: None: it is restarted when it dies; else why not, for the operator
    lost_when_it_dies: str | None = None


def services(
    home: Home, ports: dict[str, int], stripe_api_key: str, webhook_url: str, webhook_secret: str
) -> list[Service]:
    """All of them, with their ports. The order is that of `tenantry local status`."""
    moto = f"http://127.0.0.1:{ports['moto']}"
    return [
        Service(
            "moto",
            ports["moto"],
            _python("localcloud.moto", "--port", ports["moto"], "--data-dir", home.root),
            lambda: answers_http(ports["moto"], READY_PATH),
            "it keeps everything in memory: what was in the local AWS is lost. "
            "Start afresh with `tenantry local down` and `tenantry local up`",
        ),
        Service(
            "aws",
            ports["aws"],
            _python("localcloud.aws", "--port", ports["aws"], "--endpoint", moto, "--data-dir", home.root),
            lambda: accepts(ports["aws"]),
        ),
        Service(
            "tenantry-postgres",
            ports["tenantry-postgres"],
            _python("providers.postgres", "--serve", "--port", ports["tenantry-postgres"]),
            lambda: accepts(ports["tenantry-postgres"]),
        ),
        Service(
            "stripe",
            ports["stripe"],
            _python(
                *("localcloud.stripe", "--port", ports["stripe"], "--data", home.root / "stripe.state"),
                *("--webhook-url", webhook_url, "--webhook-secret", webhook_secret),
            ),
            lambda: answers_http(ports["stripe"], "/_local/health", {"Authorization": f"Bearer {stripe_api_key}"}),
        ),
        Service(
            "mail",
            ports["mail"],
            _python(
                *("localcloud.mail", "--smtp-port", ports["smtp"], "--port", ports["mail"]),
                *("--tls", home.authority.directory),
            ),
            lambda: answers_http(ports["mail"], "/health"),
        ),
    ]


def accepts(port: int) -> bool:
    """Whether something listens on the port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def answers_http(port: int, path: str, headers: dict[str, str] | None = None) -> bool:
    """Whether a GET is answered with success."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path, headers=headers or {})
        return 200 <= connection.getresponse().status < 300
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _python(module: str, *arguments: object) -> tuple[str, ...]:
    # -P: the working directory is no place to import from; PYTHONPATH names the repository.
    return (sys.executable, "-P", "-m", module, *map(str, arguments))


def child_environment(environment: dict[str, str], current: dict[str, str]) -> dict[str, str]:
    """``current`` with the life's ``environment``, so that the services' modules are found from anywhere."""
    return {**current, **environment, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}
