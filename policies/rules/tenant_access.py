"""IAM and KMS documents of tenants: whoever acts for a tenant carries its tag, and reaches its data only."""

from __future__ import annotations

import re
from collections.abc import Iterator

from policies.documents import Condition, Malformed, Statement, statements
from policies.grants import TENANT_VARIABLE, covers_action, everybody, is_any, matches, pins_tag
from policies.identities import POLICIES, of_each_statement
from policies.model import Facts, Parameter, Resource, Rule, Severity
from policies.references import saas_lens, soc2
from policies.relations import tags_of
from policies.values import is_present

PLATFORM = "platform"
_REQUEST_TAG = "aws:RequestTag/tenant_id"
_PRINCIPAL_TAG = "aws:PrincipalTag/tenant_id"
_VARIABLE = re.compile(re.escape(TENANT_VARIABLE), re.IGNORECASE)
_ASSUME = ("sts:AssumeRole", "sts:AssumeRoleWithSAML", "sts:AssumeRoleWithWebIdentity", "sts:TagSession")
#: Names that Tenantry gives: what it says of another tenant's.
_OWNED = re.compile(r"tenantry-(?P<id>[a-z][a-z0-9-]*?)-[0-9a-f]{8}(?![0-9a-z])")


def _tenant_of(resource: Resource, facts: Facts) -> str | None:
    """Whose the resource is: a tenant's id, ``platform``, or None for what belongs to no tenant."""
    if facts.tenant_id is not None:
        return facts.tenant_id
    return tags_of(resource).get("tenant_id") or None


def _trust(resource: Resource, facts: Facts) -> Iterator[str]:
    tenant = _tenant_of(resource, facts)
    if tenant is None or not is_present(resource.properties, "assumeRolePolicy"):
        return
    try:
        found = statements(resource.properties["assumeRolePolicy"])
    except Malformed as wrong:
        yield f"its trust policy {wrong}"
        return
    for statement in found:
        by_people = {kind.lower() for kind in statement.principals or {}} != {"service"}
        if not statement.allows or not by_people or not any(covers_action(statement, each) for each in _ASSUME):
            continue
        if tenant == PLATFORM:
            if not _requires_a_tag(statement):
                yield f"its trust policy, {statement.name}: a session needs no tag tenant_id"
        elif not pins_tag(statement.conditions, _REQUEST_TAG, tenant):
            yield f"its trust policy, {statement.name}: a session's tag tenant_id need not be {tenant!r}"


def _requires_a_tag(statement: Statement) -> bool:
    for each in statement.condition(_REQUEST_TAG):
        if each.operator == "null" and set(each.values) == {"false"} and not each.qualifier:
            return True
        if each.operator in ("stringlike", "stringequals") and each.requires and all(map(_not_empty, each.values)):
            return True
    return False


def _not_empty(pattern: str) -> bool:
    return bool(pattern.replace("*", ""))


def _scope(statement: Statement, resource: Resource, facts: Facts) -> Iterator[str]:
    tenant = _tenant_of(resource, facts)
    if tenant is None or not statement.allows:
        return
    services = facts.parameters["services"]
    about = [each for each in statement.actions if any(matches(each.split(":")[0], known) for known in services)]
    if not about and not statement.not_actions:
        return
    if _names_tenant(statement, tenant):
        return
    yield (
        f"{', '.join(about[:3]) or 'its actions'} reach data of other tenants: neither {TENANT_VARIABLE} "
        "nor a tag of the tenant's limits them"
    )


def _names_tenant(statement: Statement, tenant: str) -> bool:
    """In every resource, or in a condition that only this tenant's sessions or resources meet."""
    own = tenant != PLATFORM
    if statement.resources and all(map(_divides, statement.resources)):
        return True
    if own and statement.resources and all(_is_own(each, tenant) for each in statement.resources):
        return True
    return any(_limits(each, statement, tenant, own) for each in statement.conditions)


def _divides(text: str) -> bool:
    """Whether the tenant's variable stands in ``text`` as a whole name, in at least one place: of ``${...}*`` and
    ``${...}-*`` tenant ``acme`` gets what is ``acme-labs``'s, of ``*${...}`` what is ``big-acme``'s."""
    return any(
        not set(re.split("[/:]", text[: found.start()])[-1]) & {"*", "?"}
        and not text[found.end() :].startswith("?")
        and "*" not in re.split("[/:]", text[found.end() :])[0]
        for found in _VARIABLE.finditer(text)
    )


def _is_own(arn: str, tenant: str) -> bool:
    named = _OWNED.search(arn)
    return named is not None and named["id"] == tenant


def _limits(condition: Condition, statement: Statement, tenant: str, own: bool) -> bool:
    if not condition.requires or not condition.values:
        return False
    if condition.key == _PRINCIPAL_TAG.lower():
        return own and set(condition.values) == {tenant}
    with_tenant = [_divides(each) or (own and each == tenant) for each in condition.values]
    if condition.key.endswith(":resourcetag/tenant_id"):
        return all(_VARIABLE.fullmatch(each) or (own and each == tenant) for each in condition.values)
    if condition.key.startswith("kms:encryptioncontext:"):
        # With a bucket key S3's context is the bucket, whoever's object it is: S3 itself is then what divides.
        through_s3 = any("s3." in value for each in statement.condition("kms:ViaService") for value in each.values)
        named = [
            found or (own and _is_own(value, tenant))
            for found, value in zip(with_tenant, condition.values, strict=True)
        ]
        return all(named) or (through_s3 and any(named))
    # A request for several keys meets "any of them" with one of its own.
    return condition.key in ("s3:prefix", "dynamodb:leadingkeys") and not condition.qualifier and all(with_tenant)


_CRYPTOGRAPHY = ("kms:Decrypt", "kms:CreateGrant", "kms:GenerateDataKey", "kms:ReEncryptFrom")


def _key_policy(resource: Resource, facts: Facts) -> Iterator[str]:
    tenant = _tenant_of(resource, facts)
    if tenant is None:
        return
    if not is_present(resource.properties, "policy"):
        if resource.type == "aws:kms/key:Key" and facts.spec is not None:
            yield "it has AWS's default policy, by which any IAM policy of the account may decrypt with it"
        return
    try:
        found = statements(resource.properties["policy"])
    except Malformed as wrong:
        yield f"its policy {wrong}"
        return
    for statement in found:
        yield from (f"its policy, {statement.name}: {each}" for each in _key_statement(statement, tenant, facts))


def _key_statement(statement: Statement, tenant: str, facts: Facts) -> Iterator[str]:
    if not statement.allows:
        return
    mine = {tenant, PLATFORM}
    for condition in statement.conditions:
        if condition.operator == "null" or not condition.key.endswith(("/tenant_id", ":tenant_id")):
            continue
        others = [each for each in condition.values if each != tenant and not _VARIABLE.fullmatch(each)]
        if tenant != PLATFORM and others:
            yield f"it is for sessions of {', '.join(others)}"
    names = [value for each in statement.conditions for value in each.values]
    names += [name for each in (statement.principals or {}).values() for name in each]
    if tenant != PLATFORM:
        others = sorted({m["id"] for name in names for m in _OWNED.finditer(name)} - mine)
        if others:
            yield f"it names resources of {', '.join(others)}"
    services_only = {kind.lower() for kind in statement.principals or {}} == {"service"}
    open_cryptography = [each for each in _CRYPTOGRAPHY if covers_action(statement, each)]
    if open_cryptography and facts.spec is not None and not any(map(_purpose, statement.conditions)):
        whom = "an AWS service" if services_only else "whoever IAM policies of the account allow"
        yield f"it lets {whom} call {open_cryptography[0]} for whatever data"
    if statement.not_principals is not None and everybody(statement):
        yield "it allows all principals but some (NotPrincipal)"


def _purpose(condition: Condition) -> bool:
    """Whether it ties the use of a key to a service or to the data that is encrypted."""
    return (
        condition.requires
        and (condition.key == "kms:viaservice" or condition.key.startswith("kms:encryptioncontext"))
        and not any(is_any(each) for each in condition.values)
    )


_TENANT = (*soc2("CC6.1", "CC6.3"), *saas_lens("SaaS SEC 1", "SaaS SEC 2"))

RULES: tuple[Rule, ...] = (
    Rule(
        id="access-trust-tenant-tag",
        title="A tenant's role is assumed with that tenant's tag only; a shared role with some tenant's",
        severity=Severity.CRITICAL,
        remediation=f"Require StringEquals {_REQUEST_TAG} in every statement of the trust policy (shared: Null false)",
        types=frozenset({"aws:iam/role:Role"}),
        resource=_trust,
        references=_TENANT,
    ),
    Rule(
        id="access-tenant-scope",
        title="Every statement on tenants' data names the session's tenant, or the tenant's own resources",
        severity=Severity.CRITICAL,
        remediation=f"Put {TENANT_VARIABLE} into every resource, or require the tenant's tag in a condition",
        types=frozenset(POLICIES),
        resource=of_each_statement(_scope),
        references=_TENANT,
        parameters=(
            Parameter(
                "services",
                [
                    "s3",
                    "s3express",
                    "s3-object-lambda",
                    "kms",
                    "secretsmanager",
                    "dynamodb",
                    "sqs",
                    "sns",
                    "ssm",
                    "rds-db",
                    "rds-data",
                    "es",
                    "kinesis",
                    "logs",
                ],
                {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "services that keep tenants' data, by the prefix of their actions",
                },
            ),
        ),
    ),
    Rule(
        id="access-key-policy",
        title="A tenant's key is for that tenant's data only",
        severity=Severity.CRITICAL,
        remediation="Name kms:ViaService and the encryption context of the owner's data, and no other tenant",
        types=frozenset({"aws:kms/key:Key", "aws:kms/keyPolicy:KeyPolicy", "aws:kms/replicaKey:ReplicaKey"}),
        resource=_key_policy,
        references=_TENANT,
    ),
)
