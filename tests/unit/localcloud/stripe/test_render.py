from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.stripe.account import Account
from localcloud.stripe.errors import ApiError
from localcloud.stripe.render import difference, event_body, expand, render
from localcloud.stripe.store import Store

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda child: st.lists(child, max_size=3) | st.dictionaries(st.text(max_size=2), child, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=2), JSON, max_size=4)


@given(OBJECTS, OBJECTS)
def test_a_difference_is_empty_exactly_when_nothing_changed(
    before: dict[str, object], after: dict[str, object]
) -> None:
    changed = difference(before, after)
    present = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    assert set(changed) == present


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, {"b": 2}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"x": 1, "y": 3}}, {"a": {"y": 2}}),
        ({"a": None}, {"a": {"x": 1}}, {"a": None}),
        ({"p": {"id": "1", "n": 1}}, {"p": {"id": "2", "n": 1}}, {"p": {"id": "1", "n": 1}}),
        ({"l": {"object": "list", "data": [1]}}, {"l": {"object": "list", "data": [2]}}, {"l": {"data": [1]}}),
        ({"m": {"k": "v"}}, {"m": {}}, {"m": {"k": "v"}}),
    ],
)  # fmt: skip
def test_a_difference_holds_the_former_values(
    before: dict[str, object], after: dict[str, object], changed: dict[str, object]
) -> None:
    assert difference(before, after) == changed


@pytest.fixture
def account() -> Account:
    account = Account(Store(), wall=lambda: 1_800_000_000)
    account.store.add({"object": "product", "id": "prod_1", "name": "P", "default_price": None})
    account.store.add({"object": "customer", "id": "cus_1", "test_clock": None, "_secret": "no"})
    return account


def test_the_servers_own_fields_are_not_shown_and_the_document_is_not_touched(account: Account) -> None:
    customer = account.find("customer", "cus_1")
    shown = render(account, customer)
    shown["test_clock"] = "changed"
    assert shown == {"object": "customer", "id": "cus_1", "test_clock": "changed"}
    assert customer == {"object": "customer", "id": "cus_1", "test_clock": None, "_secret": "no"}


def test_expansion_replaces_ids_and_keeps_what_is_gone(account: Account) -> None:
    price = {"object": "price", "id": "price_1", "product": "prod_1"}
    assert expand(account, dict(price), ["product"])["product"]["name"] == "P"
    assert expand(account, {**price, "product": "prod_gone"}, ["product"])["product"] == "prod_gone"
    listed = {"object": "list", "data": [dict(price), dict(price)]}
    assert [item["product"]["id"] for item in expand(account, listed, ["data.product"])["data"]] == ["prod_1"] * 2
    assert expand(account, {"object": "list", "data": []}, ["data.product"])["data"] == []


@pytest.mark.parametrize("path", ["id", "nothing", "product.nothing", "a.b.c.d.e", "data.product"])
def test_what_can_not_be_expanded_is_400(account: Account, path: str) -> None:
    with pytest.raises(ApiError) as refused:
        expand(account, {"object": "price", "id": "price_1", "product": "prod_1"}, [path])
    assert (refused.value.status, refused.value.param) == (400, "expand[0]")


def test_the_body_of_a_webhook_is_the_event_as_it_is_shown(account: Account) -> None:
    account.store.add({"object": "webhook_endpoint", "id": "we_1", "status": "enabled", "enabled_events": ["*"]})
    event = account.emit("customer.created", account.find("customer", "cus_1"), {"name": 'a "quoted" \u2028 one'})
    assert json.loads(event_body(account, event)) == render(account, event)
    assert render(account, event)["pending_webhooks"] == 1
