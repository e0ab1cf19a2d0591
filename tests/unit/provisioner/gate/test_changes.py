"""Which changes destroy data, and the diff that an approval is bound to."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from provisioner.deployer.plan import Plan, PlannedStep
from provisioner.gate.changes import STATEFUL, destructive, diff, diff_hash

names = st.text("abcdef", min_size=1, max_size=4)
values = st.one_of(st.integers(2, 5), st.text("xyz", max_size=3), st.booleans(), st.none())  # in Python 1 is True
inputs = st.dictionaries(names, values, max_size=3)


def urn(type_: str, name: str) -> str:
    return f"urn:pulumi:acme::tenantry::{type_}::{name}"


steps = st.builds(
    lambda type_, name, op, before, after, identity: PlannedStep(
        urn(type_, name),
        op,
        tuple(sorted({*before, *after})),
        (),
        {"id": identity, "inputs": before},
        {"inputs": after},
    ),
    st.sampled_from([*sorted(STATEFUL)[:5], "aws:iam/role:Role"]),
    names,
    st.sampled_from(["create", "update", "delete", "replace"]),
    inputs,
    inputs,
    names,
)
plans = st.lists(steps, min_size=1, max_size=5, unique_by=lambda step: step.urn).map(
    lambda found: Plan("acme", (), tuple(found))
)


@given(plans, st.randoms())
def test_the_order_in_which_steps_were_seen_is_no_difference(plan: Plan, chance: random.Random) -> None:
    shuffled = list(plan.steps)
    chance.shuffle(shuffled)
    assert diff_hash(diff(plan)) == diff_hash(diff(Plan("acme", (), tuple(shuffled))))


@given(plans, plans)
def test_an_approval_fits_no_other_change(one: Plan, other: Plan) -> None:
    same = {step.urn: step for step in one.steps} == {step.urn: step for step in other.steps}
    assert (diff_hash(diff(one)) == diff_hash(diff(other))) == same


@given(plans)
def test_only_what_holds_data_and_goes_is_destroyed(plan: Plan) -> None:
    found = {step.urn for step in destructive(plan)}
    expected = {step.urn for step in plan.steps if step.op in ("delete", "replace") and step.type in STATEFUL}
    assert found == expected
    assert {entry["urn"] for entry in diff(plan) if "destroys" in entry} == expected


def test_a_long_value_is_cut_for_the_eye_and_whole_for_the_hash() -> None:
    def plan(text: str) -> Plan:
        step = PlannedStep(
            urn("aws:kms/key:Key", "k"), "update", ("policy",), (), {"inputs": {}}, {"inputs": {"policy": text}}
        )
        return Plan("acme", (), (step,))

    one, other = diff(plan("x" * 5000 + "a")), diff(plan("x" * 5000 + "b"))
    assert len(str(one)) < 1000
    assert one[0]["changed"] == other[0]["changed"]
    assert diff_hash(one) != diff_hash(other)


def test_a_diff_can_be_stored_whatever_is_in_it() -> None:
    old = {"inputs": {"a": "x\x00y", "b": ["\x00"], "c": "\\u0000"}}
    step = PlannedStep(urn("aws:kms/key:Key", "k"), "delete", ("a", "b", "c"), (), old, {})
    assert "\\u0000" not in json.dumps(diff(Plan("acme", (), (step,))))


def test_the_diff_is_independent_of_what_is_done_with_it() -> None:
    plan = Plan("acme", (), (PlannedStep(urn("aws:kms/key:Key", "k"), "delete", (), (), {"inputs": {"a": [1]}}, {}),))
    before: Any = copy.deepcopy(plan)
    diff(plan)[0]["changed"]["a"] = "else"
    assert plan == before
