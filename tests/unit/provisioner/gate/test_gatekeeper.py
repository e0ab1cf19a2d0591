"""What the gate lets through, by rules, by what stands and by what was approved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import pytest

from policies.configuration import Configuration, Exemption, RuleSettings
from policies.model import Facts, Level, Resource, Rule, Severity
from provisioner.deployer.plan import Plan, PlannedStep
from provisioner.errors import ApprovalNeeded, OperatorNeeded, PolicyBlocked
from provisioner.gate.gatekeeper import Gatekeeper

BUCKET = "aws:s3/bucket:Bucket"
URN = f"urn:pulumi:acme::tenantry::{BUCKET}::files"
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


def _private(resource: Resource, facts: Facts) -> Iterator[str]:
    if resource.get("acl") != "private":
        yield "the bucket is open"


RULE = Rule("private", "Buckets are private", Severity.HIGH, "Close it", frozenset({BUCKET}), _private)


def resource(acl: str, urn: str = URN) -> dict[str, Any]:
    return {"urn": urn, "inputs": {"acl": acl}, "outputs": {"acl": acl}}


def plan(acl: str, *steps: PlannedStep) -> Plan:
    return Plan("acme", (resource(acl),), steps)


DELETION = PlannedStep(URN.replace("files", "old"), "delete", (), (), {"id": "old", "inputs": {}}, {})


def test_a_kept_rule_lets_the_update_begin() -> None:
    Gatekeeper((RULE,)).open("acme", {}, {}).judge(plan("private"))


def test_a_violation_names_resource_reason_and_remedy() -> None:
    with pytest.raises(PolicyBlocked, match=r"private: aws:s3/bucket:Bucket files: the bucket is open") as raised:
        Gatekeeper((RULE,)).open("acme", {}, {}).judge(plan("public"))
    assert "nothing was changed" in raised.value.message
    assert raised.value.hint.startswith("Close it.")
    assert raised.value.detail["findings"][0]["urn"] == URN


def test_an_unknown_value_is_not_waved_through() -> None:
    with pytest.raises(PolicyBlocked, match="acl is not known before the update"):
        Gatekeeper((RULE,)).open("acme", {}, {}).judge(plan(UNKNOWN))


def test_a_rule_that_breaks_is_not_waved_through() -> None:
    def broken(resource: Resource, facts: Facts) -> list[str]:
        raise KeyError("a secret")

    rule = Rule("broken", "It breaks", Severity.LOW, "Mend it", frozenset({BUCKET}), broken)
    with pytest.raises(PolicyBlocked, match="the rule failed with KeyError") as raised:
        Gatekeeper((rule,)).open("acme", {}, {}).judge(plan("private"))
    assert "a secret" not in raised.value.message


@pytest.mark.parametrize(
    ("days", "blocks"), [(1, False), (0, False), (-1, True)], ids=["in force", "its last day", "expired"]
)
def test_an_exemption_holds_until_its_day(days: int, blocks: bool) -> None:
    today = Facts().today
    exemption = Exemption("ada", "a migration", today + timedelta(days=days), "files")
    configuration = Configuration({"private": RuleSettings(exemptions=(exemption,))})
    judgement = Gatekeeper((RULE,), configuration).open("acme", {}, {})
    if blocks:
        with pytest.raises(PolicyBlocked, match="ada answers for expired"):
            judgement.judge(plan("public"))
    else:
        judgement.judge(plan("public"))
    assert isinstance(exemption.expires, date)


@pytest.mark.parametrize("level", [Level.ADVISORY, Level.DISABLED])
def test_only_mandatory_rules_block(level: Level) -> None:
    configuration = Configuration({"private": RuleSettings(level)})
    Gatekeeper((RULE,), configuration).open("acme", {}, {}).judge(plan("public"))


def test_what_stands_is_tolerated_where_access_is_taken_away_and_nothing_new() -> None:
    standing = {"resources": [resource("public")]}
    keeper = Gatekeeper((RULE,))
    keeper.open("acme", {}, standing, tolerant=True).judge(plan("public"))
    with pytest.raises(PolicyBlocked):
        keeper.open("acme", {}, standing).judge(plan("public"))
    other = Plan("acme", (resource("public", URN.replace("files", "more")),), ())
    with pytest.raises(PolicyBlocked):
        keeper.open("acme", {}, standing, tolerant=True).judge(other)


def test_the_recheck_judges_what_the_cloud_gave() -> None:
    judgement = Gatekeeper((RULE,)).open("acme", {}, {})
    judgement.judge(plan("private"))
    with pytest.raises(PolicyBlocked, match="the update was made"):
        judgement.recheck({"resources": [{**resource("private"), "outputs": {"acl": "public-read"}}]})


def test_a_deletion_waits_for_an_approval_of_that_very_diff() -> None:
    keeper = Gatekeeper((RULE,))
    with pytest.raises(ApprovalNeeded) as raised:
        keeper.open("acme", {}, {}).judge(plan("private", DELETION))
    digest = raised.value.diff_hash
    judgement = keeper.open("acme", {}, {}, approved=[digest])
    judgement.judge(plan("private", DELETION))
    assert judgement.approval == digest
    more = PlannedStep(URN, "update", ("acl",), (), {"inputs": {"acl": "a"}}, {"inputs": {"acl": "private"}})
    with pytest.raises(ApprovalNeeded):
        keeper.open("acme", {}, {}, approved=[digest]).judge(plan("private", DELETION, more))


def test_a_violation_is_told_before_an_approval_is_asked_for() -> None:
    with pytest.raises(PolicyBlocked):
        Gatekeeper((RULE,)).open("acme", {}, {}).judge(plan("public", DELETION))


def test_a_specification_that_can_not_be_read_blocks() -> None:
    with pytest.raises(PolicyBlocked, match="can't be read"):
        Gatekeeper((RULE,)).open("acme", {"tenantry:spec": "{}"}, {})


class Quotas:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.kept = 0

    @contextmanager
    def admitted(self, plan: Plan, facts: Facts) -> Iterator[None]:
        if self.error is not None:
            raise self.error
        self.kept += 1
        try:
            yield
        finally:
            self.kept -= 1


def test_room_is_kept_until_the_update_has_ended() -> None:
    quotas = Quotas()
    judgement = Gatekeeper((RULE,), quotas=quotas).open("acme", {}, {})
    judgement.judge(plan("private"))
    assert quotas.kept == 1
    judgement.close()
    assert quotas.kept == 0


def test_a_shortfall_keeps_the_update_from_beginning() -> None:
    quotas = Quotas(OperatorNeeded("no room"))
    with pytest.raises(OperatorNeeded, match="no room"):
        Gatekeeper((RULE,), quotas=quotas).open("acme", {}, {}).judge(plan("private"))
