"""``tenantry pulumi -s STACK ...``: the plain ``pulumi`` command on a stack, configured, leased and policed."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provisioner.cli.output import err, reports_errors

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from provisioner.stack_request import StackInputs

#: Commands that may change the stack's state: they run under its lease.
CHANGING = frozenset({"up", "update", "destroy", "refresh", "import", "cancel", "state"})
#: Commands that take `--policy-pack`.
POLICED = frozenset({"up", "update", "preview"})
WAIT_S = 60.0


def register(app: typer.Typer) -> None:
    app.command(
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
    )(pulumi)


@reports_errors
def pulumi(
    context: typer.Context,
    stack: Annotated[str, typer.Option("--stack", "-s", help="platform, platform.CELL or a tenant's stack")],
) -> None:
    """Run a pulumi command on a stack as the worker would: its configuration from the registry, under its lease,
    with the policy pack. Everything after the options is pulumi's: tenantry pulumi -s acme preview --diff"""
    arguments = list(context.args)
    if not arguments:
        raise typer.BadParameter("say what pulumi is to do, for example: tenantry pulumi -s acme preview")
    raise typer.Exit(_run(stack, arguments))


def _run(stack: str, arguments: list[str]) -> int:
    from policies.rules import RULES
    from provisioner import app, materialise, settings
    from provisioner.cli.registry_access import ask
    from provisioner.deployer.types import Fence
    from provisioner.engine.environment import with_application_name
    from provisioner.engine.runtime import prepare
    from provisioner.engine.stack_locks import clear_dead
    from provisioner.gate.configured import configuration
    from provisioner.registry import leases
    from provisioner.settings import ROOT

    configured = settings.load()

    async def load(connection: AsyncConnection) -> StackInputs:
        return await materialise.inputs_of(connection, configured, stack)

    inputs = ask(load, configured)
    runtime = prepare(configured.home)
    state = app.state(configured)
    try:
        materialise.write(inputs, state, app.secrets_provider(configured))
        backend = configured.pulumi_backend_url().replace("postgresql://", "postgres://", 1)
        environment = runtime.environment(os.environ, backend_url=backend)
        command = [str(runtime.pulumi), arguments[0], "--stack", stack, *arguments[1:]]
        if arguments[0] in POLICED and "--policy-pack" not in " ".join(arguments):
            command += ["--policy-pack", str(ROOT / "policies")]
            if configured.policy_config is not None:
                configuration(configured.policy_config, RULES)  # the engine passes over rules that it does not know
                command += ["--policy-pack-config", str(configured.policy_config.resolve())]
        if arguments[0] == "state":  # a group of commands: the option belongs to the last of them
            command = [str(runtime.pulumi), *arguments, "--stack", stack]
        if arguments[0] not in CHANGING:
            return _call(command, environment)
        lost: list[float] = []
        url = configured.database_url.get_secret_value()
        with leases.hold(url, stack, on_lost=lambda: lost.append(time.monotonic()), wait_s=WAIT_S) as lease:
            clear_dead(state, stack, fenced_off=lease.fenced_off)
            environment["PULUMI_BACKEND_URL"] = with_application_name(
                backend, Fence(stack, lease.number).application_name
            )
            code = _call(command, environment, on_start=lease.record_engine)
        if code != 0 and arguments[0] == "destroy" and _is_protected(state.deployment(stack) or {}):
            err.print(
                f"[yellow]hint:[/yellow] stack {stack} is protected. Offboarding is authorised in two steps, which "
                f"`tenantry tenants destroy {stack.partition('.')[0]}` takes once nobody pays for the tenant: "
                "protection off with a final snapshot, then destroy.",
                soft_wrap=True,
            )
        if lost:
            err.print("[red]error:[/red] the lease of the stack was lost while the command ran")
            return 5
        return code
    finally:
        state.close()


def _call(command: list[str], environment: dict[str, str], on_start: object = None) -> int:
    from provisioner.settings import ROOT

    # In the terminal's foreground: Ctrl-C reaches pulumi itself, and this process waits for it.
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    if callable(on_start):
        on_start(process.pid)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def _is_protected(deployment: dict[str, Any]) -> bool:
    return any(resource.get("protect") for resource in deployment.get("resources") or [])
