"""Ways of keeping tenants that scale badly, or that rest on the application alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from components.tiers import Tier
from policies.model import Facts, Resource, Rule, Severity, Stack, Violation
from policies.references import saas_lens, soc2
from policies.relations import tags_of
from policies.values import is_unknown

_TABLE = "aws:dynamodb/table:Table"
_SCHEMA = "tenantry-postgres:index:AppSchema"
_SECURITY = "tenantry-postgres:index:PoolSecurity"


def _table_per_tenant(stack: Stack, facts: Facts) -> Iterator[Violation]:
    pooled = facts.tenant is not None and facts.tenant.tier is Tier.POOL
    alike: dict[Any, dict[str, Resource]] = defaultdict(dict)
    for table in stack.of_type(_TABLE):
        if pooled:
            yield Violation(table.urn, "a tenant of the pool has a table of its own")
            continue
        tenant = tags_of(table).get("tenant_id")
        shape = tuple(str(table.properties.get(name) or "") for name in ("hashKey", "rangeKey"))
        if tenant and not is_unknown(tenant):
            alike[shape].setdefault(str(tenant), table)
    for tables in alike.values():
        for table in list(tables.values())[1:]:
            yield Violation(table.urn, f"there is one such table a tenant: {', '.join(sorted(tables))}")


def _application_only(stack: Stack, facts: Facts) -> Iterator[Violation]:
    for schema in stack.of_type(_SCHEMA):
        if schema.properties.get("mode") != "pool":
            continue
        for each in stack.of_type(_SECURITY):
            if all(_same(schema, each, name) for name in ("database", "schema")):
                break
        else:
            yield Violation(schema.urn, "nothing but the application keeps the tenants of the shared tables apart")


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
        stack=_table_per_tenant,
        references=saas_lens("SaaS SEC 2"),
    ),
    Rule(
        id="antipattern-application-isolation",
        title="Shared tables are isolated by the database, not by the application alone",
        severity=Severity.CRITICAL,
        remediation="Add a PoolSecurity for the schema: row-level security that no statement can forge its way around",
        stack=_application_only,
        references=(*soc2("CC6.1"), *saas_lens("SaaS SEC 2")),
    ),
)
