"""Reads what ``plans.toml`` says about money: meters, prices with their tiers, and coupons."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from provisioner.billing.catalogue_findings import Findings, Path, dotted, is_int, is_number, nearest, one_of, shown
from provisioner.billing.pricing import (
    Aggregation,
    Coupon,
    CouponDuration,
    Meter,
    PlanPrice,
    PriceTier,
    PricingModel,
    TaxBehavior,
    annual,
    included_tiers,
    units_included,
)

PRICE_KEYS = (
    "lookup_key", "interval", "unit_amount", "currency", "model", "tiers", "meter", "tax_behavior",
    "annual_discount_percent",
)  # fmt: skip
_METER_KEYS = ("title", "aggregation", "unit")
_TIER_KEYS = ("up_to", "unit_amount", "flat_amount")
_COUPON_KEYS = ("title", "percent_off", "amount_off", "currency", "duration", "months", "plans")
INTERVALS = ("month", "year")
_METER = re.compile(r"[a-z][a-z0-9_]{0,62}")
_COUPON = re.compile(r"[A-Za-z0-9_-]{1,50}")
_LOOKUP_KEY = re.compile(r"[A-Za-z0-9_.:-]{1,200}")
MAX_AMOUNT = 99_999_999  #: Stripe's: 999,999.99 of a currency with two decimals
MAX_UNITS = 10**15
MAX_TIERS = 100
_DECIMALS = 12  #: Stripe's, of amounts a unit


def read_meters(findings: Findings, document: dict[str, Any]) -> dict[str, Meter]:
    meters = {}
    for name, table in findings.tables(document, "meters").items():
        path: Path = ("meters", name)
        if not _METER.fullmatch(name):
            findings.wrong(
                path, "is no legal meter name", "lower-case letters, digits and _; a letter first; 63 at most"
            )
        findings.known(table, _METER_KEYS, path)
        unit = table.get("unit", "")
        if not isinstance(unit, str) or len(unit) > 12:
            findings.wrong((*path, "unit"), "is no text of up to 12 characters", 'write for example unit = "calls"')
            unit = ""
        meters[name] = Meter(
            name,
            findings.text(table, "title", path, name, 'title = "API calls"'),
            findings.choice(table, "aggregation", path, Aggregation, Aggregation.SUM),
            unit,
        )
    return meters


def read_included(findings: Findings, table: dict[str, Any], path: Path, meters: Collection[str]) -> Mapping[str, int]:
    """Meter -> units a month that cost nothing more."""
    value = findings.table(table, "included", path) or {}
    included = {}
    for name, units in value.items():
        if name not in meters:
            fix = nearest(name, meters, f"add [meters.{name}]")
            findings.wrong((*path, "included", name), f"there is no meter {name!r}", fix)
        elif not is_int(units) or not 0 < units <= MAX_UNITS // 12:
            findings.wrong((*path, "included", name), f"{shown(units)} is no number of units", "a whole number from 1")
        else:
            included[name] = units
    return included


class PriceReader:
    """The prices of one plan."""

    def __init__(
        self, findings: Findings, path: Path, meters: Mapping[str, Meter], included: Mapping[str, int]
    ) -> None:
        self._findings = findings
        self._path = (*path, "prices")
        self._meters = meters
        self._included = included
        self._given: dict[str, int] = {}

    @property
    def given(self) -> Mapping[str, int]:
        """Units that the prices' own tiers include a month; valid after ``read``."""
        return self._given

    def read(self, table: dict[str, Any]) -> tuple[PlanPrice, ...]:
        value = table.get("prices")
        example = "add [[plans.<name>.prices]] with lookup_key and interval"
        if not isinstance(value, list) or not value or not all(isinstance(entry, dict) for entry in value):
            self._findings.wrong(self._path, "missing" if value is None else "is no list of tables", example)
            return ()
        before = len(self._findings)
        read = [self._price(entry, (*self._path, index)) for index, entry in enumerate(value)]
        prices = [price for price in read if price is not None]
        if len(self._findings) > before:
            return tuple(prices)
        self._together(prices)
        if len(self._findings) > before:
            return tuple(prices)
        return tuple(
            self._discounted(price, prices, entry, (*self._path, index))
            for index, (price, entry) in enumerate(zip(prices, value, strict=True))
        )

    def _price(self, entry: dict[str, Any], path: Path) -> PlanPrice | None:
        findings = self._findings
        before = len(findings)
        findings.known(entry, PRICE_KEYS, path)
        key = entry.get("lookup_key")
        if not isinstance(key, str) or not _LOOKUP_KEY.fullmatch(key):
            what = "missing" if key is None else "is no lookup key"
            findings.wrong((*path, "lookup_key"), what, "the lookup key of a Stripe price: letters, digits, _ . : -")
        interval = entry.get("interval")
        if interval not in INTERVALS:
            what = "missing" if interval is None else f"unknown interval {shown(interval)}"
            findings.wrong((*path, "interval"), what, 'write "month" or "year"')
        meter = self._meter(entry, path)
        model = self._model(entry, path, meter)
        fractions = meter is not None or model.tiered
        amount = self._amount(entry, "unit_amount", path, fractions=fractions)
        tiers = self._tiers(entry, path, model)
        currency = findings.currency(entry, path)
        tax = findings.choice(entry, "tax_behavior", path, TaxBehavior, TaxBehavior.UNSPECIFIED)
        if len(findings) > before:
            return None
        price = PlanPrice(str(key), str(interval), amount, currency, model, tiers, meter, tax)
        return price if meter is None else self._with_included(price, entry, path)

    def _meter(self, entry: dict[str, Any], path: Path) -> str | None:
        meter = entry.get("meter")
        if meter is None:
            return None
        if not isinstance(meter, str) or meter not in self._meters:
            fix = nearest(meter, self._meters, f"add [meters.{meter}]" if isinstance(meter, str) else "name a meter")
            self._findings.wrong((*path, "meter"), f"there is no meter {shown(meter)}", fix)
        return str(meter)

    def _model(self, entry: dict[str, Any], path: Path, meter: str | None) -> PricingModel:
        default = PricingModel.FLAT if meter is None else PricingModel.METERED
        if "tiers" in entry and "model" not in entry:
            self._findings.wrong(
                (*path, "tiers"), "there are tiers, and no model", 'write model = "graduated" or model = "volume"'
            )
            return PricingModel.GRADUATED
        model = self._findings.choice(entry, "model", path, PricingModel, default)
        if model is PricingModel.METERED and meter is None:
            self._findings.wrong((*path, "model"), "is metered, and names no meter", 'add meter = "<name>"')
        if meter is not None and model in (PricingModel.FLAT, PricingModel.PER_SEAT):
            self._findings.wrong(
                (*path, "model"), f"a price with a meter can't be {model}", one_of(["metered", "graduated", "volume"])
            )
        return model

    def _amount(self, table: dict[str, Any], key: str, path: Path, *, fractions: bool) -> Decimal | None:
        value = table.get(key)
        if value is None:
            return None
        legal = is_number(value) if fractions else is_int(value)
        if legal and 0 <= value <= MAX_AMOUNT and Decimal(value) == round(Decimal(value), _DECIMALS):
            return Decimal(value)
        fix = "a whole number of the smallest unit: 9900 is 99 dollars"
        if fractions:
            fix = f"a number of the smallest unit, with {_DECIMALS} decimals at most: 0.2 is a fifth of a cent"
        self._findings.wrong((*path, key), "is no amount", fix)
        return None

    def _tiers(self, entry: dict[str, Any], path: Path, model: PricingModel) -> tuple[PriceTier, ...]:
        findings, value = self._findings, entry.get("tiers")
        where = (*path, "tiers")
        if not model.tiered:
            if value is not None:
                findings.wrong(where, f"a price that is {model} has no tiers", 'remove them, or model = "graduated"')
            return ()
        if "unit_amount" in entry:
            findings.wrong((*path, "unit_amount"), "a tiered price has its amounts in its tiers", "move it there")
        if value is None:
            return ()  # Stripe knows them, or the monthly price does
        if not isinstance(value, list) or not value or not all(isinstance(tier, dict) for tier in value):
            example = "tiers = [{ up_to = 10, unit_amount = 900 }, { unit_amount = 800 }]"
            findings.wrong(where, "is no list of tiers", f"write for example {example}")
            return ()
        if len(value) > MAX_TIERS:
            findings.wrong(where, f"there are {len(value)} tiers", f"{MAX_TIERS} at most")
        tiers: list[PriceTier] = []
        for index, tier in enumerate(value):
            tiers.append(self._tier(tier, (*where, index), tiers, last=index == len(value) - 1))
        return tuple(tiers)

    def _tier(self, tier: dict[str, Any], path: Path, before: list[PriceTier], *, last: bool) -> PriceTier:
        findings = self._findings
        findings.known(tier, _TIER_KEYS, path)
        up_to = tier.get("up_to")
        if up_to is not None and (not is_int(up_to) or not 0 < up_to <= MAX_UNITS):
            findings.wrong((*path, "up_to"), f"{shown(up_to)} is no number of units", "a whole number from 1")
            up_to = None
        elif last and up_to is not None:
            findings.wrong((*path, "up_to"), "the last tier ends", "leave up_to out: it is for all that come after")
        elif up_to is None and not last:
            findings.wrong(path, "a tier without up_to has tiers after it", "only the last one is without end")
        elif up_to is not None and before and before[-1].up_to is not None and up_to <= before[-1].up_to:
            fix = f"more than the tier before it, which ends with {before[-1].up_to}"
            findings.wrong((*path, "up_to"), f"tiers don't rise: {up_to} is not after the tier before", fix)
        if "unit_amount" not in tier and "flat_amount" not in tier:
            findings.wrong(path, "says no amount", "add unit_amount, flat_amount or both; 0 is free")
        unit = self._amount(tier, "unit_amount", path, fractions=True)
        flat = self._amount(tier, "flat_amount", path, fractions=False)
        return PriceTier(up_to, unit or Decimal(0), flat or Decimal(0))

    def _with_included(self, price: PlanPrice, entry: dict[str, Any], path: Path) -> PlanPrice:
        """A metered price as Stripe has to hear it: what is included is a tier that costs nothing."""
        assert price.meter is not None
        units = self._included.get(price.meter)
        if price.model is PricingModel.GRADUATED and (own := units_included(price.tiers)):
            if units is not None:
                self._findings.wrong(
                    (*path, "tiers"), f"the first {own} units are free, and `included` has {units}", "say it once"
                )
            self._given.setdefault(price.meter, own // 12 if price.interval == "year" else own)
        if units is None:
            return price
        if price.model is PricingModel.VOLUME:
            self._findings.wrong(
                (*path, "model"),
                f"volume tiers price all units alike, the {units} included ones too",
                'use model = "graduated", or remove the meter from `included`',
            )
            return price
        units = units * 12 if price.interval == "year" else units
        if price.model is PricingModel.METERED:
            if price.unit_amount is None:
                return price  # Stripe knows
            tiers = included_tiers(units, price.unit_amount)
            return replace(price, model=PricingModel.GRADUATED, unit_amount=None, tiers=tiers)
        tiers = tuple(replace(tier, up_to=tier.up_to and tier.up_to + units) for tier in price.tiers)
        return replace(price, tiers=(PriceTier(units), *tiers)) if tiers else price

    def _together(self, prices: list[PlanPrice]) -> None:
        """What holds among the prices of a plan."""
        findings, first = self._findings, prices[0]
        base: dict[str, int] = {}
        metered: dict[tuple[str, str], int] = {}
        for index, price in enumerate(prices):
            path = (*self._path, index)
            if price.currency != first.currency:
                message = f"is in {price.currency}, and the plan's first price in {first.currency}"
                findings.wrong((*path, "currency"), message, "one currency a plan: make a plan for each currency")
            if price.meter is not None:
                earlier = metered.setdefault((price.meter, price.interval), index)
                what = f"bills meter {price.meter} per {price.interval}"
            else:
                earlier = base.setdefault(price.interval, index)
                what = f"is a second price per {price.interval} for the plan itself"
            if earlier != index and price.lookup_key != prices[earlier].lookup_key:  # said elsewhere
                findings.wrong(path, f"{what}, as {dotted((*self._path, earlier))} does", "remove one of the two")
        for index, price in enumerate(prices):
            path = (*self._path, index)
            if price.meter is not None and price.interval not in base:
                findings.wrong(
                    (*path, "interval"),
                    f"use is billed per {price.interval}, and the plan has no price of its own per {price.interval}",
                    "use the plan's interval, or add a price of the plan (unit_amount = 0 if only use is paid for)",
                )
            elif price.meter is None and price.seats != prices[next(iter(base.values()))].seats:
                message = f"counts {'seats' if price.seats else 'no seats'}, unlike the plan's other price"
                findings.wrong((*path, "model"), message, "let both count seats, or neither")

    def _discounted(self, price: PlanPrice, prices: list[PlanPrice], entry: dict[str, Any], path: Path) -> PlanPrice:
        """The yearly price, derived from the monthly one if it says its discount."""
        if "annual_discount_percent" not in entry:
            return price
        findings, path = self._findings, (*path, "annual_discount_percent")
        percent = findings.percent(entry, "annual_discount_percent", path[:-1])
        if percent is None:
            return price
        if price.interval != "year" or price.metered:
            findings.wrong(path, "only a plan's own price per year has one", "remove it")
            return price
        monthly = next((each for each in prices if each.interval == "month" and not each.metered), None)
        if monthly is None or (monthly.unit_amount is None and not monthly.tiers):
            findings.wrong(path, "there is no monthly price with amounts to take it from", "add one, or the amount")
            return price
        if price.model is not monthly.model:
            findings.wrong(path, f"the monthly price is {monthly.model}", f'write model = "{monthly.model}" here too')
            return price
        if monthly.unit_amount is not None:
            amount = annual(monthly.unit_amount, percent)
            if price.unit_amount not in (None, amount):
                message = f"twelve months less {percent} % are {amount}, and unit_amount is {price.unit_amount}"
                findings.wrong(path, message, "remove one of the two, or correct it")
            return replace(price, unit_amount=amount)
        tiers = tuple(
            replace(tier, unit_amount=annual(tier.unit_amount, percent), flat_amount=annual(tier.flat_amount, percent))
            for tier in monthly.tiers
        )
        if price.tiers not in ((), tiers):
            message = f"the monthly tiers times twelve less {percent} % are others than these"
            findings.wrong(path, message, "remove one of the two")
        return replace(price, tiers=tiers)


def read_coupons(findings: Findings, document: dict[str, Any], plans: Collection[str]) -> dict[str, Coupon]:
    coupons = {}
    for name, table in findings.tables(document, "coupons").items():
        before, path = len(findings), ("coupons", name)
        if not _COUPON.fullmatch(name):
            findings.wrong(path, "is no legal coupon name", "letters, digits, _ and -; 50 at most")
        findings.known(table, _COUPON_KEYS, path)
        title = findings.text(table, "title", path, name, 'title = "Launch"')
        if len(title) > 40:
            findings.wrong((*path, "title"), "is longer than 40 characters", "shorten it: Stripe takes no more")
        percent = findings.percent(table, "percent_off", path)
        amount = table.get("amount_off")
        if ("percent_off" in table) == ("amount_off" in table):
            findings.wrong(path, "says not exactly one of percent_off and amount_off", "write one of the two")
        if amount is not None and (not is_int(amount) or not 0 < amount <= MAX_AMOUNT):
            findings.wrong((*path, "amount_off"), "is no amount", "a whole number of the smallest unit, from 1")
        if amount is None and "currency" in table:
            findings.wrong((*path, "currency"), "a percentage has no currency", "remove it")
        duration = findings.choice(table, "duration", path, CouponDuration, CouponDuration.ONCE)
        months = table.get("months")
        if (duration is CouponDuration.REPEATING) != (months is not None):
            findings.wrong((*path, "months"), 'goes with duration = "repeating", and only with it', "add or remove it")
        elif months is not None and (not is_int(months) or not 1 <= months <= 120):
            findings.wrong((*path, "months"), f"{shown(months)} is out of range", "a whole number from 1 to 120")
        good_for = findings.names(table, "plans", path, '["team"]')
        for plan in good_for:
            if plan not in plans:
                findings.wrong((*path, "plans"), f"there is no plan {plan!r}", nearest(plan, plans, one_of(plans)))
        currency = findings.currency(table, path) if amount is not None else None
        if len(findings) == before:
            coupons[name] = Coupon(name, title, percent, amount, currency, duration, months, tuple(sorted(good_for)))
    return coupons
