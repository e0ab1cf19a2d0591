"""What is kept of a proof, and what the registry says of tenants afterwards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from isolation.attempts import Attempt
from isolation.evidence.document import ScopeKind, Trigger
from isolation.evidence.signing import PublicKey
from isolation.evidence.verify import verify
from provisioner.errors import ConfigurationInvalid, NotFound, TenantryError
from provisioner.proving.request import ChangedMeanwhile, NothingToProve, ProofImpossible, ProofRequest
from provisioner.registry import proofs
from provisioner.registry.proofs import ProofStatus
from tests.integration.provisioner.proving.conftest import World
from tests.unit.isolation.evidence.documents import attempt

ALL = ProofRequest.of_cell("default", Trigger.NIGHTLY)
FULL = ProofRequest(ScopeKind.TENANT, ("acme",))
FAST = ProofRequest.after_operation("acme", "default", 7)
BREACH = attempt("globex", "acme", refused=False)
KEPT = "SELECT count(*) FROM registry.proof"


def statuses(world: World) -> dict[str, str]:
    return {tenant_id: verdict.status.value for tenant_id, verdict in world.verdicts().items()}


def test_a_proof_is_kept_as_it_was_signed_and_verifies_with_the_registered_key(world: World) -> None:
    proof = world.prove(FULL)
    assert world.asked == [("acme", *world.asked[0][1:])]
    kept = world.ask(partial(proofs.document, proof_id=proof.record.proof_id))
    assert kept == proof.content
    assert kept is not None
    keys = [PublicKey(pem) for pem in world.ask(proofs.keys)]
    verification = verify(kept, keys)
    assert verification.problems == ()
    assert verification.document is not None
    # hooli and others that no attempt has to do with did not take part
    assert [each.tenant_id for each in verification.document.tenants] == ["acme", "globex"]
    assert verification.document.others == 2
    assert world.ask(partial(proofs.get, proof_id=proof.record.proof_id)) == proof.record
    assert world.told("acme") == ["isolation proved (full): 1 attempts, none got through"]


def test_what_a_revoked_key_signed_is_not_believed_and_it_signs_nothing_more(world: World) -> None:
    proof = world.prove(FULL)
    assert proof.record.key_id is not None
    assert proof.content is not None
    assert not world.ask(partial(proofs.revoke_key, key_id="sha256:other", why="test"))
    assert world.ask(partial(proofs.revoke_key, key_id=proof.record.key_id, why="test"))
    assert "unknown key" in verify(proof.content, map(PublicKey, world.ask(proofs.keys))).problems[0]
    with pytest.raises(ConfigurationInvalid, match="is revoked"):
        world.prove(FULL)
    assert world.rows(KEPT + " WHERE status = 'isolated'") == [(1,)]


def test_a_breach_is_the_last_word_until_a_proof_as_thorough_passes(world: World) -> None:
    world.attempts = [attempt(), BREACH]
    proof = world.prove(FULL)
    assert proof.status is ProofStatus.NOT_ISOLATED
    assert statuses(world) == {"acme": "not_isolated", "globex": "not_isolated"}
    assert world.told("globex") == ["NOT ISOLATED (full): 1 attempt failed: database/raw-select (globex against acme)"]
    world.attempts = [attempt()]
    world.prove(FAST)
    assert statuses(world)["acme"] == "not_isolated"
    world.prove(FULL)
    assert statuses(world) == {"acme": "isolated", "globex": "not_isolated"}
    world.prove(ALL)
    assert set(statuses(world).values()) == {"isolated"}


def test_a_fast_breach_is_taken_back_by_a_fast_or_a_thorough_proof(world: World) -> None:
    for mend in (FAST, FULL):
        world.attempts = [BREACH]
        world.prove(FAST)
        assert statuses(world)["acme"] == "not_isolated"
        world.attempts = [attempt()]
        world.prove(mend)
        assert statuses(world)["acme"] == "isolated"


def test_a_night_without_news_adds_no_line(world: World) -> None:
    world.attempts = [attempt(), attempt("hooli", "acme")]
    world.prove(ALL)
    world.prove(ALL)
    assert len(world.told("acme")) == 1
    world.attempts = [BREACH]
    world.prove(ALL)
    world.prove(ALL)
    assert len(world.told("acme")) == 3
    assert len(world.told("hooli")) == 1


def unready(world: World) -> None:
    world.prove(FAST, api_url="http://127.0.0.1:9")


def tokenless(world: World) -> None:
    world.prove(FAST, application_tokens=())


def keyless(world: World) -> None:
    world.prove(FAST, evidence_key="/nonexistent")


def suspended(world: World) -> None:
    world.rows("UPDATE registry.tenant SET access = 'suspended' WHERE tenant_id = 'acme'")
    world.prove(FAST)


def nothing_tried(world: World) -> None:
    world.attempts = []
    world.prove(FAST)


@pytest.mark.parametrize(
    ("obstacle", "error", "words"),
    [
        (unready, ProofImpossible, "is not ready: ConnectError"),
        (tokenless, ProofImpossible, "no application token"),
        (keyless, ConfigurationInvalid, "evidence key /nonexistent can't be read"),
        (suspended, NothingToProve, "its access is suspended"),
        (nothing_tried, NothingToProve, "no attack was made"),
    ],
)
def test_what_could_not_be_proved_is_kept_with_the_reason(
    world: World, obstacle: object, error: type[TenantryError], words: str
) -> None:
    world.prove(FULL)
    with pytest.raises(error, match=words):
        obstacle(world)  # type: ignore[operator]
    verdict = world.verdicts()["acme"]
    assert verdict.status is ProofStatus.NOT_RUN
    assert verdict.reason is not None
    assert words in verdict.reason
    assert words in world.told("acme")[-1]
    [(status, operation, document)] = world.rows(
        "SELECT status, operation_id, document FROM registry.proof WHERE trigger = 'operation'"
    )
    assert (status, operation, document) == ("not_run", 7, None)


def test_a_proof_that_did_not_run_takes_back_no_breach(world: World) -> None:
    world.attempts = [BREACH]
    world.prove(FAST)
    with pytest.raises(ProofImpossible):
        unready(world)
    assert statuses(world)["acme"] == "not_isolated"


def test_whoever_asked_is_told_and_what_was_proved_before_stands(world: World) -> None:
    world.prove(FULL)
    with pytest.raises(ProofImpossible):
        world.prove(FULL, api_url="http://127.0.0.1:9")
    assert statuses(world)["acme"] == "isolated"
    assert len(world.told("acme")) == 1


def test_an_unknown_tenant_leaves_nothing_behind(world: World) -> None:
    with pytest.raises(NotFound):
        world.prove(ProofRequest(ScopeKind.TENANT, ("nobody",)))
    assert world.rows(KEPT) == [(0,)]


def test_a_failure_while_a_tenant_changed_is_no_breach(world: World) -> None:
    def changing() -> list[Attempt]:
        world.rows("UPDATE registry.tenant SET fingerprint = 'other' WHERE tenant_id = 'globex'")
        return [BREACH]

    world.attempts = changing
    with pytest.raises(ChangedMeanwhile, match="globex changed while the proof ran"):
        world.prove(FAST)
    assert statuses(world) == {"acme": "not_run"}


def test_a_failure_while_the_platform_changes_is_no_breach_either(world: World) -> None:
    world.rows(
        "INSERT INTO registry.operation (stack_name, kind, status, reason, fencing, holder)"
        " VALUES ('platform', 'platform', 'running', 'x', 1, 'x')"
    )
    world.prove(FAST)
    world.attempts = [BREACH]
    with pytest.raises(ChangedMeanwhile, match="platform changed while the proof ran"):
        world.prove(FAST)


def test_the_next_life_of_an_id_begins_without_a_word(world: World) -> None:
    world.attempts = [BREACH]
    world.prove(FULL)
    world.rows("UPDATE registry.tenant SET generation = 2 WHERE tenant_id = 'acme'")
    assert "acme" not in statuses(world)
    world.attempts = [attempt()]
    world.prove(FAST)
    assert statuses(world)["acme"] == "isolated"


def test_old_evidence_goes_but_never_the_last_word(world: World) -> None:
    for request in (FAST, FAST, FULL, FULL):
        world.prove(request)
    world.rows("UPDATE registry.proof SET ended_at = now() - interval '40 days'")
    assert world.ask(partial(proofs.prune, days=400)) == 2  # both fast ones: the thorough word replaced theirs
    world.rows("UPDATE registry.proof SET ended_at = now() - interval '500 days'")
    assert world.ask(partial(proofs.prune, days=400)) == 1
    assert world.rows(KEPT) == [(1,)]


def test_a_cell_is_due_once_a_night(world: World) -> None:
    since = datetime.now(UTC) - timedelta(minutes=1)
    due = partial(proofs.nightly_due, since=since)
    assert world.ask(due) == ["default"]
    world.prove(FULL)
    assert world.ask(due) == ["default"]
    world.prove(ALL)
    assert world.ask(due) == []
    world.rows("UPDATE registry.proof SET started_at = started_at - interval '1 day'")
    assert world.ask(due) == ["default"]
    world.rows("UPDATE registry.tenant SET ready_at = now()")
    assert world.ask(due) == []
