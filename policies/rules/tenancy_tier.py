"""What a tier may and must have of its own, and whose logins there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from components.spec import PlatformOutputs
from components.tiers import TIERS, TierProperties
from policies.model import Facts, Resource, Rule, Severity, Stack, Violation, each_resource
from policies.references import saas_lens, soc2
from policies.values import CannotTell, is_present, is_unknown, listed

_POSTGRES = "tenantry-postgres:index:"
_NO_THING = ("pulumi:", "tenantry:index:")  #: the stack itself, providers, components
ROLE = f"{_POSTGRES}Role"
SERVER = "pulumi:providers:tenantry-postgres"
DATABASES = ("aws:rds/instance:Instance", "aws:rds/cluster:Cluster")
SECRET = "aws:secretsmanager/secret:Secret"  # noqa: S105 - a type


@dataclass(frozen=True)
class Dedicated:
    """What one property of a tier stands for."""

    what: str
    owns: Callable[[TierProperties], bool]
    types: tuple[str, ...]  #: not allowed in a tier that doesn't own it
    required: tuple[str, ...]  #: one of them is there in a tier that does


DEDICATED = (
    Dedicated(
        "database",
        lambda tier: tier.own_instance,
        (
            "aws:rds/instance:Instance",
            "aws:rds/cluster:Cluster",
            "aws:docdb/cluster:Cluster",
            f"{_POSTGRES}Database",
        ),
        DATABASES,
    ),
    Dedicated(
        "schema",
        lambda tier: tier.own_schema,
        (f"{_POSTGRES}Schema", f"{_POSTGRES}AppSchema", f"{_POSTGRES}Privileges"),
        (f"{_POSTGRES}Schema",),
    ),
    Dedicated("login", lambda tier: tier.own_login, (ROLE, SECRET), (ROLE,)),
    Dedicated("key", lambda tier: tier.own_key, ("aws:kms/key:Key",), ("aws:kms/key:Key",)),
    Dedicated(
        "bucket",
        lambda tier: tier.own_bucket,
        ("aws:s3/bucket:Bucket", "aws:s3/bucketV2:BucketV2"),
        ("aws:s3/bucket:Bucket", "aws:s3/bucketV2:BucketV2"),
    ),
    Dedicated(
        "AWS identity",
        lambda tier: tier.own_role,
        ("aws:iam/role:Role", "aws:iam/user:User", "aws:iam/policy:Policy", "aws:iam/rolePolicy:RolePolicy"),
        ("aws:iam/role:Role",),
    ),
)


def _shared(stack: Stack, facts: Facts) -> Iterator[Violation]:
    if facts.tenant is None:
        return
    tier = facts.tenant.tier
    for each in DEDICATED:
        if not each.owns(TIERS[tier]):
            for resource in stack.of_type(*each.types):
                yield Violation(resource.urn, f"tier {tier} has no {each.what} of its own, and this is one")


def _dedicated(stack: Stack, facts: Facts) -> Iterator[Violation]:
    # A stack that holds nothing yet, or nothing any more, breaks no promise.
    if facts.tenant is None or all(each.type.startswith(_NO_THING) for each in stack.resources):
        return
    tier = facts.tenant.tier
    for each in DEDICATED:
        if each.owns(TIERS[tier]) and not any(stack.of_type(*each.required)):
            yield Violation("", f"tier {tier} promises a {each.what} of its own, and the stack has none")


def _login(role: Resource, stack: Stack, facts: Facts) -> Iterator[str]:
    """In any stack of ours: each login has a secret, which is of this stack and no other login's."""
    if facts.spec is None or not role.get("login"):
        return
    if not is_present(role.properties, "secretArn"):
        yield "the login has no secret in Secrets Manager"
        return
    secrets = {each.urn: each for each in stack.of_type(SECRET)}
    found = _secret_of(role, secrets)
    if found is None:
        yield "the login's secret is not this stack's: the credentials are somebody else's too"
    else:
        # In a preview and to the policy pack, resources come in different orders: each of them is named.
        others = sorted(
            each.name
            for each in stack.of_type(ROLE)
            if each.urn != role.urn and is_present(each.properties, "secretArn") and _secret_of(each, secrets) is found
        )
        if others:
            yield f"the login shares its secret with {', '.join(others)}"
    if facts.tenant is not None and facts.platform is not None and role.get("name") == facts.platform.pool_login:
        yield "the login is the pool's, which all pool tenants share"


def _servers(stack: Stack, facts: Facts) -> Iterator[Violation]:
    """Where a tenant's schema and logins are made, and as which master: its own instance, or the one that is shared."""
    if facts.tenant is None:
        return
    own = TIERS[facts.tenant.tier].own_instance
    instances = list(stack.of_type(*DATABASES))
    for server in stack.of_type(SERVER):
        for name in ("host", "masterSecretArn"):
            value = server.get(name)
            if own:
                if not any(_gives(instance, server, name, value) for instance in instances):
                    yield Violation(server.urn, f"{name} is not of this stack's own instance")
            elif facts.platform is None:
                raise CannotTell("the shared instance")
            elif is_unknown(value) or value != _of_shared(facts.platform, name):
                yield Violation(server.urn, f"{name} is not of the instance that the tier shares")


def _gives(instance: Resource, server: Resource, name: str, value: object) -> bool:
    if is_unknown(value):
        return instance.urn in server.depends_on.get(name, frozenset())
    if name == "host":
        address = instance.get("address")
        return not is_unknown(address) and address == value
    secrets = instance.get("masterUserSecrets")
    return not is_unknown(secrets) and value in [each.get("secretArn") for each in listed(secrets)]


def _of_shared(platform: PlatformOutputs, name: str) -> str:
    return platform.shared_database.address if name == "host" else platform.shared_master_secret_arn


def _secret_of(role: Resource, secrets: dict[str, Resource]) -> Resource | None:
    value = role.get("secretArn")
    if not is_unknown(value):
        for secret in secrets.values():
            names = [secret.get("arn"), secret.get("id")]
            if any(not is_unknown(name) and name == value for name in names):
                return secret
        return None
    sources = [urn for urn in sorted(role.depends_on.get("secretArn", frozenset())) if urn in secrets]
    return secrets[sources[0]] if len(sources) == 1 else None


RULES: tuple[Rule, ...] = (
    Rule(
        id="tenancy-shared-tier",
        title="A tenant creates no database, schema, login, key, bucket or identity that its tier shares",
        severity=Severity.HIGH,
        remediation="Remove it, or graduate the tenant to a tier that owns one",
        stack=_shared,
        references=saas_lens("SaaS COST 1", "SaaS REL 1"),
    ),
    Rule(
        id="tenancy-dedicated-tier",
        title="A tenant has of its own what its tier promises: isolation is not left to the application",
        severity=Severity.CRITICAL,
        remediation="Use the component of the tier (components.tenants), or change the tenant's plan",
        stack=_dedicated,
        references=(*soc2("CC6.1"), *saas_lens("SaaS SEC 2")),
    ),
    Rule(
        id="tenancy-server",
        title="A tenant's schema and logins are on its own instance, or on the one that its tier shares",
        severity=Severity.CRITICAL,
        remediation="Give the postgres.Provider the address and master secret of the tier's instance",
        stack=_servers,
        references=(*soc2("CC6.1"), *saas_lens("SaaS SEC 2")),
    ),
    Rule(
        id="tenancy-credentials",
        title="Every database login has a secret of its own, in the stack of who uses it",
        severity=Severity.CRITICAL,
        remediation="Give the login a StoredSecret of this stack that no other login has",
        stack=each_resource((ROLE,), _login),
        references=(*soc2("CC6.1", "CC6.3"), *saas_lens("SaaS SEC 1")),
    ),
)
