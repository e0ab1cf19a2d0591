"""Whom a tenant meets."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from components.spec import Access, DatabaseEndpoint, TenantOutputs
from components.tiers import Tier
from isolation.neighbours import neighbours, pairs


def tenant(name: str, tier: Tier = Tier.POOL, cell: str = "default") -> TenantOutputs:
    schema = "pool" if tier is Tier.POOL else f"t_{name}"
    database = f"t_{name}" if tier is Tier.SILO else "tenantry"
    return TenantOutputs(
        tenant_id=name,
        generation=1,
        cell=cell,
        tier=tier,
        epoch=1,
        access=Access.FULL,
        database=DatabaseEndpoint(address=f"{cell}.example", port=5432, name=database),
        db_schema=schema,
        login=f"{schema}_app",
        login_secret_arn="arn:aws:secretsmanager:us-east-1:123456789012:secret:x",
        bucket="bucket",
        prefix=f"{name}/",
        kms_key_arn="arn:aws:kms:us-east-1:123456789012:key/x",
        role_arn="arn:aws:iam::123456789012:role/x",
        app_schema_version=1,
    )


def test_one_of_each_tier_is_met_and_who_shares_most_comes_first() -> None:
    everybody = [
        tenant("aaa"),
        tenant("bbb"),
        tenant("ccc"),
        tenant("ddd", Tier.BRIDGE),
        tenant("eee", Tier.BRIDGE),
        tenant("fff", Tier.SILO),
        tenant("ggg", cell="eu1"),
    ]
    met = [each.tenant_id for each in neighbours(everybody[0], everybody, 1)]
    assert met == ["bbb", "ddd", "ggg", "fff"]


def test_the_last_in_the_ring_meets_the_first() -> None:
    everybody = [tenant("aaa"), tenant("bbb"), tenant("ccc")]
    assert [each.tenant_id for each in neighbours(everybody[2], everybody, 1)] == ["aaa"]


def test_a_large_sample_means_every_pair() -> None:
    everybody = [tenant("aaa"), tenant("bbb", Tier.BRIDGE), tenant("ccc", Tier.SILO), tenant("ddd", Tier.SILO)]
    assert len(pairs(everybody, 10)) == len(list(itertools.permutations(everybody, 2)))


@given(st.lists(st.sampled_from(list(Tier)), min_size=2, max_size=60), st.integers(1, 3))
def test_every_tenant_attacks_and_is_attacked_and_the_number_of_pairs_is_bounded(
    tiers: list[Tier], sample: int
) -> None:
    everybody = [tenant(f"tenant-{number:03d}", tier) for number, tier in enumerate(tiers)]
    found = pairs(everybody, sample)
    assert len({(one.tenant_id, other.tenant_id) for one, other in found}) == len(found)
    assert {one.tenant_id for one, _ in found} == {other.tenant_id for _, other in found}
    assert {one.tenant_id for one, _ in found} == {each.tenant_id for each in everybody}
    assert len(found) <= len(everybody) * (3 * sample + 3)
