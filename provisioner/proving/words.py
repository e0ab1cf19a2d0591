"""What a document says of each tenant, for the registry and the timeline."""

from __future__ import annotations

from collections.abc import Iterable

from isolation.evidence.document import AttemptRecord, Document, ScopeKind
from provisioner.registry.proofs import ProofStatus, Word

SHOWN = 3  #: failed attempts that a sentence names


def words(document: Document) -> dict[str, Word]:
    """By tenant. A tenant is isolated if it was proved and no failed attempt has to do with it.

    A pair that was refused says nothing of its tenants against others; one that got through says enough.
    """
    ids = [each.tenant_id for each in document.tenants]
    failed = [each for each in document.attempts if not each.passed]
    concerned = {tenant_id: [each for each in failed if tenant_id in (each.attacker, each.victim)] for tenant_id in ids}
    proved = set(document.scope.tenants) if document.scope.kind is ScopeKind.TENANT else set(ids)
    if document.scope.kind is ScopeKind.PAIR:
        proved = set()
    unclaimed = [each for each in failed if not {each.attacker, each.victim} & set(ids)]
    found: dict[str, Word] = {}
    for tenant_id in ids:
        mine = concerned[tenant_id] + (unclaimed if tenant_id in proved else [])
        if mine:
            found[tenant_id] = Word(ProofStatus.NOT_ISOLATED, failures(mine))
        elif tenant_id in proved and document.attempts:
            found[tenant_id] = Word(ProofStatus.ISOLATED)
    for left_out in document.left_out:
        found[left_out.tenant_id] = Word(ProofStatus.NOT_RUN, left_out.reason)
    return found


def failures(attempts: Iterable[AttemptRecord]) -> str:
    """``2 attempts failed: database/raw-select (acme against globex), ...``"""
    failed = list(attempts)
    named = [f"{each.layer}/{each.name} ({each.attacker} against {each.victim})" for each in failed[:SHOWN]]
    more = f" and {len(failed) - SHOWN} more" if len(failed) > SHOWN else ""
    return f"{len(failed)} attempt{'s' if len(failed) != 1 else ''} failed: {', '.join(named)}{more}"
