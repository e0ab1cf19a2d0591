"""Reads what ``plans.toml`` promises around payments: trials, dunning, the end of data, rates, and the portal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from components.spec import Access
from provisioner.billing.catalogue import RateLimit
from provisioner.billing.catalogue_findings import Findings, Path, is_int, nearest, shown
from provisioner.billing.terms import (
    DEFAULT_PORTAL,
    Deletion,
    Dunning,
    Portal,
    PortalCancellation,
    Terms,
    Trial,
    WithoutPaymentMethod,
)

TERMS_KEYS = ("trial", "dunning", "deletion", "archive_days", "asleep_after_days")
_TRIAL_KEYS = ("days", "requires_payment_method", "without_payment_method")
_STEPS = ("throttled_after_days", "read_only_after_days", "suspended_after_days", "hibernated_after_days")
_DUNNING_KEYS = (*_STEPS, "throttled_percent", "on_dispute", "on_dispute_lost", "on_refund")
_PORTAL_KEYS = (
    "headline", "privacy_policy_url", "terms_of_service_url", "return_url", "cancellation", "plan_changes",
)  # fmt: skip
_RATE_KEYS = ("name", "amount", "per", "soft")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_RATE = re.compile(r"([0-9]{1,12})\s*(?:/|per)\s*([0-9]{0,6})\s*([a-z]+)")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
MAX_TRIAL_DAYS = 730  #: Stripe's
MAX_STEP_DAYS = 365
MAX_ARCHIVE_DAYS = 3650
MAX_RATE = 10**12
NEVER = "never"


class _Consequence(StrEnum):
    """What a dispute or a refund may do to a tenant's access."""

    FULL = Access.FULL.value
    THROTTLED = Access.THROTTLED.value
    READ_ONLY = Access.READ_ONLY.value
    SUSPENDED = Access.SUSPENDED.value


def read_default_dunning(findings: Findings, document: dict[str, Any], terms: Terms) -> Terms:
    """The table ``[dunning]``: for every plan that doesn't say otherwise."""
    table = findings.table(document, "dunning", ())
    return terms if table is None else _with_dunning(findings, table, ("dunning",), terms)


def read_terms(findings: Findings, table: dict[str, Any], path: Path, default: Terms) -> Terms:
    terms = replace(default, trial=_trial(findings, table, path))
    dunning = findings.table(table, "dunning", path)
    if dunning is not None:
        terms = _with_dunning(findings, dunning, (*path, "dunning"), terms)
    deletion = findings.choice(table, "deletion", path, Deletion, default.deletion)
    if "archive_days" in table and deletion is not Deletion.ARCHIVE:
        fix = f'write deletion = "{Deletion.ARCHIVE}", or remove it'
        findings.wrong((*path, "archive_days"), f"deletion is {deletion}: nothing is archived", fix)
    days = findings.integer(table, "archive_days", path, default.archive_days, 1, MAX_ARCHIVE_DAYS)
    asleep = _step(findings, table, "asleep_after_days", path, default.asleep_after, "the subscription ended")
    return replace(terms, deletion=deletion, archive_days=days, asleep_after=asleep)


def _trial(findings: Findings, holder: dict[str, Any], path: Path) -> Trial:
    table = findings.table(holder, "trial", path)
    if table is None:
        return Trial()
    path = (*path, "trial")
    findings.known(table, _TRIAL_KEYS, path)
    if "days" not in table:
        findings.wrong((*path, "days"), "missing", f"a whole number from 1 to {MAX_TRIAL_DAYS}")
    return Trial(
        findings.integer(table, "days", path, 1, 1, MAX_TRIAL_DAYS),
        findings.boolean(table, "requires_payment_method", path, False),
        findings.choice(table, "without_payment_method", path, WithoutPaymentMethod, WithoutPaymentMethod.CANCEL),
    )


def _with_dunning(findings: Findings, table: dict[str, Any], path: Path, default: Terms) -> Terms:
    findings.known(table, _DUNNING_KEYS, path)
    before = len(findings)
    standing = (
        default.dunning.throttled_after,
        default.dunning.read_only_after,
        default.dunning.suspended_after,
        default.dunning.hibernated_after,
    )
    steps = [_step(findings, table, key, path, fallback) for key, fallback in zip(_STEPS, standing, strict=True)]
    if len(findings) == before:
        _rising(findings, table, path, steps)
    return replace(
        default,
        dunning=Dunning(*steps),
        throttled_percent=findings.integer(table, "throttled_percent", path, default.throttled_percent, 1, 100),
        on_dispute=_consequence(findings, table, "on_dispute", path, default.on_dispute),
        on_dispute_lost=_consequence(findings, table, "on_dispute_lost", path, default.on_dispute_lost),
        on_refund=_consequence(findings, table, "on_refund", path, default.on_refund),
    )


def _step(
    findings: Findings,
    table: dict[str, Any],
    key: str,
    path: Path,
    default: timedelta | None,
    since: str = "the payment failed",
) -> timedelta | None:
    value = table.get(key)
    if value is None:
        return default
    if value == NEVER:
        return None
    if not is_int(value) or not 0 <= value <= MAX_STEP_DAYS:
        fix = f'days since {since}, 0 (at once) to {MAX_STEP_DAYS}, or "{NEVER}"'
        findings.wrong((*path, key), f"{shown(value)} is no number of days", fix)
        return default
    return timedelta(days=value)


def _rising(findings: Findings, table: dict[str, Any], path: Path, steps: list[timedelta | None]) -> None:
    earlier: tuple[str, timedelta] | None = None
    for key, step in zip(_STEPS, steps, strict=True):
        if step is None:
            continue
        if earlier is not None and step <= earlier[1]:
            by_default = "" if key in table else ", by default,"
            # The key that is written is the one to point at.
            at = key if key in table else earlier[0]
            findings.wrong(
                (*path, at),
                f"{key}{by_default} is {step.days}, and {earlier[0]} is {earlier[1].days}: steps must come in order",
                f'a later day for {key}, or {key} = "{NEVER}" to leave the step out',
            )
        earlier = (key, step)


def _consequence(findings: Findings, table: dict[str, Any], key: str, path: Path, default: Access) -> Access:
    return Access(findings.choice(table, key, path, _Consequence, _Consequence(default.value)).value)


def read_soft_limits(
    findings: Findings, table: dict[str, Any], path: Path, limits: Mapping[str, int]
) -> tuple[str, ...]:
    names = findings.names(table, "soft_limits", path, '["storage_mib"]')
    for name in names:
        if name not in limits:
            fix = nearest(name, limits, f"add it to limits, or remove it here: {name} is unlimited")
            findings.wrong((*path, "soft_limits"), f"the plan has no limit {name!r}", fix)
    return tuple(sorted(names))


def read_rates(findings: Findings, table: dict[str, Any], path: Path) -> tuple[RateLimit, ...]:
    """``rates = { api = "100/second" }``, or tables ``[[plans.<name>.rates]]`` of name, amount, per and soft."""
    value = table.get("rates", {})
    path = (*path, "rates")
    example = 'write for example rates = { api = "100/second" }'
    entries: list[tuple[Path, RateLimit | None]] = []
    if isinstance(value, dict):
        for name, text in value.items():
            entries.append(((*path, name), _rate(findings, (*path, name), name, text, soft=False)))
    elif isinstance(value, list) and all(isinstance(entry, dict) for entry in value):
        for index, entry in enumerate(value):
            where = (*path, index)
            findings.known(entry, _RATE_KEYS, where)
            soft = findings.boolean(entry, "soft", where, False)
            text = f"{entry.get('amount')}/{entry.get('per', 'second')}"
            entries.append((where, _rate(findings, where, entry.get("name"), text, soft=soft)))
    else:
        findings.wrong(path, "is neither a table nor a list of tables", example)
    rates: list[RateLimit] = []
    for where, rate in entries:
        if rate is not None and any((rate.name, rate.seconds) == (each.name, each.seconds) for each in rates):
            findings.wrong(where, f"{rate.name} has two rates for the same {rate.seconds} s", "remove one")
        elif rate is not None:
            rates.append(rate)
    return tuple(rates)


def _rate(findings: Findings, path: Path, name: Any, text: Any, *, soft: bool) -> RateLimit | None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        findings.wrong(path, f"{shown(name)} is no name of a rate", "lower-case letters, digits and _; a letter first")
        return None
    match = _RATE.fullmatch(text.strip()) if isinstance(text, str) else None
    unit = "" if match is None else match.group(3).removesuffix("s")
    if match is None or unit not in _SECONDS:
        findings.wrong(path, f"{shown(text)} is no rate", f'for example "100/second", per {", ".join(_SECONDS)}')
        return None
    amount, seconds = int(match.group(1)), int(match.group(2) or 1) * _SECONDS[unit]
    if not 0 < amount <= MAX_RATE or not 0 < seconds <= 31 * 86400:
        findings.wrong(path, f"{shown(text)} is out of range", "at least 1 call, in 1 second to 31 days")
        return None
    return RateLimit(name, amount, seconds, soft)


def read_portal(findings: Findings, document: dict[str, Any]) -> Portal:
    table = findings.table(document, "portal", ())
    if table is None:
        return DEFAULT_PORTAL
    path: Path = ("portal",)
    findings.known(table, _PORTAL_KEYS, path)
    headline = (
        findings.text(table, "headline", path, "x", 'headline = "Your subscription"') if "headline" in table else None
    )
    if headline is not None and len(headline) > 60:
        findings.wrong((*path, "headline"), "is longer than 60 characters", "shorten it: Stripe takes no more")
    return Portal(
        headline,
        _url(findings, table, "privacy_policy_url", path),
        _url(findings, table, "terms_of_service_url", path),
        _url(findings, table, "return_url", path),
        findings.choice(table, "cancellation", path, PortalCancellation, PortalCancellation.AT_PERIOD_END),
        findings.boolean(table, "plan_changes", path, True),
    )


def _url(findings: Findings, table: dict[str, Any], key: str, path: Path) -> str | None:
    value = table.get(key)
    if value is None:
        return None
    try:
        legal = isinstance(value, str) and urlsplit(value).scheme == "https" and bool(urlsplit(value).hostname)
    except ValueError:
        legal = False
    if not legal:
        findings.wrong((*path, key), f"{shown(value)} is no address", "an https:// URL")
        return None
    return str(value)
