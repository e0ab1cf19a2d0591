"""Every action that any document names, on what is one's own, another's and nobody's: generated from the documents.

A wildcard stands for all actions below that it matches, and so does ``NotAction`` for those that it doesn't: what
AWS has beyond them differs in no way that a policy here could tell.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial

from isolation.attempts import Answer, Layer, Probe, Severity, is_ok, is_one_of
from isolation.aws import of_decision
from isolation.cloud_subject import TAG, CloudSubject
from isolation.iam import Decision, Outcome, PolicyDocument, Request, ResourcePolicies, authorize
from isolation.state.holder import Holder

Context = dict[str, str | Sequence[str]]

#: what a tenant's session may do with what is its own, and nothing beside
CONTRACT = {
    "s3": ("AbortMultipartUpload", "DeleteObject", "GetObject", "ListBucket", "ListMultipartUploadParts", "PutObject"),
    "kms": ("Decrypt", "GenerateDataKey"),
    "secretsmanager": (),
    "sts": (),
    "iam": (),
}
KNOWN = {
    "s3": (
        *CONTRACT["s3"],
        *("BypassGovernanceRetention", "CreateBucket", "DeleteBucket", "DeleteBucketPolicy", "DeleteObjectTagging"),
        *("DeleteObjectVersion", "GetBucketAcl", "GetBucketPolicy", "GetBucketVersioning", "GetObjectAcl"),
        *("GetObjectTagging", "GetObjectVersion", "ListBucketMultipartUploads", "ListBucketVersions"),
        *("PutBucketAcl", "PutBucketLogging", "PutBucketNotification", "PutBucketOwnershipControls"),
        *("PutBucketPolicy", "PutBucketPublicAccessBlock", "PutBucketVersioning", "PutEncryptionConfiguration"),
        *("PutLifecycleConfiguration", "PutObjectAcl", "PutObjectTagging", "PutObjectVersionAcl"),
        *("PutReplicationConfiguration", "ReplicateObject", "RestoreObject"),
    ),
    "kms": (
        *CONTRACT["kms"],
        *("CancelKeyDeletion", "CreateAlias", "CreateGrant", "DeleteAlias", "DescribeKey", "DisableKey"),
        *("DisableKeyRotation", "Encrypt", "GenerateDataKeyPair", "GenerateDataKeyWithoutPlaintext", "GetKeyPolicy"),
        *("ListGrants", "ListResourceTags", "PutKeyPolicy", "ReEncryptFrom", "ReEncryptTo", "ReplicateKey"),
        *("RetireGrant", "RevokeGrant", "ScheduleKeyDeletion", "Sign", "TagResource", "UntagResource", "UpdateAlias"),
    ),
    "secretsmanager": (
        *("DeleteSecret", "DescribeSecret", "GetResourcePolicy", "GetSecretValue", "PutResourcePolicy"),
        *("PutSecretValue", "ReplicateSecretToRegions", "RotateSecret", "UpdateSecret", "UpdateSecretVersionStage"),
    ),
    "sts": ("AssumeRole", "TagSession", "SetSourceIdentity"),
    "iam": (
        *("AttachRolePolicy", "CreatePolicyVersion", "DeleteRolePermissionsBoundary", "PassRole", "PutRolePolicy"),
        *("PutRolePermissionsBoundary", "SetDefaultPolicyVersion", "TagRole", "UpdateAssumeRolePolicy"),
    ),
}
_DENIED = (Outcome.EXPLICIT_DENY.value, Outcome.IMPLICIT_DENY.value)


@dataclass(frozen=True)
class _Side:
    """What is asked of: a tenant's, or nobody's. One pair of a resource and its context an action."""

    name: str
    of: CloudSubject
    untagged: bool = False


def probes(attacker: CloudSubject, victim: CloudSubject, holders: tuple[Holder, Holder]) -> Iterator[Probe]:
    """``holders``: of the two, the attacker's first."""

    @cache
    def actions() -> dict[str, tuple[str, ...]]:
        return _actions(_documents(attacker, victim, holders))

    def ask(service: str, side: _Side, among: Callable[[], Iterable[str]]) -> Answer:
        """The first that is allowed, or how all were refused."""
        asked, by = 0, set[str]()
        first: Answer | None = None
        for action in among():
            for decision in _decisions(attacker, side, service, action):
                answer = of_decision(decision)
                if is_ok(answer):
                    return Answer("ok", f"{service}:{action} is allowed", answer.by)
                asked, first = asked + 1, first or answer
                by.update(statement.name for statement in decision.statements)
        if first is None:
            return Answer(_DENIED[1], "no document names an action of this service")
        return Answer(first.code, f"{asked} questions", "; ".join(sorted(by)) or "no statement allows it")

    def contract() -> Answer:
        for service, allowed in CONTRACT.items():
            for action in allowed:
                if not any(each.allowed for each in _decisions(attacker, _Side("own", attacker), service, action)):
                    return Answer("denied", f"{service}:{action} on its own")
        return Answer("ok", f"{sum(map(len, CONTRACT.values()))} actions on its own")

    allowed = cache(contract)
    for service, contracted in CONTRACT.items():
        for side, among, words in (
            (
                _Side("own", attacker),
                lambda s=service, c=contracted: [each for each in actions().get(s, ()) if each not in c],
                "of its own beyond what it is for",
            ),
            (_Side("others", victim), lambda s=service: actions().get(s, ()), f"of {victim.id}"),
            (_Side("untagged", attacker, True), lambda s=service: actions().get(s, ()), "that is nobody's"),
        ):
            yield Probe(
                f"every-{service}-action-{side.name}",
                Layer.FILES if service in ("s3", "kms") else Layer.IAM,
                f"does everything of {service} that any document names with what is {words.removeprefix('that is ')}",
                "explicit or implicit deny",
                partial(ask, service, side, among),
                is_one_of(*_DENIED),
                "does with its own files and their key what an application does",
                allowed,
                is_ok,
                Severity.BREACH,
            )


def _documents(one: CloudSubject, other: CloudSubject, holders: tuple[Holder, Holder]) -> list[PolicyDocument]:
    found: list[PolicyDocument | None] = []
    for subject, holder in zip((one, other), holders, strict=True):
        found += [subject.role.trust, *subject.role.policies, subject.role.boundary]
        found += [subject.cloud.bucket(holder.bucket).policy, subject.cloud.key(holder.key_arn).policy]
        found += [subject.cloud.secret(arn).policy for arn in holder.secrets]
    return [each for each in found if each is not None]


def _actions(documents: Iterable[PolicyDocument]) -> dict[str, tuple[str, ...]]:
    """By service. At least what is known of the services that tenants have to do with."""
    found = {service: set(known) for service, known in KNOWN.items()}
    for statement in (each for document in documents for each in document.statements if each.allow):
        for pattern in statement.actions or ():
            service, _, action = pattern.partition(":")
            if action and not set("*?") & set(pattern):
                found.setdefault(service.lower(), set()).add(action)
            else:
                for known, names in KNOWN.items():
                    found[known] |= {each for each in names if fnmatch.fnmatch(f"{known}:{each}", pattern)}
    return {service: tuple(sorted(names)) for service, names in found.items()}


def _decisions(attacker: CloudSubject, side: _Side, service: str, action: str) -> Iterator[Decision]:
    for resource, policies, context in _TARGETS[service](side):
        request = Request(attacker.principal, f"{service}:{action}", resource, attacker.account, context)
        yield authorize(request, policies)


Target = tuple[str, ResourcePolicies, Context]


def _buckets(side: _Side) -> list[Target]:
    of = side.of
    if side.untagged:
        arn = f"arn:{of.partition}:s3:::nobodys-bucket"
        return [(f"{arn}/x", ResourcePolicies(), {}), (arn, ResourcePolicies(), {"s3:prefix": "x"})]
    policies = of.cloud.bucket(of.outputs.bucket)
    return [(of.object_arn, policies, {}), (of.bucket_arn, policies, {"s3:prefix": of.outputs.prefix})]


def _keys(side: _Side) -> list[Target]:
    of, arn = side.of, side.of.outputs.kms_key_arn
    through: Context = {
        "kms:ViaService": f"s3.{of.region}.amazonaws.com",
        "kms:EncryptionContext:aws:s3:arn": of.object_arn,
    }
    if side.untagged:
        return [(f"{arn.rsplit('/', 1)[0]}/nobodys", _account_decides(of), through)]
    tags: Context = {f"aws:ResourceTag/{key}": value for key, value in of.cloud.key_tags(arn).items()}
    tags["kms:ResourceAliases"] = of.cloud.key_aliases(arn)
    return [(arn, of.cloud.key(arn), {**tags, **through})]


def _account_decides(of: CloudSubject) -> ResourcePolicies:
    """A key with the policy that KMS gives one by default."""
    root = f"arn:{of.partition}:iam::{of.account}:root"
    statement = {"Effect": "Allow", "Principal": {"AWS": root}, "Action": "kms:*", "Resource": "*"}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    return ResourcePolicies(PolicyDocument.parse(document, "a key's default policy"), required=True)


def _secrets(side: _Side) -> list[Target]:
    arn = side.of.outputs.login_secret_arn
    if side.untagged:
        return [(f"{arn.rsplit(':', 1)[0]}:nobodys", ResourcePolicies(), {})]
    return [(arn, side.of.cloud.secret(arn), {})]


def _roles(side: _Side) -> list[Target]:
    of = side.of
    context: Context = {f"aws:RequestTag/{TAG}": of.id, "aws:TagKeys": (TAG,)}
    if side.untagged:
        return [(f"arn:{of.partition}:iam::{of.account}:role/nobodys", ResourcePolicies(), context)]
    return [(of.role.arn, ResourcePolicies(of.role.trust, required=True), context)]


def _iam(side: _Side) -> list[Target]:
    return [(resource, ResourcePolicies(), context) for resource, _, context in _roles(side)]


_TARGETS: dict[str, Callable[[_Side], list[Target]]] = {
    "s3": _buckets,
    "kms": _keys,
    "secretsmanager": _secrets,
    "sts": _roles,
    "iam": _iam,
}
