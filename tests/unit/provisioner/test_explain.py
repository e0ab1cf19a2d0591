"""What an operator is told to do next."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from provisioner.billing.verdict import Reason
from provisioner.explain import next_action
from provisioner.registry.tenants import TenantRecord

NOW = datetime(2026, 12, 1, tzinfo=UTC)


def record(state: str, access: str, reason: str | None) -> TenantRecord:
    return TenantRecord(
        tenant_id="acme",
        generation=1,
        cell="default",
        state=state,
        stripe_customer_id="cus_1",
        subscription_id="sub_1",
        subscription_status="active",
        plan="team",
        tier="bridge",
        pending_graduation=None,
        access=access,
        features=[],
        limits={},
        epoch=1,
        retain_until=None,
        destruction=None,
        spec={},
        outputs=None,
        fingerprint=None,
        failure=None,
        attempts=0,
        next_attempt_at=None,
        created_at=NOW,
        updated_at=NOW,
        ready_at=NOW,
        access_since=NOW,
        access_reason=reason,
    )


@pytest.mark.parametrize(
    ("state", "access", "reason", "said"),
    [
        ("ready", "grace", Reason.PAYMENT_OVERDUE, "since 2026-12-01 (payment_overdue); a payment brings it back."),
        ("ready", "read_only", Reason.PAYMENT_DISPUTED, "it comes back when the dispute is won."),
        ("suspended", "suspended", Reason.DISPUTE_LOST, "the next payment brings it back."),
        ("suspended", "suspended", Reason.TRIAL_REFUSED, "tenantry trials allow acme --reason"),
        ("suspended", "suspended", Reason.TRIAL_PAUSED, "gives a payment method"),
        ("suspended", "suspended", Reason.COLLECTION_PAUSED, "resumed in Stripe"),
        ("suspended", "suspended", Reason.PAYMENT_FAILED, "when the subscription is paid"),
        ("ready", "read_only", None, "a payment brings it back."),
    ],
)
def test_what_brings_access_back_depends_on_why_it_was_taken(
    state: str, access: str, reason: str | None, said: str
) -> None:
    assert said in next_action(record(state, access, reason))
