"""``tenantry doctor``: everything that Tenantry needs, each thing with what is wrong and how to fix it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from provisioner.cli.output import JsonOption, out, print_json, reports_errors

if TYPE_CHECKING:
    from localcloud.home import Home
    from provisioner.checks import Check, Finding, Result

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red", "skipped": "dim"}


def register(app: typer.Typer) -> None:
    app.command()(doctor)


@reports_errors
def doctor(json_output: JsonOption = False) -> None:
    """Check this machine and this shell's environment. Exit code 3 when something must be fixed."""
    import os
    import sys
    import warnings

    from localcloud.home import REPOSITORY, Home
    from provisioner import settings
    from provisioner.checks import environment, machine, run
    from provisioner.engine.scrubbing import Scrubber

    # botocore silences it while it imports, for all threads at once: probes that import beside it see it or not.
    warnings.filterwarnings("ignore", message="SOCKS support in urllib3")
    home = Home.default()
    checks = [
        *machine.checks(os.environ, home.root, REPOSITORY / "requirements.lock"),
        *_local(home),
        *environment.checks(settings.load, os.environ),
    ]
    results = run(checks, scrub=Scrubber(os.environ))
    sound = all(result.verdict != "fail" for result in results)
    if json_output:
        print_json({"ok": sound, "checks": [asdict(result) for result in results]})
    else:
        _show(results, exported=environment.is_exported(os.environ))
    if not all(result.answered for result in results):
        # A probe that waits for a name server has a thread that an ordinary exit would wait for.
        sys.stdout.flush()
        os._exit(3)
    raise typer.Exit(0 if sound else 3)


def _local(home: Home) -> list[Check]:
    from provisioner.checks import Check

    return [
        Check("machine", "local PostgreSQL", postgres_binaries),
        Check("machine", "local cloud", lambda: local_cloud(home)),
    ]


def postgres_binaries() -> Finding:
    """The servers of the local cloud: their binaries run, as a user who may run them."""
    import os
    import pwd

    from localcloud.postgres import binaries
    from provisioner.checks import fail, ok

    shown = f"PostgreSQL {binaries.server_version()}"
    names = {entry.pw_name for entry in pwd.getpwall()}
    if os.geteuid() == 0 and not names & {binaries.SYSTEM_USER, *binaries.FALLBACK_USERS}:
        return ok(f"{shown}; it can't run as root: the user {binaries.SYSTEM_USER} is created at the first start")
    account = binaries.account()
    done = account.run([binaries.bin_directory() / "postgres", "--version"])
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return fail(f"{shown} does not run as {account.name}: {reason}", "run `make clean setup`")
    return ok(f"{shown}, run as {account.name}" + (", since it refuses to run as root" if account.switch else ""))


def local_cloud(home: Home) -> Finding:
    from localcloud import lifecycle
    from provisioner.checks import ok, warn

    found = lifecycle.status(home)
    if found.phase == "down":
        return ok("down; `tenantry local up` starts it")
    if found.healthy:
        return ok(f"ready, in {found.home}")
    wrong = [f"{line.name} is {line.state}" for line in found.lines if line.state not in ("running", "stopped")]
    return warn(
        f"{found.phase}: {', '.join(wrong) or 'no process of it runs'}",
        "`tenantry local status` shows more; `tenantry local down`, then `tenantry local up` starts afresh",
    )


def _show(results: list[Result], *, exported: bool) -> None:
    counted: Mapping[str, int] = {verdict: sum(each.verdict == verdict for each in results) for verdict in _COLOURS}
    width = max(len(result.name) for result in results)
    group = ""
    for result in results:
        if result.group != group:
            group = result.group
            out.print(f"[bold]{group}[/bold]")
        colour = _COLOURS[result.verdict]
        out.print(f"  [{colour}]{result.verdict:7}[/{colour}] {result.name:{width}} ", end="")
        out.print(result.message, markup=False, soft_wrap=True)
        if result.fix and result.verdict != "ok":
            out.print(f"  {'':7} {'':{width}} fix: {result.fix}", markup=False, soft_wrap=True)
    if counted["fail"]:
        out.print(f"[red]{counted['fail']} to fix[/red], {counted['warn']} warnings.")
    elif exported:
        out.print(f"[green]All is well[/green], {counted['warn']} warnings.")
    else:
        out.print("[green]This machine is ready.[/green] Nothing is exported: services and keys were not checked.")
