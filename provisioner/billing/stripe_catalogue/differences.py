"""Compares the catalogue with an account and plans the changes. Pure: values in, a plan out.

Nothing that isn't the catalogue's is touched. What holds one of its keys without being its own is a conflict, unless
it is to be adopted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from provisioner.billing.catalogue import Catalogue, Plan
from provisioner.billing.gateway import Document
from provisioner.billing.pricing import Coupon, Meter, PlanPrice
from provisioner.billing.stripe_catalogue import prices as compare
from provisioner.billing.stripe_catalogue import wanted
from provisioner.billing.stripe_catalogue.api import part
from provisioner.billing.stripe_catalogue.changes import Action, Change, ChangePlan, Conflict, Request
from provisioner.billing.stripe_catalogue.snapshot import Snapshot, is_managed, plan_of
from provisioner.billing.stripe_catalogue.wanted import LOOKUP_KEY, METER_KEY, Kind, Ref

_ADOPT = "tenantry catalogue push --adopt makes it the catalogue's, or give it another key"


def plan_changes(catalogue: Catalogue, snapshot: Snapshot, *, adopt: bool = False) -> ChangePlan:
    """``adopt``: make objects that hold the catalogue's keys, and aren't marked as its own, its own."""
    return _Differ(catalogue, snapshot, adopt).plan()


class _Differ:
    def __init__(self, catalogue: Catalogue, snapshot: Snapshot, adopt: bool) -> None:
        self._catalogue = catalogue
        self._snapshot = snapshot
        self._adopt = adopt
        self._changes: list[Change] = []
        self._conflicts: list[Conflict] = []
        self._warnings: list[str] = []
        self._known: dict[Ref, str] = {}
        self._by_key = {each["lookup_key"]: each for each in snapshot.prices if each["lookup_key"] is not None}
        self._products = {each["id"]: each for each in snapshot.products}
        self._sold_as: dict[str, str] = {}  # lookup key -> the product of its price
        self._claimed: dict[str, str] = {}  # product -> the plan that is sold as it
        self._archived: list[Change] = []  # comes last: what replaces it stands by then

    def plan(self) -> ChangePlan:
        catalogue = self._catalogue
        for meter in catalogue.meters.values():
            self._meter(meter)
        features = wanted.features(catalogue)
        for name, title in features.items():
            self._feature(name, title)
        products = {plan.name: self._plan_product(plan) for plan in catalogue.plans.values()}
        for name in sorted({price.meter for plan in catalogue.plans.values() for price in plan.prices if price.meter}):
            self._meter_product(catalogue.meters[name])
        for plan in catalogue.plans.values():
            self._product_features(plan, products[plan.name])
        for plan in catalogue.plans.values():
            for price in plan.prices:
                product = products[plan.name] if price.meter is None else wanted.meter_product_id(price.meter)
                self._price(plan, price, product)
        for coupon in catalogue.coupons.values():
            self._coupon(coupon, products)
        self._portal()
        self._retired(features)
        return ChangePlan(
            (*self._changes, *self._archived),
            tuple(self._conflicts),
            tuple(self._warnings),
            self._known,
            self._sold_as,
        )

    # -- what is sold

    def _meter(self, meter: Meter) -> None:
        named = [each for each in self._snapshot.meters if each["event_name"] == meter.name]
        found = next((each for each in named if each["status"] == "active"), named[0] if named else None)
        params = wanted.meter_params(meter)
        ref = Ref(Kind.METER, meter.name)
        if found is None:
            self._create(Kind.METER, meter.name, "/v1/billing/meters", params, ref)
            return
        self._known[ref] = found["id"]
        fixed = ("default_aggregation", "customer_mapping", "value_settings")
        if not _covers(found, {key: params[key] for key in fixed}):
            theirs = {key: found.get(key) for key in fixed}
            self._conflict(
                Kind.METER,
                meter.name,
                f"meter {found['id']} counts in another way ({_short(theirs)}), which can't be changed",
                "name a new meter, and its events, or correct [meters]",
            )
            return
        path = f"/v1/billing/meters/{part(found['id'])}"
        requests = []
        if found["status"] != "active":
            requests.append(Request("post", f"{path}/reactivate"))
        if found["display_name"] != meter.title:
            requests.append(Request("post", path, {"display_name": meter.title}))
        if requests:
            detail = "inactive -> active" if len(requests[0].params) == 0 else f"-> {meter.title}"
            self._changes.append(Change(Action.UPDATE, Kind.METER, meter.name, detail, tuple(requests), found["id"]))

    def _feature(self, name: str, title: str) -> None:
        found = next((each for each in self._snapshot.features if each["lookup_key"] == name), None)
        params = wanted.feature_params(name, title)
        ref = Ref(Kind.FEATURE, name)
        if found is None:
            self._create(Kind.FEATURE, name, "/v1/entitlements/features", params, ref)
            return
        self._known[ref] = found["id"]
        if not is_managed(found) and not self._adopts(Kind.FEATURE, name, found):
            return
        self._update(
            Kind.FEATURE,
            name,
            found,
            f"/v1/entitlements/features/{part(found['id'])}",
            {"name": params["name"], "active": True, "metadata": params["metadata"]},
        )

    def _plan_product(self, plan: Plan) -> str:
        """The id of the product that a plan is sold as; it is planned if there is none."""
        found = self._product_of(plan)
        params = wanted.plan_product(plan)
        if found is None:
            identifier = wanted.product_id(plan)
            self._create_product(identifier, plan.name, params)
        else:
            identifier = str(found["id"])
            other = self._claimed.get(identifier)
            if other is not None:
                message = f"product {identifier} has prices of plan {other} too"
                self._conflict(Kind.PRODUCT, plan.name, message, "sell each plan as a product of its own")
            elif plan_of(found) is not None or self._adopts(Kind.PRODUCT, plan.name, found):
                path = f"/v1/products/{part(identifier)}"
                self._update(Kind.PRODUCT, plan.name, found, path, {**params, "active": True})
        self._claimed[identifier] = plan.name
        return identifier

    def _product_of(self, plan: Plan) -> Document | None:
        sold = [self._by_key[price.lookup_key] for price in plan.prices if price.lookup_key in self._by_key]
        base = {str(each["product"]) for each in sold if (each["recurring"] or {}).get("usage_type") != "metered"}
        marked = [each for each in self._snapshot.products if plan_of(each) == plan.name]
        own = self._products.get(wanted.product_id(plan))
        candidates = [
            *([own] if own is not None and (own in marked or not marked) else []),
            *sorted(marked, key=lambda each: (each["id"] not in base, not each["active"], each["created"], each["id"])),
            # Made by hand, or of a plan that has another name now.
            *(
                self._products[each]
                for each in sorted(base)
                if each in self._products and plan_of(self._products[each]) not in self._catalogue.plans
            ),
        ]
        return candidates[0] if candidates else None

    def _meter_product(self, meter: Meter) -> None:
        identifier = wanted.meter_product_id(meter.name)
        found = self._products.get(identifier)
        params = wanted.meter_product(meter)
        if found is None:
            self._create_product(identifier, meter.name, params)
        elif is_managed(found) or self._adopts(Kind.PRODUCT, meter.name, found):
            self._update(
                Kind.PRODUCT, meter.name, found, f"/v1/products/{part(identifier)}", {**params, "active": True}
            )

    def _create_product(self, identifier: str, name: str, params: Mapping[str, Any]) -> None:
        given = {"id": identifier, **{key: value for key, value in params.items() if value != ""}}
        self._create(Kind.PRODUCT, name, "/v1/products", given)

    def _product_features(self, plan: Plan, product: str) -> None:
        attached = {
            str(each["entitlement_feature"]["lookup_key"]): each for each in self._snapshot.attached.get(product, ())
        }
        names = wanted.features_of(plan, self._catalogue)
        for name in sorted(names - attached.keys()):
            request = Request(
                "post",
                f"/v1/products/{part(product)}/features",
                {"entitlement_feature": Ref(Kind.FEATURE, name)},
            )
            self._changes.append(
                Change(Action.ATTACH, Kind.PRODUCT_FEATURE, f"{plan.name}: {name}", "from the next period", (request,))
            )
        for name in sorted(attached.keys() - names):
            link = attached[name]
            if not is_managed(link["entitlement_feature"]):
                continue
            request = Request("delete", f"/v1/products/{part(product)}/features/{part(link['id'])}")
            self._changes.append(
                Change(
                    Action.DETACH,
                    Kind.PRODUCT_FEATURE,
                    f"{plan.name}: {name}",
                    "from the next period",
                    (request,),
                    link["id"],
                )
            )

    def _price(self, plan: Plan, price: PlanPrice, product: str) -> None:
        key, found = price.lookup_key, self._by_key.get(price.lookup_key)
        ref = Ref(Kind.PRICE, key)
        beside = tuple(sorted(each["id"] for each in self._snapshot.prices if plan_of(each) == plan.name))
        if found is None:
            if not wanted.has_amounts(price):
                self._without_amount(plan, price, f"price {key} has no unit_amount, and Stripe has no such price")
                return
            self._sold_as[key] = product
            self._create(Kind.PRICE, key, "/v1/prices", wanted.price_params(plan, price, product), ref, beside)
            return
        if plan_of(found) is None and not self._adopts(Kind.PRICE, key, found):
            return
        meter = None if price.meter is None else self._known.get(Ref(Kind.METER, price.meter))
        differ = compare.differences(price, found, meter)
        if not differ:
            self._known[ref], self._sold_as[key] = found["id"], str(found["product"])
            params: dict[str, Any] = {"active": True, "metadata": wanted.price_metadata(plan, price)}
            if tax := compare.tax_to_set(price, found):
                params["tax_behavior"] = tax
            self._update(Kind.PRICE, key, found, f"/v1/prices/{part(found['id'])}", params)
        elif plan_of(found) is None:
            message = f"price {found['id']} was made by hand and sells something else ({'; '.join(differ)})"
            fix = "correct the file: tenantry catalogue pull takes it over as it is"
            self._conflict(Kind.PRICE, key, message, fix)
        elif not wanted.has_amounts(price):
            self._without_amount(plan, price, f"price {key} has no unit_amount, and Stripe's differs ({differ[0]})")
        else:
            self._sold_as[key] = product
            self._supersede(plan, price, product, found, differ, beside)

    def _supersede(
        self, plan: Plan, price: PlanPrice, product: str, found: Document, differ: list[str], beside: tuple[str, ...]
    ) -> None:
        old = f"/v1/prices/{part(found['id'])}"
        marks = {
            **wanted.price_metadata(plan, price),
            wanted.MODEL_KEY: (found.get("metadata") or {}).get(wanted.MODEL_KEY, ""),
        }
        requests = []
        if not _covers(found.get("metadata") or {}, {key: value for key, value in marks.items() if value}):
            # Before the key moves: an event of a subscriber must never find a price without a plan.
            requests.append(Request("post", old, {"metadata": marks}))
        params = {**wanted.price_params(plan, price, product), "transfer_lookup_key": True}
        ref = Ref(Kind.PRICE, price.lookup_key)
        requests.append(Request("post", "/v1/prices", params, ref, beside))
        requests += self._archiving(found, instead=ref)
        self._changes.append(
            Change(Action.SUPERSEDE, Kind.PRICE, price.lookup_key, "; ".join(differ), tuple(requests), found["id"])
        )

    def _archiving(self, price: Document, *, instead: Ref | None = None) -> list[Request]:
        """Stripe archives no price that is its product's default."""
        requests = []
        product = self._products.get(str(price["product"]), {})
        if product.get("default_price") == price["id"]:
            path = f"/v1/products/{part(str(price['product']))}"
            requests.append(Request("post", path, {"default_price": "" if instead is None else instead}))
        if price["active"]:
            requests.append(Request("post", f"/v1/prices/{part(price['id'])}", {"active": False}))
        return requests

    def _without_amount(self, plan: Plan, price: PlanPrice, message: str) -> None:
        fix = (
            f"add unit_amount to plan {plan.name}'s price in {self._catalogue.source}, or create it in Stripe yourself"
        )
        self._conflict(Kind.PRICE, price.lookup_key, message, fix)

    def _coupon(self, coupon: Coupon, products: Mapping[str, str]) -> None:
        found = next((each for each in self._snapshot.coupons if each["id"] == coupon.name), None)
        params = wanted.coupon_params(coupon, products)
        if found is None:
            self._create(Kind.COUPON, coupon.name, "/v1/coupons", params)
            return
        if not is_managed(found) and not self._adopts(Kind.COUPON, coupon.name, found):
            return
        changeable = ("name", "metadata")
        terms = {key: value for key, value in params.items() if key not in changeable}
        off = {key: terms.get(key) for key in ("percent_off", "amount_off", "currency", "duration_in_months")}
        theirs = (found.get("applies_to") or {}).get("products") or []
        if not _covers(found, terms) or not _covers(found, off) or (theirs and "applies_to" not in params):
            self._conflict(
                Kind.COUPON,
                coupon.name,
                "its terms differ from Stripe's, and a coupon's terms can't be changed",
                "give the new terms a new name",
            )
            return
        path = f"/v1/coupons/{part(coupon.name)}"
        self._update(Kind.COUPON, coupon.name, found, path, {key: params[key] for key in changeable})

    def _portal(self) -> None:
        if any(key not in self._sold_as for key in self._catalogue.lookup_keys):
            return  # there is a conflict about a price
        params = wanted.portal_params(self._catalogue, self._sold_as)
        managed = [each for each in self._snapshot.portals if is_managed(each)]
        found = next((each for each in managed if each["active"]), managed[0] if managed else None)
        if self._catalogue.portal.plan_changes and not wanted.portal_plans(self._catalogue):
            self._warnings.append(
                "the billing portal offers no change of plan: that takes 1 to "
                f"{wanted.MAX_PORTAL_PRODUCTS} plans without metered prices"
            )
        path = "/v1/billing_portal/configurations"
        if found is None:
            beside = tuple(sorted(each["id"] for each in self._snapshot.portals))
            ref = Ref(Kind.PORTAL, "portal")
            self._create(Kind.PORTAL, "portal", path, {**params, "name": "Tenantry"}, ref, beside)
            return
        self._known[Ref(Kind.PORTAL, "portal")] = found["id"]
        # Prices that are made by this very plan have no id yet, so a Ref is a difference.
        resolved = resolve_known(params, self._known)
        self._update(Kind.PORTAL, "portal", found, f"{path}/{part(found['id'])}", {**params, "active": True}, resolved)

    # -- what is sold no more

    def _retired(self, features: Mapping[str, str]) -> None:
        catalogue, keys = self._catalogue, set(self._catalogue.lookup_keys)
        for price in self._snapshot.prices:
            plan = plan_of(price)
            if plan is None or price["lookup_key"] in keys or not price["active"]:
                continue
            name = price["lookup_key"] or (price["metadata"] or {}).get(LOOKUP_KEY) or price["id"]
            why = "superseded" if price["lookup_key"] is None else "not in the catalogue"
            self._archive(Kind.PRICE, str(name), why, price["id"], self._archiving(price))
            if plan not in catalogue.plans and price["id"] in self._snapshot.subscribed:
                self._warnings.append(
                    f"price {price['id']} of plan {plan} has subscribers, and {catalogue.source} has no such plan: "
                    "their events will be quarantined; keep the plan until they have moved"
                )
        used = {price.meter for plan in catalogue.plans.values() for price in plan.prices}
        for product in self._snapshot.products:
            plan, meter = plan_of(product), (product["metadata"] or {}).get(METER_KEY)
            gone = (plan is not None and plan not in catalogue.plans) or (meter is not None and meter not in used)
            if gone and product["active"] and product["id"] not in self._claimed:
                request = Request("post", f"/v1/products/{part(product['id'])}", {"active": False})
                self._archive(Kind.PRODUCT, str(plan or meter), "not in the catalogue", product["id"], [request])
        for feature in self._snapshot.features:
            if is_managed(feature) and feature["active"] and feature["lookup_key"] not in features:
                request = Request("post", f"/v1/entitlements/features/{part(feature['id'])}", {"active": False})
                self._archive(
                    Kind.FEATURE, str(feature["lookup_key"]), "not in the catalogue", feature["id"], [request]
                )
        for coupon in self._snapshot.coupons:
            if is_managed(coupon) and coupon["id"] not in catalogue.coupons:
                request = Request("delete", f"/v1/coupons/{part(coupon['id'])}")
                detail = "not in the catalogue; who has it keeps it"
                self._archived.append(
                    Change(Action.DELETE, Kind.COUPON, coupon["id"], detail, (request,), coupon["id"])
                )

    def _archive(self, kind: Kind, name: str, detail: str, identifier: str, requests: Iterable[Request]) -> None:
        self._archived.append(Change(Action.ARCHIVE, kind, name, detail, tuple(requests), identifier))

    # -- shared

    def _create(
        self,
        kind: Kind,
        name: str,
        path: str,
        params: Mapping[str, Any],
        ref: Ref | None = None,
        beside: tuple[str, ...] | None = None,
    ) -> None:
        request = Request("post", path, params, ref, beside)
        self._changes.append(Change(Action.CREATE, kind, name, _headline(kind, params), (request,)))

    def _update(
        self,
        kind: Kind,
        name: str,
        found: Document,
        path: str,
        params: Mapping[str, Any],
        resolved: Mapping[str, Any] | None = None,
    ) -> None:
        """Send what differs, if anything does; metadata is sent whole: Stripe merges it."""
        shown = {**params, **(resolved or {})}
        differ = [key for key in params if not _covers({key: found.get(key)}, {key: shown[key]})]
        if not differ:
            return
        adopted = kind is not Kind.PORTAL and not is_managed(found) and plan_of(found) is None
        action = Action.ADOPT if adopted else Action.UPDATE
        detail = "; ".join(_difference(key, found.get(key), shown[key]) for key in differ)
        request = Request("post", path, {key: params[key] for key in differ})
        self._changes.append(Change(action, kind, name, detail, (request,), found["id"]))

    def _adopts(self, kind: Kind, name: str, found: Document) -> bool:
        if not self._adopt:
            self._conflict(
                kind, name, f"{found['object']} {found['id']} holds its key and isn't the catalogue's", _ADOPT
            )
        return self._adopt

    def _conflict(self, kind: Kind, name: str, message: str, fix: str) -> None:
        self._conflicts.append(Conflict(kind, name, message, fix))


def resolve_known(value: Any, known: Mapping[Ref, str]) -> Any:
    """``value`` with the ids that are known in place of their ``Ref``s; the others stay."""
    match value:
        case Ref():
            return known.get(value, value)
        case dict():
            return {key: resolve_known(item, known) for key, item in value.items()}
        case list():
            return [resolve_known(item, known) for item in value]
        case _:
            return value


def _covers(theirs: Any, ours: Any) -> bool:
    """Whether Stripe's value says all that ours does. What is empty in ours is null or absent in theirs; the order of
    a list of texts means nothing, nor that of a portal's products."""
    if isinstance(ours, Mapping):
        return isinstance(theirs, Mapping) and all(_covers(theirs.get(key), value) for key, value in ours.items())
    if isinstance(ours, list):
        if not isinstance(theirs, list) or len(theirs) != len(ours):
            return False
        ordered = zip(sorted(theirs, key=_order), sorted(ours, key=_order), strict=True)
        return all(_covers(their, our) for their, our in ordered)
    if ours in ("", None):
        return theirs in ("", None)
    if isinstance(ours, float) and theirs is not None and not isinstance(theirs, bool):
        return Decimal(str(theirs)) == Decimal(str(ours))
    return bool(theirs == ours)


def _order(value: Any) -> str:
    """A stable order of a list's items: texts by themselves, tables by what names them."""
    if isinstance(value, Mapping):
        return str(value.get("product") or value.get("type") or sorted(value))
    return str(value)


def _headline(kind: Kind, params: Mapping[str, Any]) -> str:
    match kind:
        case Kind.PRICE:
            meter = params["recurring"].get("meter")
            per = f" per {params['recurring']['interval']}" + (f" by meter {meter.name}" if meter else "")
            return f"{compare.described(_as_document(params))} {params['currency']}{per}"
        case Kind.METER:
            return f"{params['display_name']} ({params['default_aggregation']['formula']})"
        case Kind.COUPON:
            off = f"{params['percent_off']:g} %" if "percent_off" in params else f"{params['amount_off']}"
            return f"{off} off, {params['duration']}"
        case _:
            return str(params.get("name", ""))


def _as_document(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a new price in the shape of its document, for ``described``."""
    tiers = [{**tier, "up_to": None if tier["up_to"] == "inf" else tier["up_to"]} for tier in params.get("tiers", ())]
    return {**params, "tiers": tiers}


def _difference(key: str, theirs: Any, ours: Any) -> str:
    if key == "active":
        return "archived -> active"
    if isinstance(ours, Mapping):
        return f"{key}: {', '.join(sorted(_differing(theirs, ours)))}"
    return f"{key}: {_short(theirs)} -> {_short(ours)}"


def _differing(theirs: Any, ours: Mapping[str, Any]) -> list[str]:
    """Dotted names of what differs, one level down where it can be told."""
    held = theirs if isinstance(theirs, Mapping) else {}
    return [str(key) for key, value in ours.items() if not _covers(held.get(key), value)]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
