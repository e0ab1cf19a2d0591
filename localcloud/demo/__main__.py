"""Runs the demo. Exit code 0 if everything was as it should be, 1 if not, 3 if something must be installed first."""

from __future__ import annotations

import os
import sys
import time

from rich.console import Console

from localcloud import environment, lifecycle
from localcloud.home import Home
from provisioner.errors import TenantryError


def main() -> int:
    console = Console(highlight=False, emoji=False)
    began = time.monotonic()
    try:
        _start(console)
        return 0 if _show(console, began) else 1
    except TenantryError as error:
        console.print(f"[red]error:[/red] {error.message}", soft_wrap=True)
        if error.hint:
            console.print(f"[yellow]hint:[/yellow] {error.hint}", soft_wrap=True)
        return 3
    except KeyboardInterrupt:
        console.print("Interrupted. What was started goes on; `make demo-down` ends it.")
        return 130


def _start(console: Console) -> None:
    """The local cloud and the provisioner; this process then sees what a shell sees after `tenantry local env`."""
    from localcloud import service

    home = Home.default()
    with console.status("starting the local cloud"):
        fresh = lifecycle.up(home)
        settings = environment.shell_environment(home, os.environ)
        os.environ.update(environment.process_environment(settings, {}))
        for name in environment.UNSET:
            os.environ.pop(name, None)
    console.print(f"Local cloud {'started' if fresh else 'runs already'}: {home.root}", soft_wrap=True)
    with console.status("starting the provisioner: web service and two workers"):
        started = service.start(home, lifecycle.life(home))
    console.print(f"Provisioner {'started' if started else 'runs already'}: {os.environ['TENANTRY_API_URL']}")


def _show(console: Console, began: float) -> bool:
    from localcloud.demo import cancelling, deliveries, proving, selling
    from provisioner import settings
    from tenantry import Tenantry

    loaded = settings.load()
    sold, neighbour = selling.sell(console, loaded)
    selling.show(console, loaded, sold)
    with Tenantry.from_env() as sdk:
        proving.write(console, sdk, [*sold, neighbour])
        isolated = proving.prove(console, loaded, sdk, sold, neighbour)
        unmoved = deliveries.disturb(console, loaded, sold)
        closed = cancelling.cancel(console, loaded, sdk, sold)
    _next(console, sold, began)
    return isolated and unmoved and closed


def _next(console: Console, sold: list[str], began: float) -> None:
    pool, _, silo = sold
    console.print(f"\n[bold]Done in {time.monotonic() - began:.0f} s.[/bold] Everything is left running. Try next:")
    for line in (
        'eval "$(bin/tenantry local env)"           # points this shell at the local cloud',
        "bin/tenantry tenants list",
        f"bin/tenantry explain {silo}",
        f"bin/tenantry stripe change {pool} --plan team   # entitlements at once, the move is recorded",
        f"bin/tenantry pulumi -s {silo} preview     # the stack itself, with the policy pack",
        "bin/tenantry policy check --all             # what stands, against every policy rule",
        "bin/tenantry prove --all                    # the attacks again, as signed evidence and a page",
        "psql                                        # the control plane's own database",
        "make demo-down                              # ends everything and leaves nothing",
    ):
        console.print(f"  {line}")


if __name__ == "__main__":
    sys.exit(main())
