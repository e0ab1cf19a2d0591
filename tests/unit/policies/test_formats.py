"""Findings in the formats that CI systems read."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest
from jsonschema import Draft202012Validator

from policies.checked import CheckedStack
from policies.configuration_file import parse
from policies.evaluate import evaluate
from policies.formats import junit, sarif
from policies.model import Rule
from policies.rules import RULES
from policies.values import Unknown
from tests.unit.policies.stacks import TODAY, R, facts_of, stack_of

BY_ID = {rule.id: rule for rule in RULES}
USED = (
    BY_ID["encryption-topic"],
    BY_ID["encryption-queue"],
    BY_ID["exposure-subnet"],
    BY_ID["records-retention"],
    BY_ID["exposure-database"],
)
CONFIGURATION = {
    "records-retention": "advisory",
    "encryption-queue": {
        "exemptions": [
            {"resource": "*", "stack": "dev", "owner": "ann", "reason": "is <moved>", "expires": "2026-12-31"}
        ]
    },
}

#: What SARIF 2.1.0 asks of the properties that we write (sections 3.13, 3.14, 3.19, 3.27 to 3.35, 3.49), and GitHub of
#: a result that it shows.
SARIF: dict[str, Any] = {
    "type": "object",
    "required": ["$schema", "version", "runs"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string"},
        "version": {"const": "2.1.0"},
        "runs": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/run"}},
    },
    "$defs": {
        "message": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}},
        "level": {"enum": ["none", "note", "warning", "error"]},
        "run": {
            "type": "object",
            "required": ["tool", "results"],
            "additionalProperties": False,
            "properties": {
                "tool": {
                    "type": "object",
                    "required": ["driver"],
                    "properties": {
                        "driver": {
                            "type": "object",
                            "required": ["name", "rules"],
                            "properties": {
                                "semanticVersion": {"pattern": r"^\d+\.\d+\.\d+"},
                                "rules": {"type": "array", "uniqueItems": True, "items": {"$ref": "#/$defs/rule"}},
                            },
                        }
                    },
                },
                "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                "results": {"type": "array", "items": {"$ref": "#/$defs/result"}},
            },
        },
        "rule": {
            "type": "object",
            "required": ["id", "shortDescription", "help", "properties"],
            "properties": {
                "shortDescription": {"$ref": "#/$defs/message"},
                "help": {"$ref": "#/$defs/message"},
                "defaultConfiguration": {
                    "properties": {"level": {"$ref": "#/$defs/level"}, "enabled": {"type": "boolean"}},
                    "additionalProperties": False,
                },
                "properties": {
                    "properties": {
                        "tags": {"type": "array", "uniqueItems": True, "items": {"type": "string"}},
                        "security-severity": {"type": "string", "pattern": r"^\d\.\d$"},
                    }
                },
            },
        },
        "result": {
            "type": "object",
            "required": ["ruleId", "ruleIndex", "message", "locations", "partialFingerprints"],
            "properties": {
                "level": {"$ref": "#/$defs/level"},
                "message": {"$ref": "#/$defs/message"},
                "locations": {"type": "array", "minItems": 1, "items": {"required": ["physicalLocation"]}},
                "partialFingerprints": {"additionalProperties": {"type": "string", "minLength": 1}},
                "suppressions": {
                    "items": {
                        "required": ["kind"],
                        "properties": {
                            "kind": {"enum": ["inSource", "external"]},
                            "status": {"enum": ["accepted", "underReview", "rejected"]},
                        },
                    }
                },
            },
        },
    },
}


@pytest.fixture
def checked() -> list[CheckedStack]:
    """A violation, one that nobody can judge, an advisory, an exempted one and a rule that is kept."""
    stack = stack_of(
        [
            R("aws:sns/topic:Topic", {}, "<&\x1b\ud800"),
            R("aws:sqs/queue:Queue", {}, "q"),
            R("aws:ec2/subnet:Subnet", {"mapPublicIpOnLaunch": Unknown("mapPublicIpOnLaunch")}, "s"),
            R("aws:cloudwatch/logGroup:LogGroup", {}, "l"),
        ]
    )
    configuration = parse(json.dumps(CONFIGURATION), RULES, source="policy.json", today=TODAY)
    report = evaluate(USED, stack, stack, facts_of(None), configuration)
    return [CheckedStack("shop", report, "Pulumi.shop.yaml")]


def test_sarif_is_valid_and_says_what_each_finding_is(checked: list[CheckedStack]) -> None:
    document = json.loads(json.dumps(sarif.document(checked, USED, "0.1.0")))
    Draft202012Validator(SARIF).validate(document)
    (run,) = document["runs"]
    rules = run["tool"]["driver"]["rules"]
    found = {each["ruleId"]: each for each in run["results"]}
    assert {rule_id: each["level"] for rule_id, each in found.items()} == {
        "encryption-topic": "error",
        "encryption-queue": "error",
        "exposure-subnet": "error",
        "records-retention": "warning",
    }
    assert all(rules[each["ruleIndex"]]["id"] == rule_id for rule_id, each in found.items())
    assert [rule_id for rule_id, each in found.items() if "suppressions" in each] == ["encryption-queue"]
    assert "ann, until 2026-12-31" in found["encryption-queue"]["suppressions"][0]["justification"]
    assert found["exposure-subnet"]["properties"]["outcome"] == "undecided"
    place = found["encryption-topic"]["locations"][0]
    assert place["physicalLocation"]["artifactLocation"]["uri"] == "Pulumi.shop.yaml"
    assert place["logicalLocations"][0]["fullyQualifiedName"].endswith("<&\x1b\ud800")
    again = sarif.document(checked, USED, "0.2.0")["runs"][0]["results"]
    assert [each["partialFingerprints"] for each in again] == [each["partialFingerprints"] for each in run["results"]]


def test_sarif_describes_every_rule() -> None:
    document = sarif.document([], RULES, "0.1.0")
    Draft202012Validator(SARIF).validate(document)
    assert len(document["runs"][0]["tool"]["driver"]["rules"]) == len(RULES)


def test_junit_has_a_suite_a_stack_and_a_case_a_rule(checked: list[CheckedStack]) -> None:
    suites = ElementTree.fromstring(junit.document(checked))
    (suite,) = suites
    assert suite.attrib == {"name": "shop", "tests": "5", "failures": "1", "errors": "1", "skipped": "1"}
    results = {case.get("name"): [each.tag for each in case] for case in suite}
    assert results == {
        "encryption-topic": ["failure"],
        "encryption-queue": ["skipped"],
        "exposure-subnet": ["error"],
        "records-retention": ["system-out"],
        "exposure-database": [],
    }
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("type") == "high"
    assert "<&\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}: " in str(failure.text)
    assert BY_ID["encryption-topic"].remediation in str(failure.text)


@pytest.mark.parametrize("rules", [USED, ()])
def test_no_stacks_give_documents_too(rules: tuple[Rule, ...]) -> None:
    assert sarif.document([], rules, "0.1.0")["runs"][0]["results"] == []
    assert ElementTree.fromstring(junit.document([])).tag == "testsuites"
