"""Groups of commands of which one is meant when none is named."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

RUN = "run"


class RunByDefault(TyperGroup):
    """``tenantry prove acme`` is ``tenantry prove run acme``; a tenant named like a sub-command needs the long form."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "--install-completion"):
            args = [RUN, *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed
