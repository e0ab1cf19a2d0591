"""``tenantry serve``, ``worker``, ``up``: the service's processes."""

from __future__ import annotations

import asyncio
import socket
from typing import Annotated
from urllib.parse import urlsplit

import typer

from provisioner.cli.output import reports_errors

Workers = Annotated[int, typer.Option("--processes", "-n", min=1, max=64, help="worker processes on this machine")]


def register(app: typer.Typer) -> None:
    app.command()(serve)
    app.command()(worker)
    app.command()(up)


@reports_errors
def serve() -> None:
    """Serve the webhook, the operator API and the broker over HTTP, at TENANTRY_API_URL."""
    import uvicorn

    from provisioner import app, logs, settings
    from provisioner.errors import ConfigurationInvalid

    logs.configure()
    configured = settings.load()
    address = urlsplit(configured.api_url)
    if address.hostname is None or address.scheme not in ("http", "https"):
        raise ConfigurationInvalid("TENANTRY_API_URL is no URL", hint="for example http://127.0.0.1:8080")
    application = app.web(configured)
    app.prepare_database(configured)
    listener = _listen(configured.api_url, address.hostname, address.port or 80)
    server = uvicorn.Server(
        uvicorn.Config(
            application,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=10,
            limit_concurrency=1000,
            h11_max_incomplete_event_size=64 * 1024,
        )
    )
    server.run(sockets=[listener])


def _listen(url: str, host: str, port: int) -> socket.socket:
    """Here, not in uvicorn, which would end the process without saying what to do."""
    from provisioner.errors import ConfigurationInvalid

    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # By its number: asyncio switches Nagle's delay of 40 ms off only where the protocol is named.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        raise ConfigurationInvalid(
            f"nothing can listen at {url}: {error.strerror}",
            hint="another process may do so already; set TENANTRY_API_URL",
        ) from None
    return listener


@reports_errors
def worker(processes: Workers = 1) -> None:
    """Process events and bring tenants to what they pay for. SIGTERM finishes, or hands back, what runs."""
    from provisioner import logs

    logs.configure()
    if processes > 1:
        from provisioner.processes import ProcessGroup

        children = [(f"worker-{number + 1}", _command("worker")) for number in range(processes)]
        raise typer.Exit(ProcessGroup(children).run())
    asyncio.run(_work())


async def _work() -> None:
    from provisioner import app, settings

    async with app.open_worker(settings.load()) as process:
        await process.run()


@reports_errors
def up(processes: Workers = 1) -> None:
    """Serve and work in one process group."""
    from provisioner import app, logs, settings
    from provisioner.processes import ProcessGroup

    logs.configure()
    app.prepare_database(settings.load())  # before all children do it at once, and to fail early
    workers = [(f"worker-{number + 1}", _command("worker")) for number in range(processes)]
    raise typer.Exit(ProcessGroup([("serve", _command("serve")), *workers]).run())


def _command(name: str) -> tuple[str, ...]:
    # -P: the working directory is no place to import from; PYTHONPATH names the repository.
    return ("-P", "-m", "provisioner.cli", name)
