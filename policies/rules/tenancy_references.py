"""Nothing in a tenant's stack names another tenant.

Names carry a hash of installation, id and generation (``components.naming``), so whose a name is can be computed: what
has the form of one and is neither the tenant's nor the platform's is somebody else's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from components.account import Account
from components.naming import HASH_LENGTH, PREFIX, Names
from components.spec import PlatformOutputs, TenantSpec
from policies.documents import Malformed, Statement, statements
from policies.model import Facts, Resource, Rule, Severity, Stack, Violation
from policies.references import saas_lens, soc2
from policies.rules.tenancy_keys import KEYS
from policies.values import CannotTell, is_unknown

_HASH = f"[0-9a-f]{{{HASH_LENGTH}}}"
_AWS_NAME = re.compile(rf"(?<![a-z0-9-]){PREFIX}-[a-z][a-z0-9-]*-{_HASH}(?![a-z0-9])")
_POSTGRES_NAME = re.compile(rf"(?<![a-z0-9_])t_[a-z][a-z0-9_]*_{_HASH}(?![a-z0-9])")
_TENANT_VARIABLE = re.compile(r"\$\{aws:(?:PrincipalTag|RequestTag)/tenant_id\}", re.IGNORECASE)
_TENANT_KEYS = re.compile(r"aws:(?:principaltag|requesttag|resourcetag)/tenant_id")
_KEY_ARN = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[0-9A-Za-z-]+")
_DOCUMENTS = ("policy", "assumeRolePolicy", "keyPolicy", "accessPolicies")
_TENANT_PROPERTIES = ("tenantId",)


@dataclass(frozen=True)
class Own:
    """What a tenant's stack may name."""

    tenant_id: str
    account_id: str  #: of the cell
    names: frozenset[str]  #: that AWS names begin with, of this and of former lives
    postgres: frozenset[str]
    platform: str  #: all that the platform put out, as text
    shared_bucket: str

    @classmethod
    def of(cls, tenant: TenantSpec, platform: PlatformOutputs) -> Own:
        account = Account(platform.account_id, platform.region)
        lives = [Names(tenant.installation, tenant.tenant_id, number) for number in range(1, tenant.generation + 1)]
        return cls(
            tenant.tenant_id,
            platform.account_id,
            frozenset(name for life in lives for name in (life.aws, life.bucket(account))),
            frozenset(life.postgres for life in lives),
            platform.model_dump_json(),
            platform.shared_bucket,
        )

    def foreign(self, text: str) -> Iterator[str]:
        """The names in ``text`` that are another's. A name that begins with an own one is own."""
        for pattern, own, joint in ((_AWS_NAME, self.names, "-"), (_POSTGRES_NAME, self.postgres, "_")):
            for name in pattern.findall(text):
                if any(name == each or name.startswith(each + joint) for each in own):
                    continue
                if not re.search(rf"(?<![a-z0-9_-]){re.escape(name)}(?![a-z0-9])", self.platform):
                    yield name

    def foreign_prefix(self, key: str) -> bool:
        """Whether a key or prefix of the shared bucket is outside of what is the tenant's."""
        first = key.split("/", 1)[0]
        return "/" not in key or not (first == self.tenant_id or _TENANT_VARIABLE.fullmatch(first))


def _judge(stack: Stack, facts: Facts) -> Iterator[Violation]:
    if facts.tenant is None:
        return
    if facts.platform is None:
        raise CannotTell("what the platform shares")
    own = Own.of(facts.tenant, facts.platform)
    keys = {facts.platform.platform_key_arn, *(_known_arns(stack))}
    for resource in stack.resources:
        for message in dict.fromkeys(_of_resource(resource, own, facts)):
            yield Violation(resource.urn, message)
        for name in _DOCUMENTS:
            for arn in _keys_in(resource.get(name)):
                if arn not in keys:
                    yield Violation(resource.urn, f"{name} names the key {arn}, which is not this tenant's")
            # Without a source it is nothing of the program's: the cloud fills it in, and it is judged when it has.
            if is_unknown(resource.get(name)) and name in resource.depends_on:
                message = f"whether {name} names another tenant is not known before the update"
                yield Violation(resource.urn, message, undecided=True)


def _known_arns(stack: Stack) -> Iterator[str]:
    return (str(each.get("arn")) for each in stack.of_type(*KEYS) if isinstance(each.get("arn"), str))


def _keys_in(value: object) -> Iterator[str]:
    return (arn for _, text in _texts(value) for arn in dict.fromkeys(_KEY_ARN.findall(text)))


def _of_resource(resource: Resource, own: Own, facts: Facts) -> Iterator[str]:
    for path, text in _texts(resource.properties):
        for name in own.foreign(text):
            yield f"{path} names {name}, which is neither this tenant's nor the platform's"
        yield from _keys_of_shared_bucket(path, text, own)
    for name in _TENANT_PROPERTIES:
        value = resource.get(name)
        if isinstance(value, str) and value != own.tenant_id:
            yield f"{name} is {value!r}, another tenant"
    for name in ("tags", "tagsAll"):
        tags = resource.get(name)
        if isinstance(tags, Mapping):
            value = tags.get("tenant_id")
            if isinstance(value, str) and value != own.tenant_id:
                yield f"the tag tenant_id is {value!r}, another tenant"
    for name in _DOCUMENTS:
        value = resource.get(name)
        if not is_unknown(value) and value:
            yield from _of_document(name, value, own)
    if resource.type == "pulumi:pulumi:StackReference":
        yield from _of_stack(resource, own, facts)


def _texts(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, member in value.items():
            where = f"{path}.{key}" if path else str(key)
            yield where, str(key)
            yield from _texts(member, where)
    elif isinstance(value, list | tuple):
        for index, member in enumerate(value):
            yield from _texts(member, f"{path}[{index}]")


def _keys_of_shared_bucket(path: str, text: str, own: Own) -> Iterator[str]:
    for key in re.findall(rf"(?<![a-z0-9.-]){re.escape(own.shared_bucket)}/([^\"\s,]*)", text):
        if own.foreign_prefix(key):
            yield f"{path} reaches {key!r} of the shared bucket, which is not under the tenant's prefix"


def _of_document(name: str, value: object, own: Own) -> Iterator[str]:
    try:
        found = statements(value)
    except Malformed as error:
        yield f"{name} {error}"
        return
    for each in found:
        yield from _of_statement(name, each, own)


def _of_statement(name: str, statement: Statement, own: Own) -> Iterator[str]:
    if statement.allows:
        for principal in _principals(statement):
            if own.account_id not in principal.split(":"):
                yield f"{name}, {statement.name}: lets in {principal}, which is not of the cell's account"
    for condition in statement.conditions:
        # A denial of everybody but the tenant names it as well; one that names another is as foreign as an allowance.
        if _TENANT_KEYS.fullmatch(condition.key) and condition.operator != "null":
            for value in _foreign_values(condition.values, own):
                yield f"{name}, {statement.name}: {condition.key} names {value!r}, another tenant"
        elif condition.key == "s3:prefix" and any(_is_bucket(each, own.shared_bucket) for each in statement.resources):
            for value in condition.values:
                if statement.allows and own.foreign_prefix(value):
                    yield f"{name}, {statement.name}: lists {value!r} of the shared bucket"


def _principals(statement: Statement) -> Iterator[str]:
    """Accounts, and what accounts have. ``*`` is for the rules of exposure, and services are of no account."""
    for kind, names in (statement.principals or {}).items():
        if kind.lower() not in ("service", "federated"):
            yield from (each for each in names if each != "*")


def _foreign_values(values: Iterable[str], own: Own) -> Iterator[str]:
    return (each for each in values if each != own.tenant_id and not _TENANT_VARIABLE.fullmatch(each))


def _is_bucket(arn: str, bucket: str) -> bool:
    return arn.endswith(f":::{bucket}")


def _of_stack(resource: Resource, own: Own, facts: Facts) -> Iterator[str]:
    """``[organization/[project/]]stack``. Stacks of other projects are no tenants."""
    name = resource.get("name")
    parts = name.split("/") if isinstance(name, str) else [resource.name]
    project = parts[-2] if len(parts) > 1 else facts.project
    stack = parts[-1]
    if project == facts.project and stack.split(".")[0] not in (own.tenant_id, "platform"):
        yield f"refers to stack {stack}, another tenant's"


def _placed(stack: Stack, facts: Facts) -> Iterator[Violation]:
    """Region and account, where they show: on providers, and on each resource since AWS provider 7."""
    if facts.spec is None:
        return
    region = facts.platform.region if facts.platform is not None else getattr(facts.spec, "region", None)
    if region is None:
        raise CannotTell("the region of the tenant's cell")
    for resource in stack.resources:
        if not resource.type.startswith("aws:") and resource.type != "pulumi:providers:aws":
            continue
        found = resource.get("region")
        if isinstance(found, str) and found and found != region:
            yield Violation(resource.urn, f"is in region {found}, and the cell is in {region}")
    if facts.platform is None or facts.tenant is None:
        return
    for provider in stack.of_type("pulumi:providers:aws"):
        accounts = _listed_json(provider.get("allowedAccountIds"))
        if accounts != [facts.platform.account_id]:
            yield Violation(provider.urn, "the provider is not bound to the account of the tenant's cell")


def _listed_json(value: object) -> list[str]:
    """Providers are configured with text: lists are JSON there."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return [value]  # type: ignore[list-item]
    return [str(each) for each in value] if isinstance(value, list | tuple) else []


RULES: tuple[Rule, ...] = (
    Rule(
        id="tenancy-foreign-reference",
        title="Nothing in a tenant's stack names another tenant: no id, ARN, name, tag, prefix or document",
        severity=Severity.CRITICAL,
        remediation="Remove the reference; what tenants share belongs to the platform's stack",
        stack=_judge,
        references=(*soc2("CC6.1"), *saas_lens("SaaS SEC 1", "SaaS SEC 2")),
    ),
    Rule(
        id="tenancy-placement",
        title="A stack's resources are in the region and account of its cell",
        severity=Severity.HIGH,
        remediation="Use the stack's own provider, with the cell's region and allowed_account_ids",
        stack=_placed,
        references=soc2("CC6.1"),
    ),
)
