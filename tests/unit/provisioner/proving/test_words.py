"""Of whom a document speaks, and what it says."""

from __future__ import annotations

from isolation.attempts import Attempt
from isolation.evidence.document import LeftOut, Scope, ScopeKind, Trigger
from provisioner.proving.words import words
from provisioner.registry.proofs import ProofStatus
from tests.unit.isolation.evidence.documents import attempt, document, tenant


def said(kind: ScopeKind, named: list[str], attempts: list[Attempt], **keywords: object) -> dict[str, str]:
    scope = Scope(kind=kind, tenants=named, cell="default", fast=False, trigger=Trigger.OPERATOR, operation_id=None)
    made = document(attempts, [tenant(each) for each in ("acme", "globex", "hooli")], scope=scope, **keywords)  # type: ignore[arg-type]
    return {tenant_id: word.status.value for tenant_id, word in words(made).items()}


def test_a_tenants_proof_speaks_of_it_alone_unless_somebody_else_is_broken() -> None:
    assert said(ScopeKind.TENANT, ["acme"], [attempt()]) == {"acme": "isolated"}
    broken = said(ScopeKind.TENANT, ["acme"], [attempt(), attempt("globex", "acme", refused=False)])
    assert broken == {"acme": "not_isolated", "globex": "not_isolated"}


def test_a_pair_that_was_refused_says_nothing_of_its_tenants_against_others() -> None:
    assert said(ScopeKind.PAIR, ["acme", "globex"], [attempt()]) == {}
    broken = said(ScopeKind.PAIR, ["acme", "globex"], [attempt(refused=False)])
    assert broken == {"acme": "not_isolated", "globex": "not_isolated"}


def test_a_proof_of_all_speaks_of_each_and_of_those_left_out() -> None:
    attempts = [attempt(), attempt("globex", "acme"), attempt("hooli", "globex", allowed=False)]
    left_out = [LeftOut(tenant_id="late", reason="its access is suspended")]
    assert said(ScopeKind.ALL, [], attempts, left_out=left_out) == {
        "acme": "isolated",
        "globex": "not_isolated",
        "hooli": "not_isolated",
        "late": "not_run",
    }


def test_what_all_share_concerns_all_who_were_proved() -> None:
    attempts = [attempt("an outsider", "what tenants share", refused=False)]
    assert set(said(ScopeKind.ALL, [], attempts).values()) == {"not_isolated"}
    assert said(ScopeKind.TENANT, ["acme"], attempts) == {"acme": "not_isolated"}


def test_the_reason_names_what_failed() -> None:
    attempts = [attempt(name=f"a{number}", refused=False) for number in range(5)]
    scope = Scope(kind=ScopeKind.ALL, tenants=[], cell="c", fast=False, trigger=Trigger.NIGHTLY, operation_id=None)
    word = words(document(attempts, scope=scope))["acme"]
    assert word.status is ProofStatus.NOT_ISOLATED
    assert word.reason is not None
    assert word.reason.startswith("5 attempts failed: database/a0 (acme against globex)")
    assert word.reason.endswith("and 2 more")
