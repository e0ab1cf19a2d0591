"""Policy documents that stand, beside those that a stack asked for."""

from __future__ import annotations

import json
from typing import Any

from isolation.state.declared import Declared, Holds, probe
from provisioner.proving.declared import declared_by

ASKED = {
    "Version": "2012-10-17",
    "Statement": [{"Sid": "One", "Effect": "Allow", "Principal": "*", "Action": ["s3:A", "s3:B"], "Resource": "*"}],
}


class Cloud:
    """Answers for S3 with one bucket's policy."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document

    def client(self, service_name: str, *, region_name: str | None = None) -> Any:
        assert (service_name, region_name) == ("s3", "eu-west-1")
        return self

    def get_bucket_policy(self, *, Bucket: str) -> dict[str, str]:
        assert Bucket == "files"
        return {"Policy": json.dumps(self.document)}


def attempt(statement: dict[str, Any]) -> Any:
    standing = {**ASKED, "Statement": [{**ASKED["Statement"][0], **statement}]}  # type: ignore[dict-item]
    declared = Declared(Holds.BUCKET, "files", json.dumps(ASKED), "eu-west-1")
    return probe(Cloud(standing), [declared]).run("acme", "acme")


def test_a_document_that_means_the_same_is_the_same() -> None:
    assert attempt({"Action": ["s3:B", "s3:A"], "Resource": ["*"]}).passed


def test_any_other_meaning_is_a_wall_that_is_down() -> None:
    for change in (
        {"Action": "s3:*"},
        {"Effect": "Deny"},
        {"Principal": {"AWS": "123456789012"}},
        {"Condition": {"StringEquals": {"aws:PrincipalTag/tenant_id": "acme"}}},
    ):
        found = attempt(change)
        assert not found.passed
        assert "bucket files: another document than the stack asked for" in found.actual


def test_a_checkpoint_tells_what_was_asked_for() -> None:
    resources = [
        {
            "urn": "urn:pulumi:acme::tenantry::aws:s3/bucketPolicy:BucketPolicy::files",
            "id": "files",
            "inputs": {"bucket": "files", "policy": json.dumps(ASKED)},
            "outputs": {"region": "eu-west-1"},
        },
        {"urn": "urn:pulumi:acme::tenantry::aws:s3/bucket:Bucket::files", "id": "files", "inputs": {}, "outputs": {}},
    ]
    assert list(declared_by({"resources": resources})) == [
        Declared(Holds.BUCKET, "files", json.dumps(ASKED), "eu-west-1")
    ]
    assert list(declared_by({"resources": [{**resources[0], "delete": True}]})) == []
