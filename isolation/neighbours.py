"""Who attacks whom, so that the cost of a proof grows with the number of tenants and not with its square. Pure.

What two tenants share decides what an attack between them tries: the same tables, another schema of one database,
another database. So a tenant meets, of each tier and of each way to share, a few others, chosen by their ids: each
tenant's successors in a ring. In a ring everybody is attacked as often as it attacks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from components.spec import TenantOutputs

Pair = tuple[TenantOutputs, TenantOutputs]


def relation(one: TenantOutputs, other: TenantOutputs) -> tuple[str, ...]:
    """What ``other`` is to ``one``: its tier, whether its cell is another, and what they share of the database."""
    if one.database == other.database:
        shared = "tables" if one.db_schema == other.db_schema else "database"
    else:
        shared = "nothing"
    return other.tier.value, "cell" if one.cell == other.cell else "other cell", shared


def neighbours(tenant: TenantOutputs, others: Iterable[TenantOutputs], sample: int) -> list[TenantOutputs]:
    """At most ``sample`` of each relation, those that share most first. The same for the same tenants."""
    groups: dict[tuple[str, ...], list[TenantOutputs]] = {}
    for other in sorted(others, key=lambda each: (each.tenant_id <= tenant.tenant_id, each.tenant_id)):
        if other.tenant_id != tenant.tenant_id:
            groups.setdefault(relation(tenant, other), []).append(other)
    order = ("tables", "database", "nothing")
    ranked = sorted(groups.items(), key=lambda item: (order.index(item[0][2]), item[0]))
    return [other for _, group in ranked for other in group[:sample]]


def pairs(tenants: Sequence[TenantOutputs], sample: int) -> list[Pair]:
    """Attackers and victims: every tenant attacks its neighbours, and is attacked by some of each of their tiers."""
    found = [(one, other) for one in tenants for other in neighbours(one, tenants, sample)]
    met = {(attacker.tier, victim.tenant_id) for attacker, victim in found}
    for one, other in list(found):
        if (other.tier, one.tenant_id) not in met:
            met.add((other.tier, one.tenant_id))
            found.append((other, one))
    return found
