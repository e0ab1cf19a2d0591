"""Reads and validates ``plans.toml``. Every problem is found in one run, with its line and its fix."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

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
from provisioner.billing.catalogue_findings import Findings, Path, dotted, is_int, nearest, one_of, shown
from provisioner.billing.catalogue_prices import PriceReader, read_coupons, read_included, read_meters
from provisioner.billing.catalogue_terms import (
    TERMS_KEYS,
    read_default_dunning,
    read_portal,
    read_rates,
    read_soft_limits,
    read_terms,
)
from provisioner.billing.pricing import Meter
from provisioner.billing.terms import DEFAULT_TERMS, Terms

_FILE_KEYS = ("plans", "meters", "features", "tax", "dunning", "coupons", "portal")
_PLAN_KEYS = (
    "tier", "title", "prices", "entitlements", "limits", "soft_limits", "rates", "included", "retention_days",
    "connection_limit", "instance", "budget", *TERMS_KEYS,
)  # fmt: skip
_PLAN_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_FEATURE = re.compile(r"[a-z][a-z0-9_.-]{0,79}")
_LIMIT = re.compile(r"[a-z][a-z0-9_]{0,62}")
MAX_RETENTION_DAYS = 3650
MAX_CONNECTIONS = 5000
MAX_LIMIT = 2**53
DEFAULT_RETENTION_DAYS = 30
DEFAULT_CONNECTION_LIMIT = 20


def parse(text: str, source: str) -> Catalogue:
    """``CatalogueInvalid`` with every problem, in the file's order."""
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        problem = Problem("file", f"is not TOML: {error}", "see https://toml.io", int(line.group(1)) if line else None)
        raise CatalogueInvalid(source, (problem,)) from None
    except RecursionError:
        raise CatalogueInvalid(source, (Problem("file", "is nested too deeply", "see https://toml.io"),)) from None
    except ArithmeticError:  # a number with an exponent beyond decimal's
        raise CatalogueInvalid(source, (Problem("file", "has an absurd number", "write it out"),)) from None
    findings = Findings(text)
    catalogue = _Reader(findings).read(document, source)
    if findings.problems:
        raise CatalogueInvalid(source, findings.in_order())
    return catalogue


class _Reader:
    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._meters: Mapping[str, Meter] = {}
        self._features: Mapping[str, str] = {}
        self._terms = DEFAULT_TERMS

    def read(self, document: dict[str, Any], source: str) -> Catalogue:
        findings = self._findings
        findings.known(document, _FILE_KEYS, ())
        self._meters = read_meters(findings, document)
        self._features = self.features(document)
        self._terms = read_default_dunning(findings, document, DEFAULT_TERMS)
        tax = findings.table(document, "tax", ()) or {}
        findings.known(tax, ("automatic",), ("tax",))
        automatic_tax = findings.boolean(tax, "automatic", ("tax",), False)
        plans = self.plans(document)
        named = document.get("plans")
        coupons = read_coupons(findings, document, named if isinstance(named, dict) else ())
        portal = read_portal(findings, document)
        return Catalogue(source, plans, self._meters, self._features, automatic_tax, coupons, portal)

    def features(self, document: dict[str, Any]) -> dict[str, str]:
        """Feature -> title. A file that has the table names every feature in it."""
        table = self._findings.table(document, "features", ()) or {}
        for name in table:
            if not _FEATURE.fullmatch(name):
                self._findings.wrong(("features", name), "is no feature name", _FEATURE_FIX)
        return {
            name: self._findings.text(table, name, ("features",), name, f'{name} = "{name.capitalize()}"')
            for name in table
        }

    def plans(self, document: dict[str, Any]) -> dict[str, Plan]:
        tables = document.get("plans")
        if not isinstance(tables, dict) or not tables:
            self._findings.wrong(("plans",), "there is no plan", "add a table [plans.<name>]")
            return {}
        plans = {name: plan for name, table in tables.items() if (plan := self.plan(name, table)) is not None}
        self.unique_keys(tables)
        return plans

    def plan(self, name: str, table: Any) -> Plan | None:
        findings = self._findings
        path: Path = ("plans", name)
        before = len(findings)
        if not _PLAN_NAME.fullmatch(name):
            fix = "use a lower-case letter, then letters, digits, _ or -; 40 at most"
            findings.wrong(path, "is no legal plan name", fix)
        if not isinstance(table, dict):
            findings.wrong(path, "is no table", f"write [plans.{name}]")
            return None
        findings.known(table, _PLAN_KEYS, path)
        tier = self.tier(table, path)
        title = findings.text(table, "title", path, name, 'title = "Team"')
        included = read_included(findings, table, path, self._meters)
        prices = PriceReader(findings, path, self._meters, included)
        sold = prices.read(table)
        entitlements = self.entitlements(table, path)
        limits = self.limits(table, path)
        soft = read_soft_limits(findings, table, path, limits)
        rates = read_rates(findings, table, path)
        retention = findings.integer(table, "retention_days", path, DEFAULT_RETENTION_DAYS, 0, MAX_RETENTION_DAYS)
        connections = findings.integer(table, "connection_limit", path, DEFAULT_CONNECTION_LIMIT, 1, MAX_CONNECTIONS)
        instance = self.instance(table, path, tier)
        budget = self.budget(table, path, instance)
        terms: Terms = read_terms(findings, table, path, self._terms)
        if len(findings) > before or tier is None:
            return None
        return Plan(
            name,
            title,
            tier,
            sold,
            entitlements,
            freeze(limits),
            retention,
            connections,
            instance,
            budget,
            terms,
            rates,
            soft,
            freeze({**prices.given, **included}),
        )

    def tier(self, table: dict[str, Any], path: Path) -> Tier | None:
        names = [tier.value for tier in Tier]
        value = table.get("tier")
        if value is None:
            self._findings.wrong((*path, "tier"), "missing", one_of(names))
        elif value not in names:
            fix = nearest(value, names, one_of(names))
            self._findings.wrong((*path, "tier"), f"unknown tier {shown(value)}", fix)
        else:
            return Tier(value)
        return None

    def entitlements(self, table: dict[str, Any], path: Path) -> tuple[str, ...]:
        findings, path = self._findings, (*path, "entitlements")
        value = table.get("entitlements", [])
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            findings.wrong(
                path, "is no list of feature names", 'write for example ["reports", "sso"], or ["*"] for all'
            )
            return ()
        if ALL_FEATURES in value:
            if len(value) > 1:
                findings.wrong(path, '"*" stands beside other names', 'write ["*"] alone: it means all')
            return (ALL_FEATURES,)
        for name in value:
            if not _FEATURE.fullmatch(name):
                findings.wrong(path, f"{name!r} is no feature name", _FEATURE_FIX)
            elif self._features and name not in self._features:
                fix = nearest(name, self._features, f'add {name} = "..." to [features]')
                findings.wrong(path, f"{name!r} is not among [features]", fix)
        for name in sorted({name for name in value if value.count(name) > 1}):
            findings.wrong(path, f"{name!r} is listed twice", "remove one")
        return tuple(sorted(value))

    def limits(self, table: dict[str, Any], path: Path) -> dict[str, int]:
        path = (*path, "limits")
        value = table.get("limits", {})
        if not isinstance(value, dict):
            self._findings.wrong(path, "is no table", "write for example limits = { seats = 25 }")
            return {}
        for name, limit in value.items():
            if not _LIMIT.fullmatch(name):
                self._findings.wrong(
                    (*path, name), "is no limit name", "lower-case letters, digits and _; a letter first"
                )
            if not is_int(limit) or not 0 <= limit <= MAX_LIMIT:
                self._findings.wrong((*path, name), "is no whole number from 0", "leave the name out for unlimited")
        return value

    def instance(self, table: dict[str, Any], path: Path, tier: Tier | None) -> InstanceSpec | None:
        if tier is not None and not TIERS[tier].own_instance:
            if table.get("instance") is not None:
                own = ", ".join(tier.value for tier, has in TIERS.items() if has.own_instance)
                fix = f"remove it, or use one of these tiers: {own}"
                self._findings.wrong((*path, "instance"), f"tier {tier} has no own instance", fix)
            return None
        value = self._findings.table(table, "instance", path)
        if value is None:
            return InstanceSpec()
        return self._findings.model(value, InstanceSpec, (*path, "instance"))

    def budget(self, table: dict[str, Any], path: Path, instance: InstanceSpec | None) -> Budget | None:
        value = self._findings.table(table, "budget", path)
        if value is None:
            return None
        path = (*path, "budget")
        budget = self._findings.model(value, Budget, path)
        classes = None if budget is None else budget.instance_classes
        if instance is not None and classes and instance.instance_class not in classes:
            message = f"the plan's own instance class {instance.instance_class} is not among them"
            self._findings.wrong((*path, "instance_classes"), message, "add it, or change [plans.<name>.instance]")
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
                    said = f"{key!r} is used by {dotted(seen[key])} too"
                    self._findings.wrong(path, said, "give each price its own key")
                elif isinstance(key, str):
                    seen[key] = path


_FEATURE_FIX = "lower-case letters, digits, _ . -; a letter first"
