"""What every command shares: the console, JSON output, and errors turned into messages and exit codes.

Exit codes: 0 done; 1 the operation failed; 2 wrong usage; 3 an operator must act; 4 no such thing, or refused;
5 try again later; 6 a difference was found; 130 interrupted.
"""

from __future__ import annotations

import functools
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar, cast

import typer

from provisioner.errors import OperatorNeeded, Reject, RetryLater, TenantryError

if TYPE_CHECKING:
    from rich.console import Console

P = ParamSpec("P")
R = TypeVar("R")

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


class _Console:
    """A Rich console, made when it is first used: importing Rich costs a tenth of a quick command's time."""

    def __init__(self, *, stderr: bool) -> None:
        self._stderr = stderr

    def __getattr__(self, name: str) -> Any:
        return getattr(self._console, name)

    @functools.cached_property
    def _console(self) -> Console:
        from rich.console import Console

        # Without emoji: `arn:aws:secretsmanager:...:secret:x` would show a Japanese character.
        return Console(stderr=self._stderr, highlight=False, emoji=False)


out = cast("Console", _Console(stderr=False))
err = cast("Console", _Console(stderr=True))
_ANSI = {"bold": 1, "red": 31, "green": 32, "yellow": 33, "cyan": 36}
#: What could steer a terminal; messages of others are printed too.
#: Control characters, and marks that turn the direction in which text is read.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


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


def styled(text: str, style: str | None = None) -> str:
    """``text`` for a line that is written without Rich: in a colour or bold if stdout is a terminal."""
    code = _ANSI.get(style or "")
    text = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
    if code is None or not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{code}m{text}\x1b[0m"


def print_columns(header: Sequence[str], rows: Sequence[Sequence[str]], colours: Sequence[str | None] = ()) -> None:
    """A table of plain lines, for lists without an end: Rich's takes a third of a second for a thousand rows.

    ``colours`` has one a row, for its second column; none is shown unless stdout is a terminal.
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = []
    for index, row in enumerate([header, *rows]):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        if colours and index:
            cells[1] = styled(cells[1], colours[index - 1])
        lines.append("  ".join(cells).rstrip() + "\n")
    sys.stdout.write("".join(lines))


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
                from rich.markup import escape  # a message may quote what looks like markup

                err.print(f"[red]error:[/red] {escape(error.message)}", soft_wrap=True)
                if error.hint:
                    err.print(f"[yellow]hint:[/yellow] {escape(error.hint)}", soft_wrap=True)
            raise typer.Exit(exit_code(error)) from error
        except KeyboardInterrupt:
            raise typer.Exit(130) from None

    return wrapper
