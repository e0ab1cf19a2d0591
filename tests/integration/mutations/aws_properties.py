"""What can be weaker about a resource of AWS: by type and property, the values that protect less."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from tests.integration.mutations.policy_documents import weaker

Inputs = dict[str, Any]
GONE = object()


@dataclass(frozen=True)
class Change:
    """``inputs``: what the resource is asked to be; None: it is gone. ``live``: the cloud takes it at an update."""

    name: str
    words: str
    inputs: Inputs | None
    live: bool = True


@dataclass(frozen=True)
class Others:
    """What a property may wrongly point at."""

    key_arn: str  #: another tenant's, or the platform's
    role_arn: str
    group: str  #: a security group that is not the app tier's
    tenant: str


#: documents: whether they name principals
DOCUMENTS = {"policy": None, "assumeRolePolicy": True, "policyDocument": True}
_WITHOUT_PRINCIPALS = ("aws:iam/policy:Policy", "aws:iam/rolePolicy:RolePolicy")
#: values that protect less: property to words and value (GONE: the property is absent)
VALUES: dict[str, dict[str, list[tuple[str, str, Any]]]] = {
    "aws:kms/key:Key": {
        "enableKeyRotation": [("no-rotation", "it is not rotated", False)],
        "isEnabled": [("disabled", "it is disabled", False)],
    },
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": {
        name: [(name, f"`{name}` is off", False)]
        for name in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
    },
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": {
        "rule": [("writer", "objects belong to whoever wrote them", {"objectOwnership": "ObjectWriter"})]
    },
    "aws:s3/bucketVersioning:BucketVersioning": {
        "versioningConfiguration": [("suspended", "it is suspended", {"status": "Suspended"})]
    },
    "aws:ec2/subnet:Subnet": {"mapPublicIpOnLaunch": [("public-addresses", "machines get public addresses", True)]},
    "aws:cloudwatch/eventRule:EventRule": {"state": [("disabled", "it is disabled", "DISABLED")]},
    "aws:cloudwatch/logGroup:LogGroup": {
        "retentionInDays": [("kept-forever", "its lines are kept for ever", GONE)],
        "kmsKeyId": [("no-key", "it is not encrypted with a key of ours", GONE)],
    },
    "aws:sns/topic:Topic": {"kmsMasterKeyId": [("no-key", "it is not encrypted with a key of ours", GONE)]},
    "aws:secretsmanager/secret:Secret": {
        "kmsKeyId": [("no-key", "it is encrypted with the account's default key", GONE)]
    },
    "aws:rds/instance:Instance": {
        "publiclyAccessible": [("public", "it is publicly accessible", True)],
        "deletionProtection": [("deletable", "deletion protection is off", False)],
        "backupRetentionPeriod": [("no-backups", "no backups are kept", 0)],
        "autoMinorVersionUpgrade": [("no-patches", "minor versions are not installed", False)],
        "enabledCloudwatchLogsExports": [("no-logs", "its logs are not exported", [])],
        "storageEncrypted": [("unencrypted", "its storage is not encrypted", False)],
        "skipFinalSnapshot": [("no-final-snapshot", "it leaves no final snapshot", True)],
        "deleteAutomatedBackups": [("backups-deleted", "its backups go with it", True)],
        "engineVersion": [("end-of-life", "its version gets no more patches", "12.4")],
    },
}
#: properties that name a key, a role or a group: pointed elsewhere
REFERENCES: dict[str, dict[str, str]] = {
    "aws:cloudwatch/logGroup:LogGroup": {"kmsKeyId": "key"},
    "aws:sns/topic:Topic": {"kmsMasterKeyId": "key"},
    "aws:secretsmanager/secret:Secret": {"kmsKeyId": "key"},
    "aws:kms/alias:Alias": {"targetKeyId": "key id"},
    "aws:rds/instance:Instance": {
        "kmsKeyId": "key",
        "masterUserSecretKmsKeyId": "key",
        "vpcSecurityGroupIds": "groups",
    },
}
#: what the cloud only takes at a replacement, or does not keep
PREVIEW = {
    "storageEncrypted",
    "masterUserSecretKmsKeyId",
    "skipFinalSnapshot",
    "deleteAutomatedBackups",
    "engineVersion",
}
#: types that protect by being there
PROTECTORS = (
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
    "aws:s3/bucketVersioning:BucketVersioning",
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    "aws:s3/bucketPolicy:BucketPolicy",
    "aws:cloudwatch/eventTarget:EventTarget",
)
TAGGED = ("aws:kms/key:Key", "aws:s3/bucket:Bucket", "aws:iam/role:Role", "aws:secretsmanager/secret:Secret",
          "aws:rds/instance:Instance")  # fmt: skip


def changes(kind: str, name: str, inputs: Mapping[str, Any], others: Others) -> Iterator[Change]:
    """Everything that can be weaker about one resource."""
    for property_, value in inputs.items():
        if property_ in DOCUMENTS and isinstance(value, str) and value:
            for each in weaker(value, anybody=kind not in _WITHOUT_PRINCIPALS):
                if (kind, each.name) == ("aws:s3/bucketPolicy:BucketPolicy", "anybody"):
                    continue  # S3 refuses it while public policies are blocked: see aws_faults.beside
                yield Change(each.name, each.words, {**inputs, property_: each.text})
    for property_, values in VALUES.get(kind, {}).items():
        for label, words, value in values:
            changed = {**inputs, property_: value}
            if value is GONE:
                del changed[property_]
            yield Change(label, words, changed, _live(kind, property_, value is GONE))
    for property_, what in REFERENCES.get(kind, {}).items():
        if property_ in inputs:
            value = {
                "key": others.key_arn,
                "key id": others.key_arn.rsplit("/", 1)[-1],
                "groups": [others.group],
            }[what]
            live = _live(kind, property_, False)
            word = "security group" if what == "groups" else "key"
            yield Change(
                f"{property_}-of-another", f"its `{property_}` is another's {word}", {**inputs, property_: value}, live
            )
    more = _MORE.get(kind)
    if more is not None:
        yield from more(dict(inputs), others)
    if kind in PROTECTORS:
        yield Change("gone", "it is gone", None)
    if kind in TAGGED and "tagsAll" in inputs:
        tags = {**inputs["tagsAll"], "tenant_id": others.tenant}
        yield Change(
            "tag-of-another", "its tag `tenant_id` is another tenant's", {**inputs, "tags": tags, "tagsAll": tags}
        )


def _live(kind: str, property_: str, gone: bool) -> bool:
    """Whether the local cloud takes it at an update: an instance keeps its key, a log group's can't be changed there,
    and a secret's key can be replaced, not taken away."""
    fixed = kind in ("aws:rds/instance:Instance", "aws:cloudwatch/logGroup:LogGroup")
    if property_ == "kmsKeyId":
        return not fixed and not gone
    return property_ not in PREVIEW


def _encryption(inputs: Inputs, others: Others) -> Iterator[Change]:
    for name, words, default in (
        ("aes", "with S3's own key", {"sseAlgorithm": "AES256"}),
        ("key-of-another", "with another's key", {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": others.key_arn}),
        ("aws-managed-key", "with AWS's key", {"sseAlgorithm": "aws:kms"}),
    ):
        changed = deepcopy(inputs)
        changed["rules"][0]["applyServerSideEncryptionByDefault"] = default
        yield Change(name, f"objects are encrypted {words}", changed)


def _role(inputs: Inputs, others: Others) -> Iterator[Change]:
    without = {key: value for key, value in inputs.items() if key != "permissionsBoundary"}
    yield Change("boundary-removed", "its permissions boundary is removed", without)
    yield Change(
        "boundary-of-administrators",
        "its permissions boundary allows everything",
        {**inputs, "permissionsBoundary": "arn:aws:iam::aws:policy/AdministratorAccess"},
    )
    yield Change("long-sessions", "its sessions may last 12 hours", {**inputs, "maxSessionDuration": 43200})


def _ingress(inputs: Inputs, others: Others) -> Iterator[Change]:
    without = {key: value for key, value in inputs.items() if key != "referencedSecurityGroupId"}
    protocol = {key: value for key, value in inputs.items() if key not in ("fromPort", "toPort")}
    yield Change("from-anywhere", "lets in the whole internet", {**without, "cidrIpv4": "0.0.0.0/0"})
    yield Change("from-anywhere-ipv6", "lets in the whole internet, IPv6", {**without, "cidrIpv6": "::/0"})
    if inputs.get("toPort") != _POSTGRES:
        return  # an endpoint serves the account's own credentials, whichever machine of the network asks
    yield Change("every-protocol", "is open for every protocol", {**protocol, "ipProtocol": "-1"})
    yield Change("from-the-network", "lets in the whole private network", {**without, "cidrIpv4": "10.64.0.0/16"})
    other = {**inputs, "referencedSecurityGroupId": others.group}
    yield Change("from-another-group", "lets in another security group", other)
    yield Change("every-port", "is open on every port", {**inputs, "fromPort": 0, "toPort": 65535})


_POSTGRES = 5432


def _secret(inputs: Inputs, others: Others) -> Iterator[Change]:
    from tests.integration.mutations.policy_documents import resource_policy

    for name, words, principal in (
        ("public", "everybody", "*"),
        ("another-account", "another account", {"AWS": "arn:aws:iam::999999999999:root"}),
        ("another-role", "another tenant's role", {"AWS": others.role_arn}),
    ):
        policy = resource_policy(principal, "secretsmanager:GetSecretValue")
        yield Change(f"policy-{name}", f"its policy lets {words} read it", {**inputs, "policy": policy})


def _parameters(inputs: Inputs, others: Others) -> Iterator[Change]:
    for name, value in (("rds.force_ssl", "0"), ("log_parameter_max_length", "-1")):
        changed = deepcopy(inputs)
        for each in changed["parameters"]:
            if each["name"] == name:
                each["value"] = value
        yield Change(name.replace("_", "-").replace(".", "-"), f"`{name}` is {value}", changed)


_MORE: dict[str, Callable[[Inputs, Others], Iterator[Change]]] = {
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": _encryption,
    "aws:iam/role:Role": _role,
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _ingress,
    "aws:secretsmanager/secret:Secret": _secret,
    "aws:rds/parameterGroup:ParameterGroup": _parameters,
}
