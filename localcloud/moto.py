"""AWS's API on this machine: moto's server, warmed up, whose RDS instances have the address of their real server.

``python -m localcloud.moto --port 0`` prints the port it listens on once it answers. It keeps nothing on disk.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import logging
import os
import secrets
import signal
import string
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

#: Services that are loaded before the first request: each costs up to a second, then.
WARM = ("sts", "kms", "s3", "iam", "secretsmanager", "logs", "monitoring", "sns", "sqs", "servicequotas", "tagging")
#: These take as long as all others together: they are loaded right after the server is ready.
WARM_LATER = ("ec2", "ssm", "rds")
ACCOUNT_ID = "123456789012"
#: ``POST`` sets what RDS's API tells about an instance: ``{"account", "region", "identifier", "status"}``.
STATUS_PATH = "/tenantry/rds/status"
#: ``POST`` sets a quota: ``{"region", "quota": "rds/L-7B6409FD", "value"}``; null is AWS's default again.
QUOTA_PATH = "/tenantry/quota"
#: ``POST`` lets time pass for stopped instances: ``{"account", "region", "seconds"}``. AWS starts them after 7 days.
TIME_PATH = "/tenantry/rds/time"
#: Answered with 204 as soon as requests are served.
READY_PATH = "/tenantry/ready"

_RESOURCE_ID = string.ascii_uppercase + string.digits


def serve(port: int = 0, announce: Callable[[int], None] = lambda port: None, data_dir: Path | None = None) -> None:
    """Serve on 127.0.0.1 until SIGTERM or SIGINT. ``data_dir``: where the servers behind RDS instances live, if any."""
    # Roles may attach AWS's managed policies, which moto only knows when told to.
    os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.WARNING)

    adaptations = _adaptations(lambda: f"http://127.0.0.1:{server.server_port}", data_dir)

    def create_app(backend: Any) -> Any:
        for adapt in adaptations.get(backend, ()):
            adapt()
        return create_backend_app(backend)

    moto = DomainDispatcherApplication(create_app)
    handler = type("Handler", (MotoRequestHandler,), {"disable_nagle_algorithm": True})
    server = make_server("127.0.0.1", port, _application(moto), threaded=True, request_handler=handler)
    for number in (signal.SIGTERM, signal.SIGINT):
        # shutdown() waits for the serving loop, which this very thread runs.
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    _warm(moto, WARM)
    announce(server.server_port)
    threading.Thread(target=_warm_later, args=(moto,), daemon=True).start()
    server.serve_forever(poll_interval=0.1)
    # Threads of idle keep-alive connections would hold the exit back.
    sys.stdout.flush()
    os._exit(0)


def _warm(moto: Any, services: Iterable[str]) -> None:
    """Load the services' code, so that no first request waits for it."""
    for service in services:
        credential = f"AWS4-HMAC-SHA256 Credential=warm/20200101/us-east-1/{service}/aws4_request"
        environ = {"PATH_INFO": "/", "HTTP_HOST": "localhost", "HTTP_AUTHORIZATION": credential}
        moto.get_application(environ)


def _warm_later(moto: Any) -> None:
    for service in WARM_LATER:
        # Outside of the dispatcher's lock, which every request takes.
        importlib.import_module(f"moto.{service}.responses")
        _warm(moto, [service])


def _real_addresses() -> None:
    """Instances live on this machine, and each has a resource id of its own (moto's is the same for all)."""
    from moto.rds.models import DBInstance

    original = DBInstance.__init__

    def initialize(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.dbi_resource_id = "db-" + "".join(secrets.choice(_RESOURCE_ID) for _ in range(26))

    replaced: Any = DBInstance
    replaced.__init__ = initialize
    replaced.address = property(lambda self: "127.0.0.1")


def _unjudged_bucket_policies() -> None:
    """moto takes a policy's statements without their conditions: one that denies access without TLS would deny all.

    Nothing is lost: what a policy permits is evaluated by ``isolation.iam``, never by moto.
    """
    from moto.iam.access_control import PermissionResult
    from moto.s3.models import FakeBucket

    replaced: Any = FakeBucket
    replaced.get_permission = lambda self, action, resource: PermissionResult.NEUTRAL


def _adaptations(endpoint: Callable[[], str], data_dir: Path | None) -> dict[str, tuple[Callable[[], None], ...]]:
    """What moto's services are taught before they are loaded."""
    from localcloud import quotas

    def stop_and_start() -> None:
        from localcloud.aws import rds_power  # boto3, which the other services do without

        rds_power.serve(endpoint, data_dir)

    return {
        "rds": (_real_addresses, quotas.serve_rds_attributes, stop_and_start),
        "s3": (_unjudged_bucket_policies,),
        "iam": (quotas.serve_iam_summary,),
        "servicequotas": (quotas.serve_service_quotas,),
    }


def _application(moto: Any) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    from localcloud import quotas

    #: What a ``POST`` of JSON sets beside AWS's API; 404 when there is nothing of that name.
    setters = {STATUS_PATH: _set_status, QUOTA_PATH: quotas.set_value, TIME_PATH: _pass_time}

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO")
        if path == READY_PATH:
            start_response("204 No Content", [("Content-Length", "0")])
            return []
        setter = setters.get(str(path))
        if setter is None:
            answer: Iterable[bytes] = moto(environ, start_response)
            return answer
        length = int(environ.get("CONTENT_LENGTH") or 0)
        found = setter(json.loads(environ["wsgi.input"].read(length)))
        start_response("204 No Content" if found else "404 Not Found", [("Content-Length", "0")])
        return []

    return application


def _set_status(wanted: dict[str, str]) -> bool:
    from moto.rds.models import rds_backends

    with contextlib.suppress(KeyError):
        backend = rds_backends[wanted["account"]][wanted["region"]]
        backend.databases[wanted["identifier"]].status = wanted["status"]
        return True
    return False


def _pass_time(wanted: dict[str, Any]) -> bool:
    from localcloud.aws import rds_power

    return rds_power.pass_time(wanted)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m localcloud.moto", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--data-dir", type=Path, help="where the database servers of RDS instances live")
    options = parser.parse_args(arguments)
    serve(options.port, lambda port: print(port, flush=True), options.data_dir)


if __name__ == "__main__":
    main()
