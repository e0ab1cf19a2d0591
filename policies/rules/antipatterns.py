"""Ways of keeping tenants that scale badly, or that rest on the application alone."""

from __future__ import annotations

from collections.abc import Iterator

from components.tiers import Tier
from policies.model import Facts, Resource, Rule, Severity, Stack, each_resource
from policies.references import saas_lens, soc2
from policies.relations import tags_of
from policies.values import is_unknown

_TABLE = "aws:dynamodb/table:Table"
_SCHEMA = "tenantry-postgres:index:AppSchema"
_SECURITY = "tenantry-postgres:index:PoolSecurity"


def _table_per_tenant(table: Resource, stack: Stack, facts: Facts) -> Iterator[str]:
    if facts.tenant is not None and facts.tenant.tier is Tier.POOL:
        yield "a tenant of the pool has a table of its own"
        return
    tenant = tags_of(table).get("tenant_id")
    if not tenant:
        return
    alike = {
        str(tags_of(each).get("tenant_id") or "") for each in stack.of_type(_TABLE) if _shape(each) == _shape(table)
    }
    others = sorted(alike - {"", str(tenant)})
    if others:
        yield f"tenants have one such table each: {', '.join([str(tenant), *others])}"


def _shape(table: Resource) -> tuple[str, ...]:
    return tuple(str(table.properties.get(name) or "") for name in ("hashKey", "rangeKey"))


def _application_only(schema: Resource, stack: Stack, facts: Facts) -> Iterator[str]:
    if schema.properties.get("mode") == "pool" and not any(
        all(_same(schema, each, name) for name in ("database", "schema")) for each in stack.of_type(_SECURITY)
    ):
        yield "nothing but the application keeps the tenants of the shared tables apart"


def _same(one: Resource, other: Resource, name: str) -> bool:
    a, b = one.properties.get(name), other.properties.get(name)
    if is_unknown(a) or is_unknown(b):
        return bool(one.depends_on.get(name, frozenset()) & other.depends_on.get(name, frozenset()))
    return bool(a == b)


RULES: tuple[Rule, ...] = (
    Rule(
        id="antipattern-table-per-tenant",
        title="Tenants share tables instead of having one each",
        severity=Severity.MEDIUM,
        remediation="Keep one table whose key begins with the tenant, and limit access by dynamodb:LeadingKeys",
        stack=each_resource((_TABLE,), _table_per_tenant),
        references=saas_lens("SaaS SEC 2"),
    ),
    Rule(
        id="antipattern-application-isolation",
        title="Shared tables are isolated by the database, not by the application alone",
        severity=Severity.CRITICAL,
        remediation="Add a PoolSecurity for the schema: row-level security that no statement can forge its way around",
        stack=each_resource((_SCHEMA,), _application_only),
        references=(*soc2("CC6.1"), *saas_lens("SaaS SEC 2")),
    ),
)
