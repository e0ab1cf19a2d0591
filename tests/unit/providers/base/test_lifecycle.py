"""Check, names and outputs in plain values."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import (
    UNKNOWN,
    AutoName,
    CheckFailed,
    Context,
    Handler,
    InitializationFailed,
    Properties,
    Provider,
    ProviderError,
    lifecycle,
)
from providers.base.lifecycle import Naming

CONTEXT: Context[None] = Context(None, urn="urn:pulumi:s::p::test:index:Thing::My Thing", name="My Thing")


class Thing(Handler[None]):
    token = "test:index:Thing"
    inputs = frozenset({"name", "namePrefix", "size", "derived"})
    outputs = frozenset({"arn", "stamp"})
    required = frozenset({"size"})
    defaults: ClassVar[dict[str, Any]] = {"size": 1, "colour": "red"}
    changed_by_update = frozenset({"stamp"})
    derived_inputs = frozenset({"derived"})
    auto_name = AutoName("name", 16, prefix_property="namePrefix", lower=True, suffix=".q")

    def planned(self, ctx: Context[None], inputs: Properties, state: Properties | None) -> Properties:
        return {"arn": f"arn:{inputs['name']}"}

    def create(self, ctx: Context[None], inputs: Properties) -> tuple[str, Properties]:
        if inputs["size"] == 13:
            raise InitializationFailed("id-1", {"arn": "arn:half"}, ["not ready"])
        return "id-1", {"arn": "arn:1", "stamp": 1}

    def read(
        self, ctx: Context[None], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        return None if id == "gone" else (id, {"name": "live", "size": 3, "colour": None}, {"arn": "arn:1"})

    def update(
        self, ctx: Context[None], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        if inputs["size"] == 13:
            raise InitializationFailed("", {}, ["not ready"])
        return {"stamp": 2}


THING = Thing()


def check(news: Properties, olds: Properties | None = None, naming: Naming | None = None) -> Properties:
    return lifecycle.check(THING, CONTEXT, news, olds or {}, naming)


def refusal(news: Properties, naming: Naming | None = None) -> list[tuple[str, str]]:
    with pytest.raises(CheckFailed) as refused:
        check(news, naming=naming)
    return list(refused.value.failures)


def test_every_unknown_and_missing_property_is_told_at_once() -> None:
    failures = refusal({"nmae": "x", "colour": 1})
    assert [name for name, _ in failures] == ["nmae", "colour", "size"]
    assert "Supported: derived, name, namePrefix, size" in failures[0][1]
    assert failures[2][1] == "is required"


def test_what_check_derives_is_never_taken_from_the_program() -> None:
    assert "derived" not in check({"size": 1, "name": "n", "derived": "forged"})


def test_a_name_is_made_once_and_kept() -> None:
    first = check({"size": 1}, naming=Naming(seed=b"1"))
    assert first["__defaults"] == ["name"]
    assert check({"size": 2}, first, Naming(seed=b"2"))["name"] == first["name"]
    assert check({"size": 2, "name": "mine"}, first) == {"size": 2, "name": "mine"}
    explicit = check({"size": 1, "name": "mine"})
    assert check({"size": 2}, explicit, Naming(seed=b"2"))["name"] != "mine", "a name the program gave is not automatic"


@given(st.binary(max_size=8), st.text(max_size=40), st.booleans())
def test_a_made_name_is_legal_whatever_the_resource_is_called(seed: bytes, prefix: str, prefixed: bool) -> None:
    inputs = {"size": 1, **({"namePrefix": prefix} if prefixed else {})}
    name = check(inputs, naming=Naming(seed=seed))["name"]
    assert len(name) <= 16
    assert name.endswith(".q")
    assert set(name[:-2]) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_")
    assert not seed or name == check(inputs, naming=Naming(seed=seed))["name"]


def test_the_engines_wish_for_a_name_is_honoured() -> None:
    assert check({"size": 1}, naming=Naming(proposed="Want-It"))["name"] == "want-it"
    assert check({"size": 1}, naming=Naming(proposed="Any THING"))["name"] == "any-thing"
    assert check({"size": 1}, naming=Naming(proposed="Any THING", enforced=True))["name"] == "Any THING"
    assert check({"size": 1}, naming=Naming(proposed="x" * 17, seed=b"1"))["name"].startswith("my-thin"), "too long"
    failures = refusal({"size": 1}, naming=Naming(disabled=True))
    assert failures == [("name", "is required: automatic naming is disabled for this resource")]
    assert check({"size": 1, "namePrefix": UNKNOWN})["name"] is UNKNOWN


def test_a_preview_tells_what_is_planned_and_leaves_the_rest_unknown() -> None:
    inputs = {"name": "n", "size": 2, "__defaults": ["name"]}
    assert lifecycle.preview_create(THING, CONTEXT, inputs) == {
        **{"name": "n", "size": 2, "colour": "red"},
        **{"arn": "arn:n", "stamp": UNKNOWN},
    }
    state = {"name": "n", "size": 2, "arn": "arn:n", "stamp": 1, "kept": True}
    after = lifecycle.preview_update(THING, CONTEXT, state, inputs, {**inputs, "size": 3})
    assert after == {**state, "size": 3, "stamp": UNKNOWN, "colour": "red"}


def test_outputs_hold_inputs_defaults_and_what_was_computed() -> None:
    inputs = {"name": "n", "size": 2, "__defaults": ["name"]}
    _, outputs = lifecycle.create(THING, CONTEXT, inputs)
    assert outputs == {"name": "n", "size": 2, "colour": "red", "arn": "arn:1", "stamp": 1}
    old = {**inputs, "namePrefix": "gone"}
    state = {**outputs, "namePrefix": "gone"}
    assert lifecycle.update(THING, CONTEXT, "id-1", state, old, inputs) == {**outputs, "stamp": 2}


def test_a_resource_that_exists_but_failed_keeps_its_state() -> None:
    inputs = {"name": "n", "size": 13}
    with pytest.raises(InitializationFailed) as half:
        lifecycle.create(THING, CONTEXT, inputs)
    assert (half.value.id, half.value.outputs["arn"], half.value.outputs["size"]) == ("id-1", "arn:half", 13)
    with pytest.raises(InitializationFailed) as half:
        lifecycle.update(THING, CONTEXT, "id-7", {"arn": "arn:kept"}, {"name": "n", "size": 1}, inputs)
    assert (half.value.id, half.value.outputs["arn"]) == ("id-7", "arn:kept")


def test_a_read_takes_the_live_values_and_drops_nulls() -> None:
    assert lifecycle.read(THING, CONTEXT, "gone", {}, {}) is None
    found = lifecycle.read(THING, CONTEXT, "id-1", {"name": "live", "size": "3"}, {})
    assert found is not None
    assert found[1] == {"name": "live", "size": "3"}
    assert found[2]["arn"] == "arn:1"


def test_types_without_a_handler_are_named_with_their_neighbours() -> None:
    provider: Provider[None] = Provider(
        "test", "1.2.3", [THING], configure=lambda config: None, unsupported_hint="Use another."
    )
    assert lifecycle.find_handler(provider, "test:index:Thing") is THING
    with pytest.raises(ProviderError, match=r"'test' 1.2.3 .* type test:index:Other. Use another. .* test:index:Thing"):
        lifecycle.find_handler(provider, "test:index:Other")
    with pytest.raises(ProviderError, match="does not implement the function test:index:f"):
        lifecycle.find_function(provider, "test:index:f")
    with pytest.raises(ValueError, match="two handlers for test:index:Thing"):
        Provider("test", "1", [THING, Thing()], configure=lambda config: None)
