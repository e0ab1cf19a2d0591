"""``tenantry local ...``: the local cloud of this clone."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Annotated

import typer

from provisioner.cli.output import JsonOption, err, out, print_json, reports_errors

local = typer.Typer(no_args_is_help=True, help="AWS, Stripe and PostgreSQL on this machine.")


def register(app: typer.Typer) -> None:
    app.add_typer(local, name="local")


@local.command()
@reports_errors
def up(json_output: JsonOption = False) -> None:
    """Start the local cloud; does nothing when it runs."""
    from localcloud import lifecycle
    from localcloud.home import Home

    home = Home.default()
    if json_output:
        started = lifecycle.up(home)
        print_json({**lifecycle.status(home).document(), "started": started})
        return
    with err.status("starting the local cloud"):
        started = lifecycle.up(home)
    state = "is up" if started else "was up already"
    out.print(f"The local cloud {state}. Its data directory is {home.root}", soft_wrap=True)
    out.print('Point this shell at it: eval "$(tenantry local env)"')


@local.command()
@reports_errors
def down(json_output: JsonOption = False) -> None:
    """End the local cloud and delete all of its data."""
    from localcloud import lifecycle
    from localcloud.home import Home

    ended = lifecycle.down(Home.default())
    if json_output:
        print_json({"ended": ended})
    else:
        out.print("The local cloud is gone, with all of its data." if ended else "The local cloud was not running.")


@local.command()
@reports_errors
def status(json_output: JsonOption = False) -> None:
    """Show every process with port, memory and health. Exit code 1 when something is wrong, 4 when it is down."""
    from localcloud import lifecycle
    from localcloud.home import Home

    found = lifecycle.status(Home.default())
    if json_output:
        print_json(found.document())
    elif found.phase == "down":
        out.print("The local cloud is not running. Start it with `tenantry local up`.")
    else:
        from rich.table import Table

        table = Table("name", "state", "port", "pid", "memory", "restarts", box=None, pad_edge=False)
        for line in found.lines:
            memory = "" if line.memory_mb is None else f"{line.memory_mb:.0f} MB"
            colour = "green" if line.state == "running" else "yellow" if line.state in _PASSING else "red"
            table.add_row(
                line.name,
                f"[{colour}]{line.state}[/{colour}]",
                str(line.port or ""),
                str(line.pid or ""),
                memory,
                str(line.restarts),
            )
        out.print(f"{found.home}: {found.phase}", soft_wrap=True)
        out.print(table)
        for line in found.lines:
            if line.note:
                out.print(f"[red]{line.name}[/red]: {line.note}", soft_wrap=True)
        if found.phase == "crashed":
            out.print("The supervisor was killed. `tenantry local up` cleans up and starts afresh.", soft_wrap=True)
    if found.phase == "down":
        raise typer.Exit(4)
    if not found.healthy:
        raise typer.Exit(1)


_PASSING = ("starting", "restarting", "stopped")


@local.command()
@reports_errors
def env(json_output: JsonOption = False) -> None:
    """Print what points a shell at the local cloud: eval "$(tenantry local env)"."""
    from localcloud import environment, lifecycle
    from localcloud.home import Home

    home = Home.default()
    lifecycle.require_ready(home)
    exports = environment.shell_environment(home, os.environ)
    if json_output:
        print_json(exports)
    else:
        sys.stdout.write(environment.render(exports, os.environ))


@local.command()
@reports_errors
def logs(
    service: Annotated[str | None, typer.Argument(help="a name that `status` shows; all by default")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="how many of each")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on until Ctrl-C")] = False,
) -> None:
    """Show the services' logs."""
    from localcloud.home import Home
    from provisioner.errors import NotFound

    home = Home.default()
    files = {path.stem: path for path in sorted(home.logs.glob("*.log"))}
    files |= {path.parent.name: path for path in sorted(home.clusters.glob("*/server.log"))}
    if service is not None:
        if service not in files:
            raise NotFound(f"there is no log of {service}", hint=f"Logs: {', '.join(files) or 'none'}")
        files = {service: files[service]}
    if not files:
        raise NotFound("there are no logs", hint="Start the local cloud with `tenantry local up`")
    command = ["tail", "-n", str(lines), *(["-F"] if follow else []), "--", *map(str, files.values())]
    raise typer.Exit(subprocess.run(command, check=False).returncode)


@local.command()
@reports_errors
def latency(
    operation: Annotated[str | None, typer.Argument(help="as rds.create")] = None,
    seconds: Annotated[float | None, typer.Argument(help="how long it takes; 0 removes the delay")] = None,
    json_output: JsonOption = False,
) -> None:
    """Let an operation of the local AWS take as long as the real one; without arguments, show the delays."""
    from localcloud import latency as delays
    from localcloud import lifecycle
    from localcloud.home import Home

    home = Home.default()
    lifecycle.require_ready(home)
    if operation is not None and seconds is not None:
        delays.set_delay(home.latency, operation, seconds)
    elif operation is not None:
        raise typer.BadParameter("give the seconds too", param_hint="SECONDS")
    current = delays.delays(home.latency)
    if json_output:
        print_json(current)
    else:
        out.print("\n".join(f"{name} {value:g} s" for name, value in current.items()) or "No operation is delayed.")


@local.command()
@reports_errors
def quota(
    code: Annotated[str, typer.Argument(help="a quota code that `tenantry quotas` shows, as L-7B6409FD")],
    value: Annotated[int | None, typer.Argument(min=0, help="AWS's default by default")] = None,
    json_output: JsonOption = False,
) -> None:
    """Set a quota of the local AWS, to see what happens when one is used up."""
    from localcloud.home import Home
    from localcloud.quota_control import set_quota

    found = set_quota(Home.default(), code, value)
    if json_output:
        print_json({"quota": found.key, "value": value if value is not None else found.default})
    else:
        out.print(f"{found.name} ({found.code}): {'AWS default' if value is None else value}")


@local.command()
@reports_errors
def mail(
    number: Annotated[int | None, typer.Argument(help="show this message whole")] = None,
    recipient: Annotated[str | None, typer.Option(help="only to this address")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="throw all messages away")] = False,
    json_output: JsonOption = False,
) -> None:
    """Show the messages to customers that the local mail server took in, newest first."""
    from provisioner.cli.local_mail import LocalMailbox
    from provisioner.cli.output import print_columns, styled

    mailbox = LocalMailbox.of(os.environ)
    if clear:
        mailbox.clear()
    if number is not None:
        message = mailbox.message(number)
        if json_output:
            print_json(message)
            return
        lines = [f"{name}: {value}" for name, value in message["headers"]] + ["", *(message["text"] or "").splitlines()]
        sys.stdout.write("\n".join(map(styled, lines)) + "\n")
        return
    messages = mailbox.messages(recipient)
    if json_output:
        print_json(messages)
    elif not messages:
        out.print("No message has arrived.")
    else:
        rows = [[str(m["number"]), m["at"][11:19], ", ".join(m["recipients"]), styled(m["subject"])] for m in messages]
        print_columns(["number", "at", "to", "subject"], rows)


@local.command(name="rds-days")
@reports_errors
def rds_days(
    days: Annotated[float, typer.Argument(min=0, max=10_000, help="AWS starts a stopped instance after 7")],
) -> None:
    """Let days pass for stopped RDS instances of the local AWS."""
    from localcloud.home import Home
    from localcloud.rds_control import pass_days

    pass_days(Home.default(), days)
    out.print(f"{days:g} days have passed for stopped RDS instances.")
