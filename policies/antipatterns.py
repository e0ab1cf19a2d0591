"""The anti-patterns of multi-tenant systems, and what keeps them out: rules, or what else checks them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AntiPattern:
    """``rules``: ids of those that find it in infrastructure; ``elsewhere``: what checks what infrastructure can't
    show, as Markdown."""

    name: str
    harm: str
    rules: tuple[str, ...] = ()
    elsewhere: str = ""


ANTI_PATTERNS: tuple[AntiPattern, ...] = (
    AntiPattern(
        "Table per tenant",
        "migrations, plans and catalogues grow with the number of tenants",
        ("antipattern-table-per-tenant", "tenancy-shared-tier"),
        "the application's tables are one set of migrations for all (`example/app_schema`); "
        "`tenantry-postgres:AppSchema` refuses a table of tenants without `tenant_id`",
    ),
    AntiPattern(
        "Missing tenant filter",
        "one query without `tenant_id` shows every tenant's rows",
        ("antipattern-application-isolation",),
        "row-level security on every table of tenants: `providers/postgres`, attacked by `tenantry prove`",
    ),
    AntiPattern(
        "Shared credentials",
        "whoever has one tenant's password has another's",
        ("credentials-shared", "credentials-master-password", "access-static-credentials"),
        "the pool's one login enters a tenant by a token of the broker: `tenantry prove`",
    ),
    AntiPattern(
        "Isolation only in the application",
        "a bug in the application is a breach",
        ("antipattern-application-isolation", "access-tenant-scope", "access-trust-tenant-tag", "access-key-policy"),
        "`tenantry prove` attacks below the application: SQL, IAM, KMS, network",
    ),
    AntiPattern(
        "Single point of failure",
        "one instance's or zone's loss stops every tenant",
        ("resilience-multi-az", "resilience-cluster-members", "resilience-zones", "resilience-backup"),
        "workers and web processes are many, on one PostgreSQL: [recovery.md](recovery.md)",
    ),
    AntiPattern(
        "Tenants disturb each other",
        "one tenant's load takes what others need",
        ("limits-instance-class", "tenancy-budget"),
        "connection limits of logins (`components/tenant_schema.py`), quotas of plans (`plans.toml`)",
    ),
    AntiPattern(
        "No monitoring by tenant",
        "nobody sees which tenant fails, or what it costs",
        ("tenancy-alarms", "ownership-tags", "records-database", "records-retention"),
        "metrics and timelines by tenant: `tenantry explain`, `/metrics`",
    ),
    AntiPattern(
        "One tenant's logic or data in another's stack",
        "a change for one breaks, or opens, another",
        ("tenancy-foreign-reference", "tenancy-encryption-key"),
        "tenants differ by their specification alone: `components/spec.py` is the only input of a tenant's stack",
    ),
    AntiPattern(
        "Missing tenant context",
        "a request without a tenant falls through to everybody's data",
        ("access-trust-tenant-tag",),
        "`tenantry.current_tenant()` raises without a valid token; the SDK has no session without a tenant",
    ),
    AntiPattern(
        "A client says which tenant it is",
        "changing one parameter shows another's data",
        (),
        "no infrastructure shows it: the SDK takes the tenant from the application's session, and the attacks of "
        "`tenantry prove` on SDK and API pass other tenants' ids",
    ),
    AntiPattern(
        "Authentication taken for authorisation",
        "whoever is logged in reaches everything",
        ("access-wildcard-action", "access-wildcard-resource", "access-boundary", "exposure-resource-policy"),
        "the broker issues credentials for the application's tenant only: `tenantry prove`",
    ),
    AntiPattern(
        "Manual provisioning",
        "it is slow, and no two tenants are alike",
        (),
        "nobody does it: a signed webhook does; what somebody changes by hand is found by the next reconcile",
    ),
    AntiPattern(
        "Databases shared by services, chains of synchronous calls, flags that never end",
        "coupling and outages that add up",
        (),
        "designs of the application, which neither stacks nor attacks can see: not checked",
    ),
)
