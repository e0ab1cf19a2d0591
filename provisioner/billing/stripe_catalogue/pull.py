"""From what an account sells to ``plans.toml``. Pure: the present text and the account in, the new text out.

What Stripe doesn't know (tier, limits, terms) stays as the present file has it, with its comments. What nobody knows
is marked ``FILL IN``; `tenantry catalogue check` refuses the file until it is filled in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, InlineTable, Table

from provisioner.billing import catalogue_file
from provisioner.billing.catalogue import Catalogue
from provisioner.billing.gateway import Document
from provisioner.billing.pricing import PricingModel, TaxBehavior
from provisioner.billing.stripe_catalogue.prices import amount_of, differences, tiers_of
from provisioner.billing.stripe_catalogue.snapshot import Snapshot, plan_of
from provisioner.billing.stripe_catalogue.wanted import METER_KEY, MODEL_KEY, has_amounts
from provisioner.errors import ConfigurationInvalid

#: To read an account without having a catalogue.
EMPTY = Catalogue("plans.toml", {})
FILL_IN = "FILL IN"


@dataclass(frozen=True)
class Pulled:
    text: str
    notes: tuple[str, ...]  #: for people: what could not be said in the file


def pulled(text: str, snapshot: Snapshot, source: str) -> Pulled:
    """``CatalogueInvalid`` unless the present ``text`` is a catalogue or empty."""
    try:
        catalogue = catalogue_file.parse(text, source) if text.strip() else EMPTY
        return _Writer(tomlkit.parse(text), catalogue, snapshot).write()
    except TOMLKitError as error:
        raise ConfigurationInvalid(
            f"{source} can't be merged with what Stripe sells: {str(error)[:200]}",
            hint="Pull into a new file: --output NEW, with NEW as FILE",
        ) from None


class _Writer:
    def __init__(self, document: tomlkit.TOMLDocument, catalogue: Catalogue, snapshot: Snapshot) -> None:
        self._document = document
        self._catalogue = catalogue
        self._snapshot = snapshot
        self._notes: list[str] = []
        self._meters = {each["id"]: each for each in snapshot.meters}
        self._products = {each["id"]: each for each in snapshot.products}
        self._plan_of_key = {
            str(price.get("lookup_key")): name
            for name, plan in self._tables(document, "plans").items()
            for price in plan.get("prices", ())
        }

    def write(self) -> Pulled:
        prices = [each for each in self._snapshot.prices if each["active"] and self._sellable(each)]
        self._write_meters(prices)
        self._write_features()
        for name, sold in self._by_plan(prices).items():
            self._write_plan(name, sold)
        text = tomlkit.dumps(self._document)
        return Pulled(text if text.endswith("\n") else text + "\n", tuple(self._notes))

    def _sellable(self, price: Document) -> bool:
        recurring = price["recurring"]
        if recurring is None:
            return False  # paid once: no plan
        problem = None
        if recurring.get("interval") not in ("month", "year") or recurring.get("interval_count", 1) != 1:
            problem = f"it is billed every {recurring.get('interval_count', 1)} {recurring.get('interval')}"
        elif price.get("custom_unit_amount") or price.get("transform_quantity"):
            problem = "its amount is computed in a way that the catalogue has no words for"
        elif not self._products.get(str(price["product"]), {"active": True})["active"]:
            problem = "its product is archived"
        elif price["lookup_key"] is None and plan_of(price) is not None:
            return False  # superseded
        if problem is not None:
            self._notes.append(f"price {price['id']} is left out: {problem}")
        return problem is None

    def _by_plan(self, prices: Iterable[Document]) -> dict[str, list[Document]]:
        """Plan -> its prices, in the file's order and then by age."""
        found: dict[str, list[Document]] = {name: [] for name in self._tables(self._document, "plans")}
        named: dict[str, str] = {}  # product -> plan
        for price in sorted(prices, key=lambda each: (each["created"], each["id"])):
            product = self._products.get(str(price["product"]), {})
            name = self._plan_of_key.get(str(price["lookup_key"])) or plan_of(price) or plan_of(product)
            if name is None:
                name = named.setdefault(str(price["product"]), self._new_name(product, {*found, *named.values()}))
            found.setdefault(name, []).append(price)
        return {name: sold for name, sold in found.items() if sold}

    @staticmethod
    def _new_name(product: Mapping[str, Any], taken: set[str]) -> str:
        base = re.sub(r"[^a-z0-9]+", "_", str(product.get("name", "")).lower()).strip("_")[:36]
        base = base if base[:1].isalpha() else f"plan_{base}".rstrip("_")
        name, number = base, 2
        while name in taken:
            name, number = f"{base}_{number}", number + 1
        return name

    def _write_plan(self, name: str, sold: list[Document]) -> None:
        plans = self._table("plans")
        if name not in plans:
            plan = tomlkit.table()
            product = self._products.get(str(sold[0]["product"]), {})
            plan["title"] = str(product.get("name") or name)
            plan["tier"] = FILL_IN
            plan["tier"].comment("pool, bridge or silo")
            plan["entitlements"] = sorted(
                str(each["entitlement_feature"]["lookup_key"])
                for each in self._snapshot.attached.get(str(sold[0]["product"]), ())
            )
            plans[name] = plan
        plan = cast(Table, plans[name])
        product = self._products.get(str(sold[0]["product"]), {})
        if plan_of(product) == name and plan.get("title", name) != product["name"]:
            plan["title"] = str(product["name"])
        present = {str(each.get("lookup_key")): each for each in plan.get("prices", ())}
        rewritten = self._rewritten(name, sold)
        for price in sold:
            entry = self._entry(name, price)
            held = present.get(str(entry["lookup_key"]))
            if held is None:
                self._add_price(plan, entry, price)
            elif entry["lookup_key"] in rewritten:
                self._rewrite(plan, held, entry, name)

    def _add_price(self, plan: Table, entry: dict[str, Any], price: Document) -> None:
        if "prices" not in plan:
            plan["prices"] = tomlkit.aot()
        table = tomlkit.table() if isinstance(plan["prices"], AoT) else tomlkit.inline_table()
        for key, value in entry.items():
            table[key] = _toml(value)
        if price["lookup_key"] is None and isinstance(table, Table):
            table["lookup_key"].comment(f"{FILL_IN}: give price {price['id']} this lookup key in Stripe")
            self._notes.append(
                f"price {price['id']} has no lookup key: give it {entry['lookup_key']!r} in Stripe, else a push makes "
                "another price"
            )
        cast(Any, plan["prices"]).append(table)

    def _rewritten(self, name: str, sold: list[Document]) -> frozenset[str]:
        """Lookup keys of the plan's prices that the file has and that cost something else in Stripe; with those whose
        amounts the file derives from theirs."""
        plan = self._catalogue.plans.get(name)
        if plan is None:
            return frozenset()
        by_key = {str(each["lookup_key"]): each for each in sold}
        differing = []
        for price in plan.prices:
            document = by_key.get(price.lookup_key)
            meter = None if document is None else (document["recurring"] or {}).get("meter")
            if document is None or (not has_amounts(price) and price.model is PricingModel.FLAT):
                continue
            named = self._meters.get(meter, {}).get("event_name") if price.metered else None
            if named != price.meter or differences(price, document, meter):
                differing.append(price)
        base = any(not price.metered for price in differing)
        meters = {price.meter for price in differing if price.metered}
        return frozenset(
            price.lookup_key
            for price in plan.prices
            if price in differing or (base and not price.metered) or (price.metered and price.meter in meters)
        )

    def _rewrite(self, plan: Table, held: Any, entry: dict[str, Any], name: str) -> None:
        """Say of a price in the file what Stripe says, plainly: nothing derived."""
        if held.pop("annual_discount_percent", None) is not None:
            self._notes.append(
                f"plan {name}: {entry['lookup_key']} no longer says a discount: Stripe's amount is another"
            )
        included = plan.get("included", {})
        if entry.get("meter") in included:
            del included[entry["meter"]]
            self._notes.append(f"plan {name}: the tiers of {entry['lookup_key']} say what is included")
            if not included:
                del plan["included"]
        for key in ("interval", "model", "unit_amount", "tiers", "meter", "currency", "tax_behavior"):
            value = entry.get(key)
            if value is None:
                held.pop(key, None)
            elif _plain(held.get(key)) != value:
                held[key] = _toml(value)

    def _entry(self, plan: str, price: Document) -> dict[str, Any]:
        recurring, metadata = price["recurring"], price.get("metadata") or {}
        meter = self._meters.get(recurring.get("meter"), {}).get("event_name")
        entry: dict[str, Any] = {
            "lookup_key": price["lookup_key"] or self._proposed_key(plan, recurring["interval"], meter),
            "interval": recurring["interval"],
        }
        if meter is not None:
            entry["meter"] = str(meter)
        if price["billing_scheme"] == "tiered":
            entry["model"] = str(price["tiers_mode"])
            entry["tiers"] = [
                {
                    **({} if tier.up_to is None else {"up_to": tier.up_to}),
                    "unit_amount": _number(tier.unit_amount),
                    **({"flat_amount": _number(tier.flat_amount)} if tier.flat_amount else {}),
                }
                for tier in tiers_of(price)
            ]
        else:
            if metadata.get(MODEL_KEY) == PricingModel.PER_SEAT:
                entry["model"] = PricingModel.PER_SEAT.value
            entry["unit_amount"] = _number(amount_of(price, "unit_amount") or Decimal(0))
        if price["currency"] != "usd":
            entry["currency"] = str(price["currency"])
        tax = price.get("tax_behavior") or TaxBehavior.UNSPECIFIED.value
        if tax != TaxBehavior.UNSPECIFIED:
            entry["tax_behavior"] = str(tax)
        return entry

    @staticmethod
    def _proposed_key(plan: str, interval: str, meter: object) -> str:
        suffix = "" if meter is None else f"_{meter}"
        return f"{plan}{suffix}_{'annual' if interval == 'year' else 'monthly'}"

    def _write_meters(self, prices: Iterable[Document]) -> None:
        used = {(each["recurring"] or {}).get("meter") for each in prices} - {None}
        units = {
            str((each.get("metadata") or {}).get(METER_KEY)): each.get("unit_label") for each in self._snapshot.products
        }
        for meter in self._snapshot.meters:
            name = str(meter["event_name"])
            if meter["id"] not in used or name in self._tables(self._document, "meters"):
                continue
            table = tomlkit.table()
            table["title"] = str(meter["display_name"])
            table["aggregation"] = str(meter["default_aggregation"]["formula"])
            if units.get(name):
                table["unit"] = str(units[name])
            self._table("meters")[name] = table

    def _write_features(self) -> None:
        """A file without the table names no titles, and stays so."""
        if self._document and "features" not in self._document:
            return
        for feature in self._snapshot.features:
            key = str(feature["lookup_key"])
            if feature["active"] and key not in self._document.get("features", {}):
                self._table("features")[key] = str(feature["name"])

    def _table(self, key: str) -> Table:
        """``[key]``, made when there is none: as the head of its sub-tables, without a line of its own."""
        if key not in self._document:
            self._document[key] = tomlkit.table(is_super_table=key != "features")
        return cast(Table, self._document[key])

    @staticmethod
    def _tables(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        return cast("Mapping[str, Any]", document.get(key, {}))


def _number(value: Decimal) -> int | Decimal:
    return int(value) if value == int(value) else value


def _plain(value: Any) -> Any:
    """A value of the file as ``_entry`` has it: numbers compare as decimals."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, float):
        return Decimal(str(value))
    return value.unwrap() if hasattr(value, "unwrap") else value


def _toml(value: Any) -> Any:
    if isinstance(value, Decimal):
        return tomlkit.value(f"{value:f}")
    if isinstance(value, list):
        array = tomlkit.array()
        for item in value:
            array.append(_toml(item))
        return array.multiline(len(value) > 1)
    if isinstance(value, Mapping):
        table: InlineTable = tomlkit.inline_table()
        for key, item in value.items():
            table[key] = _toml(item)
        return table
    return value
