"""Every request of the catalogue's push, pull and price migration is one that Stripe's API description knows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from provisioner.billing import catalogue, catalogue_file
from provisioner.billing.stripe_catalogue import push, snapshot, subscribers
from provisioner.billing.stripe_catalogue.api import CatalogueApi
from provisioner.billing.stripe_catalogue.differences import plan_changes
from provisioner.billing.stripe_catalogue.snapshot import Snapshot
from provisioner.billing.stripe_catalogue.subscribers import Effective, Proration, Subscriber
from provisioner.billing.stripe_catalogue.wanted import LOOKUP_KEY, MANAGED_KEY, METER_KEY, Kind, Ref
from provisioner.billing.translate import PLAN_KEY
from provisioner.errors import ConfigurationInvalid

ROOT = Path(__file__).parents[4]
EXAMPLE = catalogue.load(ROOT / "example" / "plans.toml")
#: Whatever the example doesn't sell.
EVERYTHING = catalogue_file.parse(
    """
[tax]
automatic = true
[features]
reports = "Reports"
[meters.calls]
title = "Calls"
unit = "calls"
[coupons.FIVE]
amount_off = 500
currency = "eur"
duration = "repeating"
months = 3
plans = ["seats"]
[coupons.HALF]
percent_off = 12.5
duration = "forever"
[portal]
headline = "Yours"
privacy_policy_url = "https://x.example/privacy"
terms_of_service_url = "https://x.example/terms"
return_url = "https://x.example/"
cancellation = "immediately"
[plans.seats]
tier = "pool"
entitlements = ["*"]
limits = { seats = 50 }
[[plans.seats.prices]]
lookup_key = "seats_monthly"
interval = "month"
model = "per_seat"
unit_amount = 900
currency = "eur"
tax_behavior = "inclusive"
[[plans.seats.prices]]
lookup_key = "seats_annual"
interval = "year"
model = "per_seat"
annual_discount_percent = 10
currency = "eur"
[plans.use]
tier = "pool"
included = { calls = 100 }
[[plans.use.prices]]
lookup_key = "use_monthly"
interval = "month"
model = "volume"
tiers = [{ up_to = 5, unit_amount = 2000, flat_amount = 100 }, { unit_amount = 1500.5 }]
[[plans.use.prices]]
lookup_key = "use_calls"
interval = "month"
meter = "calls"
unit_amount = 0.125
""",
    "plans.toml",
)


class Requests:
    def __init__(self, url: str) -> None:
        self.api = CatalogueApi.connect("sk_test_123", url, max_retries=0)
        self.log: list[tuple[str, str, int]] = []
        transport: Any = self.api._client._requestor._client
        transport._client.event_hooks = {"response": [self._keep]}

    def _keep(self, response: httpx.Response) -> None:
        path = re.sub(
            r"(?<=/)(?!tenantry)[a-z_]+_(?=[A-Za-z]*[0-9])[A-Za-z0-9]{6,}(?=/|$)", "ID", response.request.url.path
        )
        self.log.append((response.request.method, path, response.status_code))

    @property
    def made(self) -> set[tuple[str, str]]:
        assert {status for _, _, status in self.log} == {200}
        return {(method, path) for method, path, _ in self.log}


@pytest.fixture
def requests(stripe_mock_url: str) -> Iterator[Requests]:
    requests = Requests(stripe_mock_url)
    yield requests
    requests.api.close()


def test_reading_an_account(requests: Requests) -> None:
    with pytest.raises(ConfigurationInvalid, match="the key is for test mode"):
        snapshot.read(requests.api, EXAMPLE)  # some of the mock's examples are of live mode
    assert requests.made == {
        ("GET", path)
        for path in (
            "/v1/products",
            "/v1/prices",
            "/v1/billing/meters",
            "/v1/entitlements/features",
            "/v1/coupons",
            "/v1/billing_portal/configurations",
        )
    }
    assert requests.api.account_id().startswith("acct_")
    assert snapshot.has_subscribers(requests.api, "price_123456789")


@pytest.mark.parametrize("sold", [EXAMPLE, EVERYTHING], ids=["example", "everything"])
def test_a_first_push(requests: Requests, sold: catalogue.Catalogue) -> None:
    plan = plan_changes(sold, Snapshot())
    assert not plan.conflicts
    known = push.apply(requests.api, plan, source="plans.toml")
    assert {Ref(Kind.PRICE, key) for key in sold.lookup_keys} <= known.keys()
    assert requests.made >= {
        ("POST", "/v1/products"),
        ("POST", "/v1/prices"),
        ("POST", "/v1/entitlements/features"),
        ("POST", "/v1/billing_portal/configurations"),
    }
    if sold is EVERYTHING:
        assert requests.made >= {("POST", "/v1/billing/meters"), ("POST", "/v1/coupons")}


def document(kind: str, identifier: str, **fields: Any) -> dict[str, Any]:
    return {"id": identifier, "object": kind, "active": True, "livemode": False, "created": 1, **fields}


def price(identifier: str, key: str | None, amount: int, **fields: Any) -> dict[str, Any]:
    return document(
        "price",
        identifier,
        **{
            "lookup_key": key,
            "product": "prod_123456789",
            "currency": "usd",
            "unit_amount": amount,
            "unit_amount_decimal": str(amount),
            "billing_scheme": "per_unit",
            "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed", "meter": None},
            "tax_behavior": "unspecified",
            "metadata": {PLAN_KEY: "one"},
            **fields,
        },
    )


def test_every_kind_of_change(requests: Requests) -> None:
    one = catalogue_file.parse(
        '[features]\nnews = "News"\n[meters.calls]\ntitle = "Calls"\n[coupons.A]\ntitle = "New"\npercent_off = 5\n'
        '[plans.one]\ntier = "pool"\ntitle = "New"\nentitlements = ["news"]\nprices = ['
        '{ lookup_key = "a", interval = "month", unit_amount = 5, tax_behavior = "exclusive" }, '
        '{ lookup_key = "y", interval = "year", unit_amount = 50, tax_behavior = "exclusive" }]\n',
        "plans.toml",
    )
    feature = document(
        "entitlements.feature", "feat_123456789", lookup_key="news", name="Old", metadata={MANAGED_KEY: "feature"}
    )
    gone = {**feature, "id": "feat_987654321", "lookup_key": "gone"}
    standing = Snapshot(
        products=[
            document(
                "product", "prod_123456789", name="Old", metadata={PLAN_KEY: "one"}, default_price="price_123456789"
            ),
            document("product", "prod_987654321", name="Gone", metadata={PLAN_KEY: "gone"}, default_price=None),
            document("product", "prod_555555555", name="x", metadata={METER_KEY: "x"}, default_price=None),
        ],
        prices=[
            price("price_123456789", "a", 4),
            price(
                "price_222222222",
                "y",
                50,
                recurring={"interval": "year", "interval_count": 1, "usage_type": "licensed"},
            ),
            price("price_333333333", None, 3, metadata={PLAN_KEY: "one", LOOKUP_KEY: "a"}),
        ],
        meters=[
            {
                "id": "mtr_123456789",
                "object": "billing.meter",
                "event_name": "calls",
                "display_name": "Old",
                "status": "inactive",
                "default_aggregation": {"formula": "sum"},
                "customer_mapping": {"type": "by_id", "event_payload_key": "stripe_customer_id"},
                "value_settings": {"event_payload_key": "value"},
            }
        ],
        features=[feature, gone],
        attached={"prod_123456789": [{"id": "prodft_123456789", "entitlement_feature": gone}]},
        coupons=[
            document("coupon", "A", name="Old", percent_off=5.0, duration="once", metadata={MANAGED_KEY: "coupon"}),
            document("coupon", "GONE", name="Old", percent_off=5.0, metadata={MANAGED_KEY: "coupon"}),
        ],
        portals=[
            document("billing_portal.configuration", "bpc_123456789", metadata={MANAGED_KEY: "portal"}, features={})
        ],
    )
    plan = plan_changes(one, standing)
    assert not plan.conflicts
    push.apply(requests.api, plan, source="plans.toml")
    assert requests.made >= {
        ("POST", "/v1/billing/meters/ID/reactivate"),
        ("POST", "/v1/billing/meters/ID"),
        ("POST", "/v1/entitlements/features/ID"),
        ("POST", "/v1/products/ID"),
        ("POST", "/v1/products/ID/features"),
        ("DELETE", "/v1/products/ID/features/ID"),
        ("POST", "/v1/prices"),
        ("POST", "/v1/prices/ID"),
        ("POST", "/v1/coupons/A"),
        ("DELETE", "/v1/coupons/GONE"),
        ("POST", "/v1/billing_portal/configurations/ID"),
    }


def test_moving_a_subscriber(requests: Requests) -> None:
    api = requests.api
    subscriber = Subscriber("sub_123456789", "si_123456789", "acme", 1, None, None)
    (listed,) = api.list("/v1/subscriptions", {"price": "price_123456789", "expand": ["data.customer"]})
    theirs = listed["items"]["data"][0]["price"]["id"]
    assert subscribers.subscribers(api, theirs)[0].skip, "the mock's customer is nobody's tenant"
    assert subscribers.load(api, "sub_123456789", "price_nobodys") is None
    for effective, proration in ((Effective.NOW, Proration.ALWAYS_INVOICE), (Effective.RENEWAL, Proration.NONE)):
        assert subscribers.quote(api, subscriber, "price_123456789", effective, proration).error is None
    subscribers.move_now(api, subscriber, "price_123456789", Proration.CREATE_PRORATIONS, move="1")
    subscribers.set_active(api, "price_123456789", True)
    schedule = subscribers.begin_schedule(api, subscriber, move="1")
    subscribers.finish_schedule(api, schedule, "price_123456789", "price_987654321")
    assert requests.made == {
        ("GET", "/v1/subscriptions"),
        ("GET", "/v1/subscriptions/ID"),
        ("GET", "/v1/subscription_schedules/ID"),
        ("GET", "/v1/prices/ID"),
        ("POST", "/v1/prices/ID"),
        ("POST", "/v1/invoices/create_preview"),
        ("POST", "/v1/subscriptions/ID"),
        ("POST", "/v1/subscription_schedules"),
        ("POST", "/v1/subscription_schedules/ID"),
    }
