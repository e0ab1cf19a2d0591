"""What differs, and what a difference leads to."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import AutoName, Handler, Properties
from providers.base.diff import Change, Verdict, diff, drifted_inputs
from providers.base.values import UNKNOWN, has_unknown
from tests.unit.providers.base.test_values import properties


class Thing(Handler[None]):
    token = "test:index:Thing"
    inputs = frozenset({"name", "size", "on", "tags", "policy", "peers", "rules", "kind", "hint", "local"})
    replace_on = frozenset({"name", "rules.filter", "kind"})
    defaults: ClassVar[dict[str, Any]] = {"size": 20, "on": True}
    computed_inputs = frozenset({"hint"})
    json_properties = frozenset({"policy", "rules.document"})
    set_properties = frozenset({"peers"})
    local_inputs = frozenset({"local"})
    name_property = "name"


def changes(old: Properties, new: Properties, handler: Handler[Any] | None = None) -> dict[tuple[str | int, ...], Any]:
    return {d.path: (d.change, d.replaces) for d in diff(handler or Thing(), old, new).differences}


@given(properties)
def test_equal_inputs_make_no_difference(props: Properties) -> None:
    found = changes(props, props)
    assert not found if not has_unknown({k: v for k, v in props.items() if not k.startswith("__")}) else found


@given(properties, properties)
def test_different_inputs_make_one_and_it_is_the_same_both_ways_round(old: Properties, new: Properties) -> None:
    forth, back = changes(old, new), changes(new, old)
    assert bool(forth) == bool(back)
    assert set(forth) == set(back)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"size": "30"}, {"size": 30}),
        ({"on": "true"}, {"on": True}),
        ({"on": False}, {"on": "false"}),
        ({"size": 20}, {}),
        ({}, {"size": "20", "on": True}),
        ({"peers": ["a", "b"]}, {"peers": ["b", "a"]}),
        ({"policy": '{"a": 1, "b": [1, 2]}'}, {"policy": '{"b":[2,1],"a":1}'}),
        ({"policy": '{"Action": "s3:Get"}'}, {"policy": '{"Action": ["s3:Get"]}'}),
        ({"policy": '{"x": true}'}, {"policy": '{"x": "true"}'}),
        ({"rules": [{"document": '{"a": 1}'}]}, {"rules": [{"document": ' {"a":1} '}]}),
        ({"__defaults": ["name"]}, {}),
        ({"tags": {"a": 1}}, {"tags": {"a": "1"}}),
    ],
)
def test_the_same_in_other_words_is_no_difference(old: Properties, new: Properties) -> None:
    assert changes(old, new) == {}
    assert changes(new, old) == {}


def test_what_the_cloud_filled_in_is_no_difference_until_the_program_sets_it() -> None:
    assert changes({"hint": "by the cloud"}, {}) == {}
    assert changes({}, {"hint": "mine"}) == {("hint",): (Change.ADD, False)}


@pytest.mark.parametrize(
    ("old", "new", "path", "change", "replaces"),
    [
        ({}, {"tags": {"a": 1}}, ("tags",), Change.ADD, False),
        ({"tags": {"a": 1}}, {}, ("tags",), Change.DELETE, False),
        ({"tags": {"a": 1}}, {"tags": {"a": 2}}, ("tags", "a"), Change.UPDATE, False),
        ({"tags": {"a": 1}}, {"tags": {"a": 1, "b": 2}}, ("tags", "b"), Change.ADD, False),
        ({"tags": {"a": 1}}, {"tags": {}}, ("tags", "a"), Change.DELETE, False),
        ({"tags": {"a": 1}}, {"tags": "a"}, ("tags",), Change.UPDATE, False),
        ({"size": 20}, {"size": 21}, ("size",), Change.UPDATE, False),
        ({"size": 30}, {}, ("size",), Change.DELETE, False),
        ({}, {"size": 30}, ("size",), Change.ADD, False),
        ({"on": True}, {"on": 1}, ("on",), Change.UPDATE, False),
        ({"tags": {"a": {"b": False}}}, {"tags": {"a": {"b": 0}}}, ("tags", "a", "b"), Change.UPDATE, False),
        ({"size": 20}, {"size": UNKNOWN}, ("size",), Change.UPDATE, False),
        ({"peers": ["a", "b"]}, {"peers": ["a", "b", "b"]}, ("peers",), Change.UPDATE, False),
        ({"peers": ["a", "b"]}, {"peers": ["b", UNKNOWN]}, ("peers",), Change.UPDATE, False),
        ({"policy": '{"a": 1}'}, {"policy": '{"a": 2}'}, ("policy",), Change.UPDATE, False),
        ({"policy": '{"a": 1}'}, {"policy": "{"}, ("policy",), Change.UPDATE, False),
        ({"hint": "a"}, {"hint": "b"}, ("hint",), Change.UPDATE, False),
        ({"name": "a"}, {"name": "b"}, ("name",), Change.UPDATE, True),
        ({"name": "a"}, {"name": UNKNOWN}, ("name",), Change.UPDATE, True),
        ({"kind": {"x": 1}}, {"kind": {"x": 2}}, ("kind", "x"), Change.UPDATE, True),
        ({"rules": [{"filter": 1}]}, {"rules": [{"filter": 2}]}, ("rules", 0, "filter"), Change.UPDATE, True),
        ({"rules": [{"other": 1}]}, {"rules": [{"other": 2}]}, ("rules", 0, "other"), Change.UPDATE, False),
        ({"rules": [{"filter": 1}]}, {"rules": []}, ("rules",), Change.UPDATE, True),
    ],
)
def test_a_difference_is_told_with_its_path_and_what_it_leads_to(
    old: Properties, new: Properties, path: tuple[str | int, ...], change: Change, replaces: bool
) -> None:
    assert changes(old, new) == {path: (change, replaces)}


def test_lists_keep_their_order_unless_they_are_sets() -> None:
    assert changes({"rules": [1, 2]}, {"rules": [2, 1]}) == {
        ("rules", 0): (Change.UPDATE, True),
        ("rules", 1): (Change.UPDATE, True),
    }


documents = st.recursive(
    st.text(max_size=4) | st.integers(-9, 9) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(st.dictionaries(st.text(max_size=3), documents, max_size=4), st.randoms())
def test_json_is_compared_by_meaning(document: dict[str, Any], random: Any) -> None:
    keys = list(document)
    random.shuffle(keys)
    shuffled = json.dumps({key: document[key] for key in keys}, indent=2)
    assert changes({"policy": json.dumps(document)}, {"policy": shuffled}) == {}
    assert changes({"policy": json.dumps(document)}, {"policy": json.dumps({**document, "more than 3": 1})})


def verdict(old: Properties, new: Properties, handler: Handler[Any] | None = None) -> Verdict:
    return diff(handler or Thing(), old, new)


class Named(Thing):
    auto_name = AutoName("name", 20)


class First(Thing):
    delete_before_replace = True


def test_a_name_that_stays_forces_the_old_resource_to_go_first() -> None:
    assert verdict({"name": "a", "kind": 1}, {"name": "a", "kind": 2}).delete_before_replace
    assert not verdict({"name": "a", "kind": 1}, {"name": "b", "kind": 2}).delete_before_replace
    assert not verdict({"name": "a", "kind": 1}, {"name": UNKNOWN, "kind": 2}).delete_before_replace
    assert not verdict({"kind": 1}, {"kind": 2}).delete_before_replace
    assert verdict({"name": "a"}, {"name": "b"}, First()).delete_before_replace
    assert verdict({"name": "a", "kind": 1}, {"name": "a", "kind": 2}, Named()).delete_before_replace
    automatic = {"name": "a", "__defaults": ["name"]}
    assert not verdict({**automatic, "kind": 1}, {**automatic, "kind": 2}, Named()).delete_before_replace


def test_a_refresh_keeps_the_programs_spelling_where_it_means_the_same() -> None:
    old = {
        "size": "20",
        "policy": '{"a": ["x"]}',
        "peers": ["b", "a"],
        "local": True,
        "tags": {"a": 1},
        "__defaults": [],
    }
    live = {"policy": '{"a":"x"}', "peers": ["a", "b"], "tags": {"a": 2}, "hint": "h"}
    assert drifted_inputs(Thing(), old, live) == {**old, "tags": {"a": 2}}


def test_a_refresh_records_what_was_added_and_what_was_taken_away() -> None:
    assert drifted_inputs(Thing(), {"tags": {"a": 1}, "on": False}, {"kind": "new", "size": 20}) == {
        "on": True,
        "kind": "new",
    }


def test_an_import_takes_everything_as_it_is() -> None:
    assert drifted_inputs(Thing(), {}, {"hint": "h", "size": 20}) == {"hint": "h", "size": 20}


@given(properties)
def test_a_refresh_without_drift_changes_nothing(props: Properties) -> None:
    if props and not has_unknown(props):
        assert drifted_inputs(Thing(), props, dict(props)) == props
