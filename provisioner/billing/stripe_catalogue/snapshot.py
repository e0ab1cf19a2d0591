"""What an account of Stripe holds that concerns the catalogue, read in one go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from provisioner.billing.catalogue import Catalogue
from provisioner.billing.gateway import Document
from provisioner.billing.stripe_catalogue.api import CatalogueApi, part
from provisioner.billing.stripe_catalogue.wanted import MANAGED_KEY
from provisioner.billing.translate import PLAN_KEY
from provisioner.errors import ConfigurationInvalid


@dataclass(frozen=True)
class Snapshot:
    """Documents as Stripe answers them: active ones and archived ones. Prices have their tiers, coupons what they
    apply to, portal configurations their products."""

    products: Sequence[Document] = ()
    prices: Sequence[Document] = ()
    meters: Sequence[Document] = ()
    features: Sequence[Document] = ()
    #: product -> what is attached to it, of products that are the catalogue's or may become it
    attached: Mapping[str, Sequence[Document]] = field(default_factory=dict)
    coupons: Sequence[Document] = ()
    portals: Sequence[Document] = ()
    #: prices of plans that the catalogue no longer has, with subscribers
    subscribed: frozenset[str] = frozenset()


def read(api: CatalogueApi, catalogue: Catalogue) -> Snapshot:
    """``ConfigurationInvalid`` if an object is of another mode than the key."""
    products = list(api.list("/v1/products"))
    prices = list(api.list("/v1/prices", {"expand": ["data.tiers"]}))
    meters = list(api.list("/v1/billing/meters"))
    features = list(api.list("/v1/entitlements/features"))
    features += [each for each in api.list("/v1/entitlements/features", {"archived": True}) if not each["active"]]
    coupons = list(api.list("/v1/coupons", {"expand": ["data.applies_to"]}))
    portals = list(
        api.list("/v1/billing_portal/configurations", {"expand": ["data.features.subscription_update.products"]})
    )
    for document in (*products, *prices, *meters, *features, *coupons, *portals):
        if document["livemode"] != api.livemode:
            mode = "live" if api.livemode else "test"
            raise ConfigurationInvalid(
                f"the key is for {mode} mode, and {document['object']} {document['id']} is not",
                hint="Check that TENANTRY_STRIPE_API_BASE and TENANTRY_STRIPE_API_KEY belong together",
            )
    keys = set(catalogue.lookup_keys)
    sold = {str(each["product"]) for each in prices if each["lookup_key"] in keys}
    attached = {
        each["id"]: list(api.list(f"/v1/products/{part(each['id'])}/features"))
        for each in products
        if each["id"] in sold or plan_of(each) in catalogue.plans or (each["active"] and plan_of(each) is not None)
    }
    subscribed = {
        each["id"]
        for each in prices
        if plan_of(each) and plan_of(each) not in catalogue.plans and has_subscribers(api, each["id"])
    }
    return Snapshot(products, prices, meters, features, attached, coupons, portals, frozenset(subscribed))


def has_subscribers(api: CatalogueApi, price: str) -> bool:
    return bool(api.get("/v1/subscriptions", {"price": price, "limit": 1})["data"])


def plan_of(document: Document) -> str | None:
    """The plan that a product or price says it is for; None: it isn't the catalogue's."""
    return (document.get("metadata") or {}).get(PLAN_KEY)


def is_managed(document: Document) -> bool:
    """Whether a feature, coupon, meter's product or portal configuration is the catalogue's."""
    return MANAGED_KEY in (document.get("metadata") or {})
