from __future__ import annotations

import re

import pytest

from localcloud.stripe import resources, routing
from localcloud.stripe.errors import ApiError
from localcloud.stripe.params import fields

assert resources.__all__


@pytest.mark.parametrize("route", routing.routes(), ids=lambda route: f"{route.method} {route.pattern.pattern}")
def test_what_a_route_supports_is_in_the_librarys_class(route: routing.Route) -> None:
    schema = routing.schema_class(route.schema)
    assert schema is not None, "an operation of Stripe's has a class in the library"
    known = fields(schema)
    assert {name.split(".")[0] for name in route.supports} <= set(known)
    required = {name for name, (_, needed) in known.items() if needed and name != "expand"}
    assert required <= {name.split(".")[0] for name in route.supports}, "what must be given must be acted on"


def test_no_two_routes_answer_the_same_request() -> None:
    samples = [
        (route.method, re.sub(r"\(\?P<\w+>\[\^/\]\+\)", "x", route.pattern.pattern)) for route in routing.routes()
    ]
    assert len(samples) == len(set(samples))
    for route, (method, path) in zip(routing.routes(), samples, strict=True):
        found = routing.find(method, path)
        assert found is not None
        assert found[0] is route, path


def test_ids_come_out_of_the_path() -> None:
    found = routing.find("GET", "/v1/subscriptions/sub_1")
    assert found is not None
    assert found[1] == {"subscription": "sub_1"}
    assert routing.find("PATCH", "/v1/subscriptions/sub_1") is None
    assert routing.find("GET", "/v1/subscriptions/sub_1/") is None


def refused(supports: str, params: dict[str, object]) -> str | None:
    route = routing.Route("POST", re.compile("/"), lambda: {}, None, frozenset(supports.split()))
    try:
        routing.refuse_unsupported(route, params)
    except ApiError as error:
        return error.param
    return None


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"customer": "c", "items": [{"price": "p"}, {"price": "q"}], "metadata": {"a": "b"}}, None),
        ({"items": [{"price": "p", "discounts": [{"coupon": "x"}]}]}, "items[discounts][coupon]"),
        ({"automatic_tax": {"enabled": True}}, "automatic_tax[enabled]"),
        ({"automatic_tax": {"enabled": False}}, None),
        ({"on_behalf_of": ""}, None),
        ({"customer_account": "a"}, "customer_account"),
    ],
)
def test_a_parameter_that_would_be_ignored_is_refused(params: dict[str, object], name: str | None) -> None:
    assert refused("customer items.price metadata", params) == name
