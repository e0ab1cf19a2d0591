"""Every rule: a resource that keeps it, and one that breaks it."""

from __future__ import annotations

from typing import Any

import pytest

from policies.configuration import Configuration
from policies.evaluate import judge_resource
from policies.model import Facts, Resource, Rule
from policies.rules import RULES
from policies.rules.ownership import REQUIRED_TAGS

BY_ID = {rule.id: rule for rule in RULES}
TAGS = dict.fromkeys(REQUIRED_TAGS, "x")
BLOCK = dict.fromkeys(("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"), True)


def sse(algorithm: str, key: str | None) -> dict[str, Any]:
    default = {"sseAlgorithm": algorithm, "kmsMasterKeyId": key}
    return {"rules": [{"applyServerSideEncryptionByDefault": default}]}


CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("encryption-database", {"storageEncrypted": True, "kmsKeyId": "arn"}, {"storageEncrypted": True}),
    ("encryption-database", {"storageEncrypted": True, "kmsKeyId": "arn"}, {"kmsKeyId": "arn"}),
    (
        "encryption-database",
        {"storageEncrypted": True, "kmsKeyId": "arn"},
        {"storageEncrypted": True, "kmsKeyId": "arn", "password": "p"},
    ),
    ("encryption-bucket", sse("aws:kms", "arn"), sse("AES256", None)),
    ("encryption-bucket", sse("aws:kms", "arn"), sse("aws:kms", None)),
    ("encryption-bucket", sse("aws:kms", "arn"), {}),
    ("encryption-key-rotation", {"enableKeyRotation": True}, {"enableKeyRotation": False}),
    ("encryption-key-rotation", {"customerMasterKeySpec": "RSA_2048"}, {}),
    ("encryption-secret", {"kmsKeyId": "arn"}, {}),
    ("encryption-log-group", {"kmsKeyId": "arn"}, {"kmsKeyId": ""}),
    ("encryption-topic", {"kmsMasterKeyId": "arn"}, {}),
    ("encryption-queue", {"kmsMasterKeyId": "arn"}, {}),
    ("exposure-database", {"publiclyAccessible": False}, {"publiclyAccessible": True}),
    ("exposure-bucket", BLOCK, {**BLOCK, "ignorePublicAcls": False}),
    ("exposure-ingress-rule", {"cidrIpv4": "10.0.0.0/8"}, {"cidrIpv4": "0.0.0.0/0"}),
    ("exposure-ingress-rule", {"referencedSecurityGroupId": "sg-1"}, {"cidrIpv6": "::/0"}),
    ("exposure-security-group", {}, {"ingress": [{"ipv6CidrBlocks": ["::/0"]}]}),
    ("exposure-subnet", {}, {"mapPublicIpOnLaunch": True}),
    (
        "exposure-database-tls",
        {"family": "postgres17", "parameters": [{"name": "rds.force_ssl", "value": "1"}]},
        {"family": "postgres17", "parameters": []},
    ),
    ("ownership-tags", {"tags": TAGS}, {"tags": {**TAGS, "tenant_id": ""}}),
    ("ownership-tags", {"tags": {}, "tagsAll": TAGS}, {}),
]


def violations(rule: Rule, token: str, properties: dict[str, Any]) -> list[str]:
    if not rule.applies_to(token):
        return []
    resource = Resource(f"urn:pulumi:dev::shop::{token}::it", token, "it", properties)
    return [each.text for each in judge_resource(rule, resource, Facts(), Configuration())]


@pytest.mark.parametrize(("rule_id", "keeps", "breaks"), CASES)
def test_rule_tells_a_kept_from_a_broken_resource(rule_id: str, keeps: dict[str, Any], breaks: dict[str, Any]) -> None:
    rule = BY_ID[rule_id]
    token = next(iter(rule.types))
    assert violations(rule, token, keeps) == []
    found = violations(rule, token, breaks)
    assert found
    assert all(rule.remediation in message for message in found)


def test_every_rule_has_a_case() -> None:
    assert {case[0] for case in CASES} == set(BY_ID)
    assert len(BY_ID) == len(RULES), "rule ids are unique"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_rule_ignores_other_types(rule: Rule) -> None:
    assert violations(rule, "random:index/randomPet:RandomPet", {}) == []
