"""What travels between engine and handlers: nothing is lost, secrets stay marked, unknowns stay unknown."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from providers.base.values import (
    UNKNOWN,
    Path,
    has_unknown,
    marshal,
    render_path,
    secret_strings,
    unmarshal,
)

SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"
RESOURCE = "5cf8f73096256a8f31e491e813e4eb8e"
OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"

keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(lambda k: k != SIGNATURE)
scalars = (
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer())
    | st.just(UNKNOWN)
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3))
properties = st.dictionaries(keys, values, max_size=4)


def paths(value: Any, path: Path = ()) -> list[Path]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += paths(item, (*path, key))
    if isinstance(value, list):
        for index, item in enumerate(value):
            found += paths(item, (*path, index))
    return found


def struct(fields: dict[str, Any]) -> struct_pb2.Struct:
    message = struct_pb2.Struct()
    message.update(fields)
    return message


@given(properties, st.data())
def test_values_and_their_secrets_come_back(props: dict[str, Any], data: st.DataObject) -> None:
    everywhere = paths(props)
    secrets = frozenset(data.draw(st.lists(st.sampled_from(everywhere), max_size=3)) if everywhere else [])
    back, marked = unmarshal(marshal(props, secrets))
    assert back == props
    assert marked == secrets


@given(properties, st.data())
def test_a_secret_of_another_shape_marks_what_holds_it(props: dict[str, Any], data: st.DataObject) -> None:
    everywhere = paths(props)
    if everywhere:
        path = data.draw(st.sampled_from(everywhere))
        _, marked = unmarshal(marshal(props, frozenset({(*path, "no", 7)})))
        assert len(marked) == 1
        (found,) = marked
        assert found == path[: len(found)]


def test_a_secret_of_a_property_that_is_gone_marks_nothing() -> None:
    assert unmarshal(marshal({"a": 1}, frozenset({("b", "c")})))[1] == frozenset()


def test_numbers_keep_their_kind() -> None:
    back, _ = unmarshal(marshal({"int": 5432, "float": 0.5, "bool": True, "large": 2**53}))
    assert [type(value) for value in (back["int"], back["float"], back["bool"], back["large"])] == [
        *(int, float, bool, int),
    ]


def test_nulls_are_absent_properties_but_keep_their_place_in_a_list() -> None:
    assert unmarshal(struct({"a": None, "b": {"c": None}, "d": [None, 1]}))[0] == {"b": {}, "d": [None, 1]}
    assert unmarshal(marshal({"a": None, "d": [None, 1]}))[0] == {"d": [None, 1]}


@pytest.mark.parametrize(
    "text",
    [
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    ],
)
def test_every_kind_of_unknown_is_unknown(text: str) -> None:
    assert unmarshal(struct({"a": {"b": [text]}}))[0]["a"]["b"][0] is UNKNOWN


@pytest.mark.parametrize(
    ("fields", "value", "secret"),
    [
        ({"value": "x"}, "x", False),
        ({"value": "x", "secret": True}, "x", True),
        ({"value": {"a": 1}, "secret": False, "dependencies": ["urn"]}, {"a": 1}, False),
        ({}, UNKNOWN, False),
        ({"secret": True}, UNKNOWN, True),
    ],
)
def test_output_values_are_unwrapped(fields: dict[str, Any], value: Any, secret: bool) -> None:
    props, marked = unmarshal(struct({"p": {SIGNATURE: OUTPUT, **fields}}))
    assert props == {"p": value}
    assert marked == (frozenset({("p",)}) if secret else frozenset())


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ({"urn": "urn:x", "id": "sg-1"}, "sg-1"),
        ({"urn": "urn:x", "id": ""}, UNKNOWN),
        ({"urn": "urn:x", "id": None}, UNKNOWN),
        ({"urn": "urn:x", "id": "04da6b54-80e4-46f7-96ec-b56ff0331ba9"}, UNKNOWN),
        ({"urn": "urn:component"}, "urn:component"),
    ],
)
def test_resource_references_become_ids(fields: dict[str, Any], value: Any) -> None:
    assert unmarshal(struct({"p": {SIGNATURE: RESOURCE, **fields}}))[0] == {"p": value}


def test_secrets_within_secrets_are_both_marked() -> None:
    inner = {SIGNATURE: SECRET, "value": "hunter-2"}
    props, marked = unmarshal(struct({"p": {SIGNATURE: SECRET, "value": {"q": inner}}}))
    assert props == {"p": {"q": "hunter-2"}}
    assert marked == {("p",), ("p", "q")}


def test_assets_go_back_as_they_came() -> None:
    asset = {SIGNATURE: "c44067f5952c0a294b673a41bacd8c17", "hash": "h", "path": "file.txt"}
    props, _ = unmarshal(struct({"p": asset}))
    assert unmarshal(marshal(props))[0] == {"p": asset}


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object()])
def test_what_is_no_property_value_is_refused_with_its_path(value: Any) -> None:
    with pytest.raises(TypeError, match=r"rules\[1\].x: a \w+ is no property value"):
        marshal({"rules": [1, {"x": value}]})


def test_an_unknown_is_neither_true_nor_false_and_there_is_one() -> None:
    with pytest.raises(TypeError, match="is UNKNOWN"):
        bool(UNKNOWN)
    assert copy.deepcopy({"a": UNKNOWN})["a"] is UNKNOWN
    assert repr(UNKNOWN) == "UNKNOWN"


@given(properties)
def test_unknowns_are_found_at_any_depth(props: dict[str, Any]) -> None:
    assert has_unknown(props) == ("04da6b54-80e4-46f7-96ec-b56ff0331ba9" in str(marshal(props)))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("a",), "a"),
        (("rules", 0, "filter"), "rules[0].filter"),
        (("tags", "a.b"), 'tags["a.b"]'),
        (("tags", 'a"b\\'), 'tags["a\\"b\\\\"]'),
        (("a.b", "c"), '["a.b"].c'),
        (("tags", "cost-center"), "tags.cost-center"),
    ],
)
def test_paths_are_written_as_the_engine_writes_them(path: Path, text: str) -> None:
    assert render_path(path) == text


def test_every_string_within_a_secret_is_hidden() -> None:
    props = {"login": {"user": "u", "keys": ["k1", {"k": "k2"}], "port": 1}, "open": "o"}
    assert secret_strings(props, frozenset({("login",)})) == {"u", "k1", "k2"}
    assert secret_strings(props, frozenset({("login", "keys", 1), ("gone",), ("open", "x")})) == {"k2"}


def test_infinity_stays_a_float() -> None:
    assert math.isinf(unmarshal(struct({"p": math.inf}))[0]["p"])
