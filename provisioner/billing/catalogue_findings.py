"""Collects what is wrong in ``plans.toml`` while it is read: each problem with its key, its line and its fix."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from datetime import date, time
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from provisioner.billing.catalogue import Problem

Path = tuple[str | int, ...]
E = TypeVar("E", bound=StrEnum)
M = TypeVar("M", bound=BaseModel)

_CURRENCY = re.compile(r"[a-z]{3}")


class Findings:
    """Readers of single values: each returns something usable, and remembers what was wrong."""

    def __init__(self, text: str) -> None:
        self.problems: list[Problem] = []
        self._lines = lines(text)

    def __len__(self) -> int:
        return len(self.problems)

    def wrong(self, path: Path, message: str, fix: str) -> None:
        line = next((self._lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self._lines), None)
        self.problems.append(Problem(dotted(path), message, fix, line))

    def in_order(self) -> tuple[Problem, ...]:
        return tuple(sorted(self.problems, key=lambda problem: (problem.line is None, problem.line or 0)))

    def known(self, table: dict[str, Any], keys: Iterable[str], path: Path) -> None:
        allowed = list(keys)
        for key in table:
            if key not in allowed:
                self.wrong((*path, key), "unknown key", nearest(key, allowed, f"known keys: {', '.join(allowed)}"))

    def tables(self, document: dict[str, Any], key: str, path: Path = ()) -> dict[str, dict[str, Any]]:
        """The tables ``[key.<name>]``, which may be absent."""
        value = document.get(key, {})
        if not isinstance(value, dict):
            self.wrong((*path, key), "is no table", f"write [{dotted((*path, key))}.<name>]")
            return {}
        found = {}
        for name, table in value.items():
            if isinstance(table, dict):
                found[name] = table
            else:
                self.wrong((*path, key, name), "is no table", f"write [{dotted((*path, key))}.{name}]")
        return found

    def table(self, holder: dict[str, Any], key: str, path: Path) -> dict[str, Any] | None:
        """The table ``[key]``; None when it is absent or none."""
        value = holder.get(key)
        if value is not None and not isinstance(value, dict):
            named = ".".join("<name>" if index == 1 else str(part) for index, part in enumerate((*path, key)))
            self.wrong((*path, key), "is no table", f"write [{named}]")
            return None
        return value

    def integer(self, table: dict[str, Any], key: str, path: Path, default: int, low: int, high: int) -> int:
        value = table.get(key, default)
        if not is_int(value) or not low <= value <= high:
            self.wrong((*path, key), f"{shown(value)} is out of range", f"a whole number from {low} to {high}")
            return default
        return int(value)

    def boolean(self, table: dict[str, Any], key: str, path: Path, default: bool) -> bool:
        value = table.get(key, default)
        if not isinstance(value, bool):
            self.wrong((*path, key), f"{shown(value)} is neither true nor false", "write true or false")
            return default
        return value

    def text(self, table: dict[str, Any], key: str, path: Path, default: str, example: str) -> str:
        value = table.get(key, default)
        if not isinstance(value, str) or not 0 < len(value.strip()) <= 250:
            self.wrong((*path, key), "is no text of 1 to 250 characters", f"write for example {example}")
            return default
        return value

    def choice(self, table: dict[str, Any], key: str, path: Path, kind: type[E], default: E) -> E:
        value = table.get(key, default.value)
        try:
            return kind(value)
        except ValueError:
            names = [each.value for each in kind]
            self.wrong((*path, key), f"unknown {key} {shown(value)}", nearest(value, names, one_of(names)))
            return default

    def percent(self, table: dict[str, Any], key: str, path: Path) -> Decimal | None:
        """More than 0, 100 at most, two decimal places; None when it is absent or wrong."""
        value = table.get(key)
        if value is None:
            return None
        if is_number(value) and 0 < value <= 100 and Decimal(value) == round(Decimal(value), 2):
            return Decimal(value)
        self.wrong(
            (*path, key), f"{shown(value)} is no percentage", "more than 0, up to 100, with two decimals at most"
        )
        return None

    def currency(self, table: dict[str, Any], path: Path, default: str = "usd") -> str:
        value = table.get("currency", default)
        if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
            self.wrong((*path, "currency"), "is no currency", 'a lower-case ISO code such as "eur"')
            return default
        return value

    def names(self, table: dict[str, Any], key: str, path: Path, example: str) -> list[str]:
        """A list of texts, each once; its meaning is the caller's to check."""
        value = table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            self.wrong((*path, key), "is no list of names", f"write for example {example}")
            return []
        for name in sorted({name for name in value if value.count(name) > 1}):
            self.wrong((*path, key), f"{name!r} is listed twice", "remove one")
        return value

    def model(self, table: dict[str, Any], kind: type[M], path: Path) -> M | None:
        """A table whose keys are a model's fields."""
        self.known(table, kind.model_fields, path)
        given = {key: plain(item) for key, item in table.items() if key in kind.model_fields}
        try:
            return kind.model_validate(given, strict=True)
        except ValidationError as error:
            for detail in error.errors():
                key = str(detail["loc"][0])
                meaning = kind.model_fields[key].description or "see components/spec.py"
                self.wrong((*path, key), detail["msg"], meaning)
            return None


def plain(value: Any) -> Any:
    """A value of the file as pydantic's strict mode takes it: numbers with a point were read as decimals."""
    if isinstance(value, Decimal):
        return float(value)
    return tuple(plain(item) for item in value) if isinstance(value, list) else value


def shown(value: Any) -> str:
    """A value of the file as one reads it there, shortened."""
    match value:
        case bool():
            text = str(value).lower()
        case Decimal() | date() | time():
            text = str(value)
        case _:
            text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """A whole or decimal number that is finite."""
    return is_int(value) or (isinstance(value, Decimal) and value.is_finite())


def nearest(value: Any, names: Iterable[str], otherwise: str) -> str:
    near = difflib.get_close_matches(str(value), list(names), n=1)
    return f"did you mean {near[0]}?" if near else otherwise


def one_of(names: Iterable[str]) -> str:
    return f"one of {', '.join(names)}"


def dotted(path: Path) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


_HEADER = re.compile(r"\s*(\[{1,2})\s*([^\[\]]+?)\s*\]{1,2}\s*(?:#.*)?")
_KEY = re.compile(r"""\s*([A-Za-z0-9_-]+|"[^"]*"|'[^']*')\s*=""")


def lines(text: str) -> dict[Path, int]:
    """Path -> line, for messages: tables and keys as they are usually written."""
    found: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.fullmatch(line):
            table = tuple(part.strip().strip("\"'") for part in header.group(2).split("."))
            if header.group(1) == "[[":
                found.setdefault(table, number)
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            found.setdefault((*table, key.group(1).strip("\"'")), number)
    return found
