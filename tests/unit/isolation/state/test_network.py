"""Security groups, without a cloud."""

from __future__ import annotations

import pytest

from isolation.state.network import ANYWHERE, ANYWHERE_IPV6, faults, reaching
from isolation.state.reader import GroupState, Rule

APP = Rule("tcp", 5432, 5432, "sg-app")


def group(*ingress: Rule, egress: tuple[Rule, ...] = ()) -> GroupState:
    return GroupState("sg-database", ingress, egress)


def test_the_app_tier_and_nobody_else_reaches_a_database() -> None:
    standing = [group(APP)]
    assert reaching(standing, 5432, source_groups=["sg-app"], address=ANYWHERE)
    assert not reaching(standing, 5432, source_groups=["sg-other"], address=ANYWHERE)
    assert not reaching(standing, 5433, source_groups=["sg-app"], address=ANYWHERE)
    assert faults(standing, 5432, "sg-app") == []
    assert faults(standing, 5432, None) == []


@pytest.mark.parametrize(
    ("rule", "address"),
    [
        (Rule("tcp", 5432, 5432, "0.0.0.0/0"), ANYWHERE),
        (Rule("6", 0, 65535, "198.51.100.0/24"), ANYWHERE),
        (Rule("-1", 0, 65535, "::/0"), ANYWHERE_IPV6),
        (Rule("tcp", 5000, 6000, "10.64.0.0/16"), "10.64.255.254"),
    ],
)
def test_a_rule_that_lets_an_address_in_is_named(rule: Rule, address: str) -> None:
    assert reaching([group(APP, rule)], 5432, address=address) == [f"sg-database: {rule}"]
    assert faults([group(APP, rule)], 5432, "sg-app") == [f"sg-database lets in {rule}"]


@pytest.mark.parametrize(
    "rule", [Rule("udp", 5432, 5432, "0.0.0.0/0"), Rule("tcp", 22, 22, "0.0.0.0/0"), Rule("tcp", 5432, 5432, "pl-1")]
)
def test_rules_of_other_ports_protocols_and_lists_let_nobody_in_here(rule: Rule) -> None:
    assert reaching([group(rule)], 5432, address=ANYWHERE) == []


def test_what_must_stand_is_compared() -> None:
    assert faults([], 5432, "sg-app") == ["0 security groups instead of one"]
    assert faults([group()], 5432, "sg-app") == ["sg-database does not let in the app tier"]
    out = Rule("-1", 0, 65535, "0.0.0.0/0")
    assert faults([group(APP, egress=(out,))], 5432, "sg-app") == [f"sg-database lets out {out}"]
    itself = Rule("tcp", 5432, 5432, "sg-database")
    assert f"sg-database lets in {itself}" in faults([group(itself)], 5432, None)
