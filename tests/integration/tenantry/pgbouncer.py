"""A real PgBouncer in transaction mode before a PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from localcloud.postgres import Cluster, reachable_directory
from localcloud.postgres.binaries import account
from localcloud.postgres.ports import free_port


def executable() -> str | None:
    return shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")


@contextmanager
def pgbouncer(
    cluster: Cluster, directory: Path, users: Mapping[str, str], *, pool_size: int, **settings: str
) -> Iterator[int]:
    """The port of a PgBouncer that lends every user at most ``pool_size`` connections, one transaction at a time.

    ``users``: passwords by login. ``settings``: more lines of ``[pgbouncer]``.
    """
    home = reachable_directory(directory, directory.name)
    runner, port = account(), free_port()
    certificate, key = cluster.authority.issue()
    lines = {
        "listen_addr": "127.0.0.1",
        "listen_port": str(port),
        "unix_socket_dir": "",
        "auth_type": "plain",
        "auth_file": str(home / "users"),
        "pool_mode": "transaction",
        "default_pool_size": str(pool_size),
        "max_client_conn": "200",
        "ignore_startup_parameters": "extra_float_digits",
        "client_tls_sslmode": "require",
        "client_tls_cert_file": str(home / "server.crt"),
        "client_tls_key_file": str(home / "server.key"),
        "server_tls_sslmode": "verify-full",
        "server_tls_ca_file": str(home / "ca.crt"),
        **settings,
    }
    files = {
        "users": "".join(f'"{name}" "{password}"\n' for name, password in users.items()),
        "pgbouncer.ini": f"[databases]\n* = host=127.0.0.1 port={cluster.port}\n[pgbouncer]\n"
        + "".join(f"{name} = {value}\n" for name, value in lines.items()),
        "ca.crt": cluster.authority.bundle.read_text(),
        "server.crt": certificate.decode(),
        "server.key": key.decode(),
    }
    for name, content in files.items():
        path = home / name
        path.touch(mode=0o600)
        path.write_text(content)
        if runner.switch:
            os.chown(path, runner.uid, runner.gid)
    found = executable()
    assert found is not None
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            runner.command([found, home / "pgbouncer.ini"]),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait(process, port, home / "log")
            yield port
        finally:
            process.terminate()
            process.wait(timeout=10)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        assert process.poll() is None, f"PgBouncer ended: {log.read_text()}"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"PgBouncer does not listen: {log.read_text()}"
            time.sleep(0.02)
