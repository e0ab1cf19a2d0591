"""Reads and validates ``plans.toml``. Every problem is found in one run, with its line and its fix."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from components.spec import Budget, InstanceSpec
from components.tiers import TIERS, Tier
from provisioner.billing.catalogue import (
    ALL_FEATURES,
    Catalogue,
    CatalogueInvalid,
    Plan,
    Problem,
    freeze,
)
from provisioner.billing.pricing import PlanPrice

_PLAN_KEYS = (
    "tier", "title", "prices", "entitlements", "limits", "retention_days", "connection_limit", "instance", "budget",
)  # fmt: skip
_PRICE_KEYS = ("lookup_key", "interval", "unit_amount", "currency")
_PLAN_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_FEATURE = re.compile(r"[a-z][a-z0-9_.-]{0,79}")
_LIMIT = re.compile(r"[a-z][a-z0-9_]{0,62}")
_LOOKUP_KEY = re.compile(r"[A-Za-z0-9_.:-]{1,200}")
_CURRENCY = re.compile(r"[a-z]{3}")
MAX_RETENTION_DAYS = 3650
MAX_CONNECTIONS = 5000
MAX_LIMIT = 2**53
DEFAULT_RETENTION_DAYS = 30
DEFAULT_CONNECTION_LIMIT = 20

Path = tuple[str | int, ...]


def parse(text: str, source: str) -> Catalogue:
    """``CatalogueInvalid`` with every problem, in the file's order."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        problem = Problem("file", f"is not TOML: {error}", "see https://toml.io", int(line.group(1)) if line else None)
        raise CatalogueInvalid(source, (problem,)) from None
    except RecursionError:
        raise CatalogueInvalid(source, (Problem("file", "is nested too deeply", "see https://toml.io"),)) from None
    reader = _Reader(_lines(text))
    plans = reader.plans(document)
    if reader.problems:
        ordered = sorted(reader.problems, key=lambda problem: (problem.line is None, problem.line or 0))
        raise CatalogueInvalid(source, tuple(ordered))
    return Catalogue(source, plans)


class _Reader:
    def __init__(self, lines: dict[Path, int]) -> None:
        self.problems: list[Problem] = []
        self._lines = lines

    def wrong(self, path: Path, message: str, fix: str) -> None:
        line = next((self._lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self._lines), None)
        self.problems.append(Problem(_dotted(path), message, fix, line))

    def plans(self, document: dict[str, Any]) -> dict[str, Plan]:
        self.known(document, ("plans",), ())
        tables = document.get("plans")
        if not isinstance(tables, dict) or not tables:
            self.wrong(("plans",), "there is no plan", "add a table [plans.<name>]")
            return {}
        plans = {name: plan for name, table in tables.items() if (plan := self.plan(name, table)) is not None}
        self.unique_keys(tables)
        return plans

    def plan(self, name: str, table: Any) -> Plan | None:
        path: Path = ("plans", name)
        before = len(self.problems)
        if not _PLAN_NAME.fullmatch(name):
            self.wrong(
                path, "is no legal plan name", "use a lower-case letter, then letters, digits, _ or -; 40 at most"
            )
        if not isinstance(table, dict):
            self.wrong(path, "is no table", f"write [plans.{name}]")
            return None
        self.known(table, _PLAN_KEYS, path)
        tier = self.tier(table, path)
        title = table.get("title", name)
        if not isinstance(title, str) or not 0 < len(title.strip()) <= 250:
            self.wrong((*path, "title"), "is no text of 1 to 250 characters", 'write for example title = "Team"')
        prices = self.prices(table, path)
        entitlements = self.entitlements(table, path)
        limits = self.limits(table, path)
        retention = self.integer(table, "retention_days", path, DEFAULT_RETENTION_DAYS, 0, MAX_RETENTION_DAYS)
        connections = self.integer(table, "connection_limit", path, DEFAULT_CONNECTION_LIMIT, 1, MAX_CONNECTIONS)
        instance = self.instance(table, path, tier)
        budget = self.budget(table, path, instance)
        if len(self.problems) > before or tier is None:
            return None
        return Plan(name, title, tier, prices, entitlements, freeze(limits), retention, connections, instance, budget)

    def known(self, table: dict[str, Any], keys: Iterable[str], path: Path) -> None:
        allowed = list(keys)
        for key in table:
            if key not in allowed:
                near = difflib.get_close_matches(key, allowed, n=1)
                fix = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(allowed)}"
                self.wrong((*path, key), "unknown key", fix)

    def tier(self, table: dict[str, Any], path: Path) -> Tier | None:
        names = [tier.value for tier in Tier]
        value = table.get("tier")
        if value is None:
            self.wrong((*path, "tier"), "missing", f"one of {', '.join(names)}")
        elif value not in names:
            near = difflib.get_close_matches(str(value), names, n=1)
            hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(names)}"
            self.wrong((*path, "tier"), f"unknown tier {value!r}", hint)
        else:
            return Tier(value)
        return None

    def prices(self, table: dict[str, Any], path: Path) -> tuple[PlanPrice, ...]:
        value = table.get("prices")
        example = "add [[plans.<name>.prices]] with lookup_key and interval"
        if not isinstance(value, list) or not value or not all(isinstance(entry, dict) for entry in value):
            self.wrong((*path, "prices"), "missing" if value is None else "is no list of tables", example)
            return ()
        prices = [self.price(entry, (*path, "prices", index)) for index, entry in enumerate(value)]
        return tuple(price for price in prices if price is not None)

    def price(self, entry: dict[str, Any], path: Path) -> PlanPrice | None:
        before = len(self.problems)
        self.known(entry, _PRICE_KEYS, path)
        key = entry.get("lookup_key")
        if not isinstance(key, str) or not _LOOKUP_KEY.fullmatch(key):
            what = "missing" if key is None else "is no lookup key"
            self.wrong((*path, "lookup_key"), what, "the lookup key of a Stripe price: letters, digits, _ . : -")
        interval = entry.get("interval")
        if interval not in ("month", "year"):
            what = "missing" if interval is None else f"unknown interval {interval!r}"
            self.wrong((*path, "interval"), what, 'write "month" or "year"')
        amount = entry.get("unit_amount")
        if amount is not None and (not _is_int(amount) or not 0 <= amount <= 99_999_999):
            self.wrong(
                (*path, "unit_amount"), "is no amount", "a whole number of the smallest unit: 9900 is 99 dollars"
            )
        currency = entry.get("currency", "usd")
        if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency):
            self.wrong((*path, "currency"), "is no currency", 'a lower-case ISO code such as "eur"')
        if len(self.problems) > before:
            return None
        return PlanPrice(str(key), str(interval), None if amount is None else Decimal(amount), currency)

    def entitlements(self, table: dict[str, Any], path: Path) -> tuple[str, ...]:
        path = (*path, "entitlements")
        value = table.get("entitlements", [])
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            self.wrong(path, "is no list of feature names", 'write for example ["reports", "sso"], or ["*"] for all')
            return ()
        if ALL_FEATURES in value:
            if len(value) > 1:
                self.wrong(path, '"*" stands beside other names', 'write ["*"] alone: it means all')
            return (ALL_FEATURES,)
        for name in value:
            if not _FEATURE.fullmatch(name):
                self.wrong(path, f"{name!r} is no feature name", "lower-case letters, digits, _ . -; a letter first")
        for name in sorted({name for name in value if value.count(name) > 1}):
            self.wrong(path, f"{name!r} is listed twice", "remove one")
        return tuple(sorted(value))

    def limits(self, table: dict[str, Any], path: Path) -> dict[str, int]:
        path = (*path, "limits")
        value = table.get("limits", {})
        if not isinstance(value, dict):
            self.wrong(path, "is no table", "write for example limits = { seats = 25 }")
            return {}
        for name, limit in value.items():
            if not _LIMIT.fullmatch(name):
                self.wrong((*path, name), "is no limit name", "lower-case letters, digits and _; a letter first")
            if not _is_int(limit) or not 0 <= limit <= MAX_LIMIT:
                self.wrong((*path, name), "is no whole number from 0", "leave the name out for unlimited")
        return value

    def integer(self, table: dict[str, Any], key: str, path: Path, default: int, low: int, high: int) -> int:
        value = table.get(key, default)
        if not _is_int(value) or not low <= value <= high:
            self.wrong((*path, key), f"{value!r} is out of range", f"a whole number from {low} to {high}")
            return default
        return int(value)

    def instance(self, table: dict[str, Any], path: Path, tier: Tier | None) -> InstanceSpec | None:
        path = (*path, "instance")
        value = table.get("instance")
        if tier is not None and not TIERS[tier].own_instance:
            if value is not None:
                own = ", ".join(tier.value for tier, has in TIERS.items() if has.own_instance)
                self.wrong(path, f"tier {tier} has no own instance", f"remove it, or use one of these tiers: {own}")
            return None
        if value is None:
            return InstanceSpec()
        if not isinstance(value, dict):
            self.wrong(path, "is no table", "write [plans.<name>.instance]")
            return None
        self.known(value, InstanceSpec.model_fields, path)
        try:
            return InstanceSpec.model_validate(
                {key: item for key, item in value.items() if key in InstanceSpec.model_fields}, strict=True
            )
        except ValidationError as error:
            for detail in error.errors():
                key = str(detail["loc"][0])
                meaning = InstanceSpec.model_fields[key].description or "see components/spec.py"
                self.wrong((*path, key), detail["msg"], meaning)
            return None

    def budget(self, table: dict[str, Any], path: Path, instance: InstanceSpec | None) -> Budget | None:
        path = (*path, "budget")
        value = table.get("budget")
        if value is None:
            return None
        if not isinstance(value, dict):
            self.wrong(path, "is no table", "write [plans.<name>.budget]")
            return None
        self.known(value, Budget.model_fields, path)
        try:
            budget = Budget.model_validate(
                {
                    key: tuple(item) if isinstance(item, list) else item
                    for key, item in value.items()
                    if key in Budget.model_fields
                },
                strict=True,
            )
        except ValidationError as error:
            for detail in error.errors():
                key = str(detail["loc"][0])
                meaning = Budget.model_fields[key].description or "see components/spec.py"
                self.wrong((*path, key), detail["msg"], meaning)
            return None
        classes = budget.instance_classes
        if instance is not None and classes and instance.instance_class not in classes:
            message = f"the plan's own instance class {instance.instance_class} is not among them"
            self.wrong((*path, "instance_classes"), message, "add it, or change [plans.<name>.instance]")
        return budget

    def unique_keys(self, tables: dict[str, Any]) -> None:
        """A lookup key that two prices share would make the plan of a subscription ambiguous."""
        seen: dict[str, Path] = {}
        for name, table in tables.items():
            entries = table.get("prices") if isinstance(table, dict) else None
            for index, entry in enumerate(entries if isinstance(entries, list) else []):
                key = entry.get("lookup_key") if isinstance(entry, dict) else None
                path: Path = ("plans", name, "prices", index, "lookup_key")
                if isinstance(key, str) and key in seen:
                    self.wrong(path, f"{key!r} is used by {_dotted(seen[key])} too", "give each price its own key")
                elif isinstance(key, str):
                    seen[key] = path


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _dotted(path: Path) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


_HEADER = re.compile(r"\s*(\[{1,2})\s*([^\[\]]+?)\s*\]{1,2}\s*(?:#.*)?")
_KEY = re.compile(r"""\s*([A-Za-z0-9_-]+|"[^"]*"|'[^']*')\s*=""")


def _lines(text: str) -> dict[Path, int]:
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
