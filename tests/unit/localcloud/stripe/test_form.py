from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.stripe.errors import ApiError
from localcloud.stripe.form import MAX_DEPTH, MAX_FIELDS, Tree, parse

NAMES = st.text(st.characters(exclude_characters="[]", exclude_categories=["Cs"]), min_size=1, max_size=8)
VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
TREES = st.recursive(VALUES, lambda child: st.dictionaries(NAMES, child, min_size=1, max_size=4), max_leaves=12)


def encode(tree: Tree) -> str:
    pairs: list[tuple[str, str]] = []

    def walk(node: Tree | str, name: str) -> None:
        if isinstance(node, str):
            pairs.append((name, node))
        else:
            for key, child in node.items():
                walk(child, f"{name}[{key}]" if name else key)

    walk(tree, "")
    return urlencode(pairs)


@given(st.dictionaries(NAMES, TREES, max_size=5))
def test_a_tree_survives_its_encoding(tree: Tree) -> None:
    assert parse(encode(tree)) == tree


@given(st.text(max_size=200))
def test_anything_else_is_a_tree_or_an_error_of_stripes(text: str) -> None:
    try:
        parse(text)
    except ApiError as error:
        refused = error
    else:
        return
    assert refused.status == 400


def test_brackets_without_a_key_count_up() -> None:
    assert parse("expand[]=a&expand[]=b") == {"expand": {"0": "a", "1": "b"}}


def test_an_empty_value_stays() -> None:
    assert parse("name=&metadata[k]=") == {"name": "", "metadata": {"k": ""}}


@pytest.mark.parametrize(
    "text",
    [
        "a[b=1",
        "a]b=1",
        "[a]=1",
        "a=1&a[b]=2",
        "a[b]=1&a=2",
        "a[b]=1&a[b][c]=2",
        "a" + "[x]" * MAX_DEPTH + "=1",
        "a=%ff",
    ],
)
def test_what_can_not_be_a_tree_is_400(text: str) -> None:
    with pytest.raises(ApiError) as refused:
        parse(text)
    assert refused.value.status == 400


def test_there_are_only_so_many_fields() -> None:
    assert len(parse("&".join(f"a{number}=1" for number in range(MAX_FIELDS)))) == MAX_FIELDS
    with pytest.raises(ApiError):
        parse("&".join(f"a{number}=1" for number in range(MAX_FIELDS + 1)))
