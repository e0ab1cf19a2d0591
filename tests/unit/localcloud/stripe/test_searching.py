from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.stripe.errors import ApiError
from localcloud.stripe.searching import parse
from tests.unit.localcloud.stripe.shop import Shop

FIELDS = frozenset({"email", "created"})
ADA: dict[str, Any] = {"email": "Ada@Example.com", "created": 100, "metadata": {"tenant_id": "acme", "odd key": "it's"}}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("email:'ada@example.com'", True),
        ('email:"ada@example.com"', True),
        ("email:'ada'", False),
        ("email~'ada'", True),
        ("metadata['tenant_id']:'acme'", True),
        ("metadata['tenant_id']:'acm'", False),
        ("metadata['odd key']:\"it's\"", True),
        ("metadata['odd key']:'it\\'s'", True),
        ("metadata['none']:null", True),
        ("metadata['tenant_id']:null", False),
        ("-metadata['tenant_id']:'globex'", True),
        ("-metadata['tenant_id']:null AND email~'example'", True),
        ("email:'x' OR metadata['tenant_id']:'acme'", True),
        ("email:'x' AND metadata['tenant_id']:'acme'", False),
        ("email:'x' metadata['tenant_id']:'acme'", False),
        ("created>99 AND created<=100", True),
        ("created>100", False),
        ("created:100", True),
    ],
)
def test_a_query_finds_what_it_says(query: str, found: bool) -> None:
    assert parse(query, FIELDS).matches(ADA) is found


@pytest.mark.parametrize(
    "query",
    [
        "", "email", "email:", "email:ada", "email:'a", "status:'a'", "metadata:'a'", "email['a']:'b'", "created>'a'",
        "email:'a' AND", "email:'a' OR email:'b' AND email:'c'", " AND ".join(["email:'a'"] * 11), "email:'a';x",
    ],
)  # fmt: skip
def test_what_is_no_query_is_400(query: str) -> None:
    with pytest.raises(ApiError) as refused:
        parse(query, FIELDS)
    assert (refused.value.status, refused.value.param) == (400, "query")


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_quoted_value_is_just_a_value(key: str, value: str) -> None:
    """Nothing that a tenant is called can turn into another query."""
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    key = key.replace("'", "").replace('"', "")
    found = parse(f"metadata['{key}']:'{quoted}'", FIELDS)
    assert found.matches({"metadata": {key: value}})
    assert not found.matches({"metadata": {key: value + "x"}})
    assert not found.matches({"metadata": {}})


def ids(found: dict[str, Any]) -> list[str]:
    return [document["id"] for document in found["data"]]


def test_customers_and_subscriptions_are_found_by_their_metadata(shop: Shop) -> None:
    path = "/v1/customers/search"
    customers = [shop.customer(metadata={"tenant_id": f"t{number % 2}"}) for number in range(5)]
    first = shop.get(path, query="metadata['tenant_id']:'t0'", limit=2)
    assert (first["object"], first["has_more"]) == ("search_result", True)
    rest = shop.get(path, query="metadata['tenant_id']:'t0'", limit=2, page=first["next_page"])
    assert ids(first) + ids(rest) == customers[4::-2]
    assert (rest["has_more"], rest["next_page"]) == (False, None)
    shop.post(f"/v1/customers/{customers[0]}", metadata={"tenant_id": "t7"}, email="ada@example.com")
    shop.delete(f"/v1/customers/{customers[2]}")
    assert ids(shop.get(path, query="metadata['tenant_id']:'t0'")) == [customers[4]]
    assert ids(shop.get(path, query="email:'ada@example.com'")) == [customers[0]]
    assert [found["id"] for found in shop.all("/v1/customers", email="ada@example.com")] == [customers[0]]
    subscription = shop.subscribe(customers[0], metadata={"tenant_id": "t7"})
    query = "status:'active' AND metadata['tenant_id']:'t7'"
    assert ids(shop.get("/v1/subscriptions/search", query=query)) == [subscription["id"]]


def test_the_index_lags_as_far_as_it_is_told(shop: Shop) -> None:
    shop.control("/_local/api_faults", search_lag_s=60)
    customer = shop.customer(metadata={"tenant_id": "acme"})
    query = {"query": "metadata['tenant_id']:'acme'"}
    assert ids(shop.get("/v1/customers/search", **query)) == []
    shop.wait(60)
    assert ids(shop.get("/v1/customers/search", **query)) == [customer]
