"""Passwords that Pulumi never sees, and that no two logins share."""

from __future__ import annotations

from collections.abc import Iterator

from policies.model import Facts, Resource, Rule, Severity, Stack, each_resource
from policies.references import saas_lens, soc2
from policies.relations import DATABASES, is_copy
from policies.values import is_on, is_present, is_secret, is_unknown

_PASSWORDS = ("password", "passwordWo", "masterPassword", "masterPasswordWo")
#: Type of a login: the property that says where its password comes from.
_LOGINS = {
    "aws:rds/instance:Instance": ("password", "passwordWo"),
    "aws:rds/cluster:Cluster": ("masterPassword", "masterPasswordWo"),
    "aws:docdb/cluster:Cluster": ("masterPassword",),
    "aws:redshift/cluster:Cluster": ("masterPassword",),
    "tenantry-postgres:index:Role": ("secretArn",),
    "postgresql:index/role:Role": ("password",),
    "mysql:index/user:User": ("plaintextPassword",),
}


def _master(resource: Resource, facts: Facts) -> Iterator[str]:
    properties = resource.properties
    # RDS can't manage the password of a global cluster.
    if is_copy(properties) or is_present(properties, "globalClusterIdentifier"):
        return
    if any(is_present(properties, each) for each in _PASSWORDS):
        yield "the master's password is part of the stack instead of being managed by RDS"
    elif not is_on(properties.get("manageMasterUserPassword")):
        yield "RDS does not manage the master's password (manageMasterUserPassword)"


def _shared(login: Resource, stack: Stack, facts: Facts) -> Iterator[str]:
    own = {origin for name in _LOGINS[login.type] for origin in _origins(login, name)}
    if not own:
        return
    others = [
        each.name
        for each in stack.of_type(*_LOGINS)
        if each.urn != login.urn and any(own & {*_origins(each, name)} for name in _LOGINS[each.type])
    ]
    if others:
        yield f"it has the password of {', '.join(sorted(others))}"


def _origins(login: Resource, name: str) -> Iterator[str]:
    """What the password is made from: the resources that its value comes from, else the value."""
    if not is_present(login.properties, name) and name not in login.depends_on:
        return
    sources = login.depends_on.get(name)
    value = login.properties.get(name)
    if sources:
        yield " ".join(sorted(sources))
    elif not is_unknown(value) and not is_secret(value):
        yield f"={value}"


RULES: tuple[Rule, ...] = (
    Rule(
        id="credentials-master-password",
        title="RDS makes, keeps and rotates a database's master password",
        severity=Severity.HIGH,
        remediation="Set manageMasterUserPassword and no password",
        types=frozenset(DATABASES),
        resource=_master,
        references=soc2("CC6.1"),
    ),
    Rule(
        id="credentials-shared",
        title="No two logins share a password",
        severity=Severity.HIGH,
        remediation="Give every login a secret of its own",
        stack=each_resource(_LOGINS, _shared),
        references=(*soc2("CC6.1", "CC6.3"), *saas_lens("SaaS SEC 2")),
    ),
)
