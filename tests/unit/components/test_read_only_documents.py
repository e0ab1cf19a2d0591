"""A tenant that may only read, before AWS's policy evaluation: its role's policy, and the broker's session policy."""

from __future__ import annotations

import itertools

import pytest

from components.documents import (
    DATA_ACTIONS,
    READ_ACTIONS,
    READ_ONLY_SESSION,
    SESSION_POLICY_LIMIT,
    WRITE_ACTIONS,
    Document,
    to_json,
)
from components.identity import data_policy, trust_policy
from components.naming import Names
from components.spec import Access
from isolation.iam import Decision, simulate
from tests.unit.components.recording import ACCOUNT, BROKER

KEY = Names("demo", "acme").key
BUCKET = "tenantry-acme-01234567"
BUCKET_ARN = f"arn:aws:s3:::{BUCKET}"
KEY_ARN = ACCOUNT.arn("kms", "key/00000000-0000-4000-8000-000000000000")
KEY_CONTEXT = {
    "kms:ViaService": f"s3.{ACCOUNT.region}.amazonaws.com",
    "kms:EncryptionContext:aws:s3:arn": BUCKET_ARN,
    "kms:ResourceAliases": KEY.alias,
    "aws:ResourceTag/tenant_id": "acme",
    "aws:ResourceTag/managed-by": "tenantry",
    "aws:ResourceTag/installation": "demo",
}
#: what stands in the way is the tenant's own documents: the key's policy lets its role in
KEY_POLICY: Document = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}],
}


def decide(action: str, *, own: bool, access: Access, session: bool) -> Decision:
    """``own``: the role is one tenant's; else shared. ``session``: with the broker's policy for those who only read."""
    key = action.startswith("kms:")
    files = BUCKET_ARN if action == "s3:ListBucket" else f"{BUCKET_ARN}/{'' if own else 'acme/'}file"
    resource = KEY_ARN if key else files
    context = dict(KEY_CONTEXT) if key else {"s3:prefix": "acme/"} if action == "s3:ListBucket" and not own else {}
    return simulate(
        ACCOUNT.role_arn("/tenantry/", "role"),
        action,
        resource,
        identity_policies=[data_policy(ACCOUNT, BUCKET, KEY, tenant_id="acme" if own else None, access=access)],
        session_policies=[READ_ONLY_SESSION] if session else [],
        resource_policy=KEY_POLICY if key else None,
        session_tags={"tenant_id": "acme"},
        resource_account=ACCOUNT.id,
        context=context,
    )


READS = (*READ_ACTIONS, "s3:ListBucket", "kms:Decrypt")
WRITES = (*WRITE_ACTIONS, "kms:GenerateDataKey")


@pytest.mark.parametrize(("own", "session"), [(True, False), (True, True), (False, True)])
def test_reads_are_allowed_and_writes_are_not(own: bool, session: bool) -> None:
    access = Access.READ_ONLY if own else Access.FULL  # a role that tenants share knows no single one's access
    for action in READS:
        assert decide(action, own=own, access=access, session=session).allowed, action
    for action in WRITES:
        assert not decide(action, own=own, access=access, session=session).allowed, action
        assert decide(action, own=own, access=Access.FULL, session=False).allowed, f"{action}: the twin"


def test_an_own_role_denies_writes_to_sessions_from_before_explicitly() -> None:
    for action in WRITES:
        decision = decide(action, own=True, access=Access.READ_ONLY, session=False)
        assert [statement.name for statement in decision.statements] == ["identity policy 1 / ReadOnly"], action


def test_every_data_action_reads_or_writes_and_a_closed_tenant_does_neither() -> None:
    assert sorted({*READ_ACTIONS, *WRITE_ACTIONS}) == sorted(DATA_ACTIONS)
    for action, access in itertools.product((*READS, *WRITES), (Access.SUSPENDED, Access.HIBERNATED)):
        assert not decide(action, own=True, access=access, session=False).allowed


def test_the_broker_still_gets_sessions_of_a_tenant_that_may_only_read_and_none_of_one_that_is_closed() -> None:
    full = trust_policy(ACCOUNT, (BROKER,), tenant_id="acme")
    assert trust_policy(ACCOUNT, (BROKER,), tenant_id="acme", access=Access.READ_ONLY) == full
    for access in (Access.SUSPENDED, Access.HIBERNATED):
        (statement,) = trust_policy(ACCOUNT, (BROKER,), tenant_id="acme", access=access)["Statement"]
        assert statement["Effect"] == "Deny"


def test_the_session_policy_is_short_enough_to_be_passed() -> None:
    assert len(to_json(READ_ONLY_SESSION, limit=SESSION_POLICY_LIMIT, what="the session policy")) < 500
