"""The ``tenantry`` command: assembles the sub-commands. Their modules import what is slow inside the commands."""

from __future__ import annotations

import importlib

import typer

app = typer.Typer(
    no_args_is_help=True,
    help="The tenant control plane: Stripe subscriptions become isolated tenants on your own AWS account.",
    pretty_exceptions_show_locals=False,
)

#: Modules with a function ``register(app)`` that adds their commands.
COMMAND_MODULES: tuple[str, ...] = (
    "run",
    "tenants",
    "events",
    "approvals",
    "audit",
    "entitlements",
    "platform",
    "quotas",
    "pulumi",
    "doctor",
    "local",
    "stripe",
    "trials",
    "usage",
    "catalogue",
    "prove",
    "offboarding",
    "policy",
    "notifications",
)

for _module in COMMAND_MODULES:
    importlib.import_module(f"provisioner.cli.{_module}").register(app)
