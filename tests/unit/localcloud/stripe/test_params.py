"""Parameters are typed by the library's own classes, which are generated from Stripe's API description."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.stripe import resources, routing
from localcloud.stripe.errors import ApiError
from localcloud.stripe.form import parse
from localcloud.stripe.params import coerce, fields

assert resources.__all__


def typed(schema: str | None, text: str) -> dict[str, Any]:
    return coerce(parse(text), routing.schema_class(schema))


def refusal(schema: str | None, text: str) -> ApiError:
    with pytest.raises(ApiError) as refused:
        typed(schema, text)
    assert refused.value.status == 400
    return refused.value


def test_strings_become_what_the_class_says() -> None:
    assert typed(
        "SubscriptionCreateParams",
        "customer=cus_1&items[0][price]=price_1&items[0][quantity]=3&cancel_at_period_end=true&trial_end=now"
        "&metadata[tenant_id]=acme&expand[0]=customer",
    ) == {
        "customer": "cus_1",
        "items": [{"price": "price_1", "quantity": 3}],
        "cancel_at_period_end": True,
        "trial_end": "now",
        "metadata": {"tenant_id": "acme"},
        "expand": ["customer"],
    }


def test_a_union_takes_each_of_its_forms() -> None:
    assert typed("SubscriptionListParams", "created=5") == {"created": 5}
    assert typed("SubscriptionListParams", "created[gte]=5&created[lt]=9") == {"created": {"gte": 5, "lt": 9}}
    assert typed("SubscriptionUpdateParams", "cancel_at=") == {"cancel_at": ""}
    assert typed("SubscriptionUpdateParams", "cancel_at=99") == {"cancel_at": 99}
    assert typed("SubscriptionUpdateParams", "cancel_at=min_period_end") == {"cancel_at": "min_period_end"}


def test_list_indices_order_and_need_not_be_dense() -> None:
    assert typed("PriceListParams", "lookup_keys[7]=b&lookup_keys[2]=a") == {"lookup_keys": ["a", "b"]}


def test_decimals_stay_exact() -> None:
    value = typed("PriceCreateParams", "currency=usd&unit_amount_decimal=0.1")["unit_amount_decimal"]
    assert Decimal(value) == Decimal("0.1")


@pytest.mark.parametrize(
    ("schema", "text", "code", "param"),
    [
        ("CustomerCreateParams", "nam=x", "parameter_unknown", "nam"),
        ("CustomerCreateParams", "address[cty]=x", "parameter_unknown", "address[cty]"),
        ("ProductCreateParams", "description=x", "parameter_missing", "name"),
        ("PriceCreateParams", "currency=usd&recurring[interval_count]=1", "parameter_missing", "recurring[interval]"),
        ("SubscriptionCreateParams", "items=x", None, "items"),
        ("SubscriptionCreateParams", "items[a][price]=x", None, "items"),
        ("SubscriptionCreateParams", "trial_period_days=1e3", "parameter_invalid_integer", "trial_period_days"),
        ("SubscriptionCreateParams", "trial_period_days=" + "9" * 16, "parameter_invalid_integer", "trial_period_days"),
        ("SubscriptionCreateParams", "cancel_at_period_end=yes", None, "cancel_at_period_end"),
        ("SubscriptionCreateParams", "collection_method=barter", None, "collection_method"),
        ("SubscriptionUpdateParams", "billing_cycle_anchor=now", None, "billing_cycle_anchor"),
        ("SubscriptionUpdateParams", "cancel_at=sometime", "parameter_invalid_integer", "cancel_at"),
        ("CustomerCreateParams", "name=", "parameter_invalid_empty", "name"),
        ("CustomerCreateParams", "name[x]=y", None, "name"),
        ("CustomerCreateParams", "metadata[k][l]=v", None, "metadata[k]"),
        ("CustomerCreateParams", "api_key=sk_test_x", "parameter_unknown", "api_key"),
        (None, "anything=1", "parameter_unknown", "anything"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_name(
    schema: str | None, text: str, code: str | None, param: str
) -> None:
    error = refusal(schema, text)
    assert (error.code, error.param) == (code, param)


def test_a_growing_enumeration_takes_only_the_values_it_lists_today() -> None:
    error = refusal("SubscriptionListParams", "status=lively")
    assert "must be one of" in error.message
    assert "past_due" in error.message


@pytest.mark.parametrize(
    ("text", "param"),
    [
        ("metadata[" + "k" * 41 + "]=v", "metadata"),
        ("metadata[k]=" + "v" * 501, "metadata[k]"),
        ("&".join(f"metadata[k{number}]=v" for number in range(51)), "metadata"),
    ],
)
def test_metadata_has_stripes_limits(text: str, param: str) -> None:
    assert refusal("CustomerCreateParams", text).param == param


TREES: Any = st.recursive(
    st.text(max_size=6), lambda child: st.dictionaries(st.text(max_size=6), child, max_size=3), max_leaves=8
)
SCHEMAS = sorted({route.schema for route in routing.routes() if route.schema})


@given(st.sampled_from(SCHEMAS), st.data())
def test_no_tree_does_anything_but_fit_or_be_refused(schema: str, data: st.DataObject) -> None:
    known = routing.schema_class(schema)
    assert known is not None
    names = st.sampled_from([*fields(known), "expand"])
    tree = data.draw(st.dictionaries(names, TREES, max_size=4))
    try:
        values = coerce(tree, known)
    except ApiError as error:
        refused = error
    else:
        assert set(values) == set(tree)
        return
    assert refused.status == 400
