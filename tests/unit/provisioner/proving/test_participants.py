"""Who can be proved, and why somebody can't."""

from __future__ import annotations

from typing import Any

import pytest

from components.tiers import Tier
from isolation.evidence.document import ScopeKind
from provisioner.errors import NotFound
from provisioner.proving.participants import OTHERS, choose
from provisioner.proving.request import NothingToProve, ProofRequest
from tests.unit.provisioner.proving.records import registered

UNFIT = {
    "suspended": {"access": "suspended", "state": "suspended"},
    "hibernated": {"access": "hibernated", "state": "hibernated"},
    "read-only": {"access": "read_only"},
    "pending": {"outputs": None, "state": "pending"},
    "changing": {},
    "retained": {"state": "retained"},
}
CHANGING = frozenset({"changing"})


def of_tenant(tenant_id: str) -> ProofRequest:
    return ProofRequest(ScopeKind.TENANT, (tenant_id,))


@pytest.mark.parametrize(("tenant_id", "changes"), UNFIT.items())
def test_a_tenant_that_no_probe_could_work_for_is_refused_with_the_reason(
    tenant_id: str, changes: dict[str, Any]
) -> None:
    records = [registered("acme"), registered(tenant_id, **changes)]
    with pytest.raises(NothingToProve, match=f"{tenant_id} can't be proved isolated now: "):
        choose(of_tenant(tenant_id), records, CHANGING)
    everybody = choose(ProofRequest(ScopeKind.ALL), records, CHANGING)
    assert [each.tenant_id for each in everybody.named] == ["acme"]
    named = [] if changes.get("state") == "pending" else [tenant_id]
    assert [each.tenant_id for each in everybody.left_out] == named
    assert choose(of_tenant("acme"), records, CHANGING).others == ()


def test_a_tenant_whose_last_operation_was_blocked_or_failed_stands_and_is_proved() -> None:
    records = [registered("acme", fingerprint=None, failure={"class": "operator", "code": "blocked"})]
    assert [each.tenant_id for each in choose(of_tenant("acme"), records).named] == ["acme"]


def test_of_many_others_some_of_every_tier_are_met() -> None:
    records = [registered(f"pool-{number}") for number in range(500)]
    records += [registered("bridged", Tier.BRIDGE), registered("own", Tier.SILO), registered("acme")]
    found = choose(of_tenant("acme"), records)
    assert len(found.others) == OTHERS
    assert found.available == 502
    assert {each.tier for each in found.others} == set(Tier)


def test_the_only_tenant_has_no_others() -> None:
    found = choose(of_tenant("acme"), [registered("acme")])
    assert ([each.tenant_id for each in found.named], found.others, found.available) == (["acme"], (), 0)


def test_tenants_of_other_cells_are_no_neighbours() -> None:
    records = [registered("acme"), registered("far", cell="eu1")]
    assert choose(of_tenant("acme"), records).available == 0
    assert [each.tenant_id for each in choose(ProofRequest(ScopeKind.ALL, cell="eu1"), records).named] == ["far"]
    with pytest.raises(NothingToProve, match="acme is in cell default, far in eu1"):
        choose(ProofRequest(ScopeKind.PAIR, ("acme", "far")), records)


def test_nonsense_is_refused() -> None:
    records = [registered("acme")]
    with pytest.raises(NotFound, match="no tenant nobody"):
        choose(of_tenant("nobody"), records)
    with pytest.raises(NothingToProve, match="a pair is two tenants"):
        choose(ProofRequest(ScopeKind.PAIR, ("acme", "acme")), records)
    with pytest.raises(NothingToProve, match="no tenant of cell eu1"):
        choose(ProofRequest(ScopeKind.ALL, cell="eu1"), records)
