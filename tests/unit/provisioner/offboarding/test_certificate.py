"""Certificates: what is signed is what is read, and nothing else passes for it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.spec import Environment, InstanceSpec, TenantSpec
from components.tiers import TIERS, Tier
from isolation.evidence import canonical
from isolation.evidence.document import Product
from isolation.evidence.signing import SigningKey
from provisioner.offboarding.certificate import SCHEMA_FILE, Certificate, json_schema, sign, verify
from provisioner.offboarding.compose import compose
from provisioner.offboarding.leftovers import Waiting
from provisioner.registry.deletions import DeletionRecord
from provisioner.registry.tenants import TenantRecord

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
KEY = SigningKey.generate()


def tenant(tier: Tier = Tier.POOL) -> TenantRecord:
    spec = TenantSpec(
        installation="test",
        environment=Environment.PRODUCTION,
        tenant_id="acme",
        tier=tier,
        plan="starter",
        instance=InstanceSpec() if TIERS[tier].own_instance else None,
    )
    fields: dict[str, Any] = dict.fromkeys(TenantRecord.__dataclass_fields__)
    fields |= {
        "tenant_id": "acme",
        "generation": 1,
        "cell": "default",
        "state": "destroying",
        "stripe_customer_id": "cus_1",
        "spec": spec.model_dump(mode="json"),
    }
    return TenantRecord(**fields)


def deletion(**changes: Any) -> DeletionRecord:
    fields: dict[str, Any] = dict.fromkeys(DeletionRecord.__dataclass_fields__)
    fields |= {
        "deletion_id": "00000000-0000-4000-8000-000000000000",
        "tenant_id": "acme",
        "generation": 1,
        "cause": "erasure",
        "requested_by": "ada",
        "reason": "asked for",
        "requested_at": NOW - timedelta(hours=1),
        "method": "crypto_shred",
        "forget_customer": False,
        "step": "destroyed",
        "operation_mark": 1,
        "tenant": {"plan": "starter"},
        "created_at": NOW - timedelta(minutes=50),
        **changes,
    }
    return DeletionRecord(**fields)


def certificate(tier: Tier = Tier.POOL, waiting: tuple[Waiting, ...] = (), **changes: Any) -> Certificate:
    return compose(
        tenant(tier),
        deletion(**changes),
        waiting,
        redacted={"events": 3, "timeline": 1, "others": 2},
        backup_days=7,
        evidence_days=400,
        product=Product(version="1", commit=None),
        now=NOW,
    )


EXPORT = {
    "digest": "ab" * 32,
    "size": 10,
    "rows": 5,
    "tables": [{"schema": "pool", "name": "a", "rows": 2}, {"schema": "pool", "name": "b", "rows": 3}],
}


def test_a_signed_certificate_verifies() -> None:
    signed = sign(certificate(export=EXPORT), KEY)
    found = verify(signed, [KEY.public], now=NOW)
    assert found.valid, found.problems
    assert found.certificate is not None
    assert found.certificate.deleted.rows == 5
    assert found.certificate.export is None


def test_rows_in_backups_are_said_to_stay_until_they_age_out() -> None:
    for tier, stays in ((Tier.POOL, True), (Tier.BRIDGE, True), (Tier.SILO, False)):
        backups = [each for each in certificate(tier).remaining if "backups of the shared database" in each.what]
        assert bool(backups) is stays
        assert all(each.until == NOW + timedelta(days=7) for each in backups)


def test_a_copy_is_named_as_long_as_it_is_kept() -> None:
    until = NOW + timedelta(days=365)
    kept = certificate(export=EXPORT, copy_name="archives/x", copy_until=until, method="archive")
    assert kept.export is not None
    assert (kept.export.kind, kept.export.until) == ("archive", until)
    assert any(each.until == until for each in kept.remaining)
    gone = certificate(export=EXPORT, copy_name="archives/x", copy_until=until, copy_removed_at=NOW)
    assert gone.export is None


def test_what_waits_in_aws_is_listed_with_its_time() -> None:
    waiting = Waiting("KMS key", "arn:aws:kms:us-east-1:1:key/1", NOW + timedelta(days=30), "AWS waits")
    assert certificate(Tier.SILO, (waiting,)).remaining[0].until == waiting.until


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_change_passes(data: st.DataObject) -> None:
    content = bytearray(sign(certificate(export=EXPORT), KEY))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    assert not verify(bytes(content), [KEY.public], now=NOW).valid


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"completed_at": "2030-01-01T00:00:00.000000Z"}, "in the future"),
        ({"completed_at": "2020-01-01T00:00:00.000000Z"}, "before began_at"),
        ({"method": "burnt"}, "method"),
        ({"surprise": 1}, "Extra inputs"),
    ],
)
def test_nonsense_is_refused_even_if_it_is_signed(change: dict[str, Any], problem: str) -> None:
    import base64

    from isolation.evidence.signing import sha256

    document = {**certificate().as_dict(), **change}
    signed = canonical.dumps(document)
    value = base64.b64encode(KEY.sign(signed)).decode()
    signature = {"algorithm": "Ed25519", "key_id": KEY.public.key_id, "digest": sha256(signed), "value": value}
    found = verify(canonical.dumps({**document, "signature": signature}), [KEY.public], now=NOW)
    assert any(problem in each for each in found.problems), found.problems


def test_another_installations_key_counts_for_nothing() -> None:
    found = verify(sign(certificate(), KEY), [SigningKey.generate().public], now=NOW)
    assert "unknown key" in found.problems[0]
    for content in (b"", b"[]", b"{}", b'{"schema_version":"tenantry-evidence/1"}', b"\xff"):
        assert not verify(content, [KEY.public], now=NOW).valid


def test_the_published_schema_is_that_of_the_models() -> None:
    assert SCHEMA_FILE.read_text() == json_schema(), "python -m provisioner.offboarding.certificate"


def test_a_certificate_is_valid_by_the_published_schema() -> None:
    import jsonschema

    document = json.loads(sign(certificate(export=EXPORT), KEY))
    jsonschema.validate(document, json.loads(SCHEMA_FILE.read_text()))
    del document["authorisation"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, json.loads(SCHEMA_FILE.read_text()))


def test_outputs_are_needed_nowhere() -> None:
    """A tenant whose first operation failed stands in part, and has no outputs."""
    assert certificate(resources=[{"type": "aws:kms/key:Key", "id": "arn"}]).deleted.resources[0].id == "arn"
