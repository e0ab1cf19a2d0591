"""What every command shares: the console, JSON output, and errors turned into messages and exit codes.

Exit codes: 0 done; 1 the operation failed; 2 wrong usage; 3 an operator must act; 4 no such thing, or refused;
5 try again later; 130 interrupted.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from rich.console import Console

from provisioner.errors import OperatorNeeded, Reject, RetryLater, TenantryError

P = ParamSpec("P")
R = TypeVar("R")

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]

# Without emoji: `arn:aws:secretsmanager:...:secret:x` would show a Japanese character.
out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)


def exit_code(error: TenantryError) -> int:
    match error:
        case OperatorNeeded():
            return 3
        case Reject():
            return 4
        case RetryLater():
            return 5
        case _:
            return 1


def print_json(document: Any) -> None:
    """One JSON document on stdout; datetimes and other values by ``str``."""
    json.dump(document, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def reports_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Decorates a command: a ``TenantryError`` becomes one red line with its hint, and its exit code."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except TenantryError as error:
            if kwargs.get("json_output"):
                print_json({"error": {"code": error.code, "message": error.message, "hint": error.hint}})
            else:
                err.print(f"[red]error:[/red] {error.message}", soft_wrap=True)
                if error.hint:
                    err.print(f"[yellow]hint:[/yellow] {error.hint}", soft_wrap=True)
            raise typer.Exit(exit_code(error)) from error
        except KeyboardInterrupt:
            raise typer.Exit(130) from None

    return wrapper
