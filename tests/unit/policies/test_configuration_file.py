"""The configuration file: what can't be understood is an error that says where and what to write."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from policies.configuration import Configuration, ConfigurationError
from policies.configuration_file import load, parse, rule_settings, schema_of
from policies.evaluate import Outcome, evaluate
from policies.exemptions import expired
from policies.model import Level
from policies.rules import RULES
from tests.unit.policies.stacks import TODAY, facts_of, one, stack_of

BY_ID = {rule.id: rule for rule in RULES}
TOPIC = BY_ID["encryption-topic"]
EXEMPTION = {"resource": "it", "owner": "ann", "reason": "being moved", "expires": "2027-01-31"}


def read(value: Any) -> Configuration:
    text = value if isinstance(value, str) else json.dumps(value)
    return parse(text, RULES, source="policy.json", today=TODAY)


def exempting(**changed: Any) -> dict[str, Any]:
    exemption = {key: each for key, each in {**EXEMPTION, **changed}.items() if each is not None}
    return {"encryption-topic": {"exemptions": [exemption]}}


def test_levels_parameters_and_exemptions_are_taken() -> None:
    found = read(
        {
            "all": "advisory",
            "encryption-topic": {"enforcementLevel": "mandatory", "exemptions": [{**EXEMPTION, "stack": "shop*"}]},
            "encryption-queue": "disabled",
            "records-retention": {"days": 30.0},
        }
    )
    assert found.level(TOPIC) is Level.MANDATORY
    assert found.level(BY_ID["encryption-queue"]) is Level.DISABLED
    assert found.level(BY_ID["encryption-secret"]) is Level.ADVISORY
    assert found.parameters(BY_ID["records-retention"]) == {"days": 30}
    (exemption,) = found.of(TOPIC).exemptions
    assert (exemption.owner, exemption.stack, exemption.expires) == ("ann", "shop*", date(2027, 1, 31))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "policy.json: line 1, column 2: this is no JSON"),
        ("[]", "want one object"),
        ('{"all": NaN}', "NaN is no number"),
        ('{"all": "mandatory", "all": "disabled"}', "'all' stands twice"),
        ('{"encryption-topic": {"exemptions": [], "exemptions": []}}', "'exemptions' stands twice"),
        ("[" * 100_000, "nested too deeply"),
        ({"all": "fatal"}, 'all: "fatal" is no level; write mandatory, advisory, disabled'),
        ({"all": None}, "all: null is no level"),
        ({"all": {"days": 1}}, "all: a level for all rules"),
        ({"encryption-topics": "advisory"}, "there is no such rule; did you mean encryption-topic?"),
        ({"qqqq": "advisory"}, "`tenantry policy list`"),
        ({"encryption-topic": 1}, "encryption-topic: want a level or an object, not 1"),
        ({"encryption-topic": {"enforcementLevel": "remediate"}}, "encryption-topic.enforcementLevel:"),
        (
            {"encryption-topic": {"days": 1}},
            "encryption-topic.days: there is no such setting; there are enforcementLevel",
        ),
        (
            {"records-retention": {"days": "30"}},
            "records-retention.days: '30' is not of type 'integer'; it is meant for: least",
        ),
        ({"records-retention": {"days": 0}}, "records-retention.days: 0 is less than the minimum of 1"),
        ({"records-retention": {"days": True}}, "True is not of type 'integer'"),
        (
            {"exposure-ingress-rule": {"public_ports": [443, 0]}},
            "exposure-ingress-rule.public_ports[1]: 0 is less than",
        ),
        ({"encryption-topic": {"exemptions": {}}}, "encryption-topic.exemptions: {} is not of type 'array'"),
        (exempting(owner=None), "encryption-topic.exemptions[0]: 'owner' is a required property"),
        (exempting(reason=None), "'reason' is a required property"),
        (exempting(expires=None), "'expires' is a required property"),
        (exempting(resource=None), "'resource' is a required property"),
        (exempting(reason=" "), "encryption-topic.exemptions[0].reason: it is blank"),
        (exempting(owner=7), "encryption-topic.exemptions[0].owner: 7 is not of type 'string'"),
        (exempting(until="2027-01-31"), "Additional properties are not allowed ('until' was unexpected)"),
        (exempting(expires="2027-02-30"), "'2027-02-30' is no date; write it as 2027-01-31"),
        (exempting(expires="20270131"), "is no date"),
        (exempting(expires="31.1.2027"), "is no date"),
        (exempting(expires="2031-01-31"), "is more than 366 days ahead"),
        (exempting(resource="*"), "exemptions[0].resource: '*' exempts every resource of every stack"),
        (exempting(resource="urn:*::*", stack="?*"), "exempts every resource of every stack"),
    ],
)
def test_what_can_not_be_understood_is_an_error_that_says_where(value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read(value)
    assert str(raised.value).startswith("policy.json: ")
    assert message in str(raised.value)


def test_a_file_that_is_not_there_or_no_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.json: the policy configuration can't be read: No such file"):
        load(tmp_path / "none.json", RULES)
    (tmp_path / "binary").write_bytes(b"\xff\xfe{")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load(tmp_path / "binary", RULES)
    (tmp_path / "ok.json").write_text("{}")
    assert load(tmp_path / "ok.json", RULES) == Configuration({}, None)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["all", "encryption-topic", "exemptions", "owner", "expires", "enforcementLevel", "x"]),
                inner,
                max_size=4,
            )
        ),
    )
)
def test_any_json_is_a_configuration_or_an_error(value: Any) -> None:
    with suppress(ConfigurationError):
        assert isinstance(read(value), Configuration)


def test_an_exemption_covers_until_its_last_day_and_is_a_violation_after() -> None:
    stack = stack_of(one("aws:sns/topic:Topic", {})[0])
    for expires, outcome, blocks in (
        ("2026-11-24", Outcome.EXEMPTED, False),
        ("2026-11-23", Outcome.VIOLATED, True),
    ):
        configuration = read(exempting(resource="x-it", expires=expires))
        report = evaluate([TOPIC], stack, stack, facts_of(None), configuration)
        (finding,) = report.findings
        assert (finding.outcome, finding.blocks) == (outcome, blocks)
        assert blocks is ("the exemption that ann answers for expired on 2026-11-23" in finding.message)
        assert expired(RULES, configuration, [report], TODAY) == []


def test_an_expired_exemption_that_covers_nothing_is_shown() -> None:
    stack = stack_of(one("aws:sns/topic:Topic", {"kmsMasterKeyId": "arn"})[0])
    configuration = read(exempting(expires="2026-11-23"))
    report = evaluate([TOPIC], stack, stack, facts_of(None), configuration)
    assert report.findings == ()
    (finding,) = expired(RULES, configuration, [report], TODAY)
    assert (finding.rule, finding.level, finding.blocks) == (TOPIC, Level.ADVISORY, False)
    assert "covers nothing any more" in finding.message
    assert expired(RULES, read(exempting()), [report], TODAY) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_schemas_are_schemas_and_defaults_satisfy_them(rule: Any) -> None:
    for schema in schema_of(rule).values():
        Draft202012Validator.check_schema(schema)
    assert rule_settings(rule, rule.defaults).parameters == rule.defaults


def test_brackets_of_an_exemption_stand_for_themselves() -> None:
    found = read(exempting(resource="web[0]")).rules["encryption-topic"].exemptions[0]
    assert found.covers("dev", "urn:pulumi:dev::shop::aws:sns/topic:Topic::web[0]")
    assert not found.covers("dev", "urn:pulumi:dev::shop::aws:sns/topic:Topic::web0")
