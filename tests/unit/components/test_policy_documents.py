"""Key, role, trust, boundary and bucket policies: who is let in, by what conditions, and nothing by a wildcard."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from components.account import Account
from components.alarms import topic_policy
from components.documents import TENANT_TAG, document, to_json
from components.identity import (
    TRUST_POLICY_LIMIT,
    boundary_policy,
    data_policy,
    trust_policy,
)
from components.keys import KeyUse, key_policy
from components.naming import Names
from components.network import endpoint_policy
from components.spec import Access
from components.storage import bucket_policy
from components.tampering import log_policy

ACCOUNT = Account("123456789012", "eu-central-1")
NAMES = Names("demo", "acme")
BUCKET = NAMES.bucket(ACCOUNT)
BUCKET_ARN = f"arn:aws:s3:::{BUCKET}"
ANY_KEY = ACCOUNT.arn("kms", "key/*")
PLATFORM_KEY = Names("demo", "platform").key
ROLE = NAMES.role_arn(ACCOUNT)
BROKER = "arn:aws:iam::123456789012:role/broker"
DEPLOYER = "arn:aws:iam::123456789012:role/deployer"
FULL_USE = KeyUse(
    data_role=ROLE,
    tenant_tag="acme",
    bucket=BUCKET,
    secret_prefix=NAMES.secret(""),
    database=True,
    log_group_prefix=NAMES.rds_log_group(""),
    topic=NAMES.topic,
)
CRYPTOGRAPHY = {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:CreateGrant"}

TENANT_DATA_POLICIES = {
    "shared role": data_policy(ACCOUNT, BUCKET, PLATFORM_KEY),
    "own role": data_policy(ACCOUNT, BUCKET, NAMES.key, tenant_id="acme"),
    "boundary": boundary_policy(ACCOUNT, BUCKET, PLATFORM_KEY),
    "shared trust": trust_policy(ACCOUNT, (BROKER,)),
    "own trust": trust_policy(ACCOUNT, (BROKER,), tenant_id="acme"),
    "key": key_policy(ACCOUNT, FULL_USE),
}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(policy: dict[str, Any], effect: str = "Allow") -> Iterator[dict[str, Any]]:
    return (each for each in policy["Statement"] if each["Effect"] == effect)


def statement(policy: dict[str, Any], sid: str) -> dict[str, Any]:
    found: dict[str, Any]
    (found,) = [each for each in policy["Statement"] if each["Sid"] == sid]
    return found


@pytest.mark.parametrize("name", TENANT_DATA_POLICIES)
def test_no_allow_has_a_wildcard_in_its_actions(name: str) -> None:
    for each in statements(TENANT_DATA_POLICIES[name]):
        assert not [action for action in as_list(each["Action"]) if "*" in action or "?" in action]


@pytest.mark.parametrize("name", ["shared role", "own role", "boundary"])
def test_no_allow_covers_all_resources(name: str) -> None:
    for each in statements(TENANT_DATA_POLICIES[name]):
        assert "NotAction" not in each
        assert "NotResource" not in each
        for resource in as_list(each["Resource"]):
            assert resource.startswith("arn:aws:")
            assert resource.split(":")[2] in {"s3", "kms"}


@pytest.mark.parametrize("name", ["shared role", "boundary"])
def test_every_statement_on_shared_data_names_the_sessions_tenant(name: str) -> None:
    for each in statements(TENANT_DATA_POLICIES[name]):
        assert TENANT_TAG in str(each["Resource"]) + str(each.get("Condition", ""))


def test_every_statement_of_an_own_role_asks_for_the_tenants_tag() -> None:
    for each in statements(TENANT_DATA_POLICIES["own role"]):
        assert each["Condition"]["StringEquals"]["aws:PrincipalTag/tenant_id"] == "acme"


def test_listing_the_shared_bucket_needs_a_prefix_that_ends_the_tenants_id() -> None:
    condition = statement(TENANT_DATA_POLICIES["shared role"], "ListOwnFiles")["Condition"]
    # Without the slash `acme` would list the files of `acme-two`; an absent prefix matches no StringLike.
    assert condition == {"StringLike": {"s3:prefix": [f"{TENANT_TAG}/*"]}}


@pytest.mark.parametrize("name", ["shared role", "own role", "boundary"])
def test_the_key_works_only_through_s3_and_for_the_buckets_context(name: str) -> None:
    keys = [each for each in statements(TENANT_DATA_POLICIES[name]) if "kms:Decrypt" in as_list(each["Action"])]
    assert keys
    for each in keys:
        assert each["Condition"]["StringEquals"]["kms:ViaService"] == "s3.eu-central-1.amazonaws.com"
        assert each["Condition"]["StringLike"]["kms:EncryptionContext:aws:s3:arn"]


def test_the_boundary_reaches_only_buckets_named_after_the_whole_tenant_id() -> None:
    # `?` stands for exactly one character, so `acme` can't match the bucket of `acme-two`.
    own = f"arn:aws:s3:::tenantry-{TENANT_TAG}-????????"
    assert statement(TENANT_DATA_POLICIES["boundary"], "ListOwn")["Resource"] == own
    key = statement(TENANT_DATA_POLICIES["boundary"], "KeyOfTheTenant")
    assert key["Condition"]["StringEquals"]["aws:ResourceTag/tenant_id"] == TENANT_TAG
    assert key["Condition"]["StringEquals"]["aws:ResourceTag/installation"] == "demo"


@pytest.mark.parametrize(
    ("name", "sid", "owner"),
    [
        ("shared role", "KeyForOwnFiles", "platform"),
        ("own role", "KeyForOwnFiles", "acme"),
        ("boundary", "PlatformKey", "platform"),
    ],
)
def test_one_key_is_named_by_its_alias_and_its_tags(name: str, sid: str, owner: str) -> None:
    each = statement(TENANT_DATA_POLICIES[name], sid)
    assert each["Resource"] == ANY_KEY
    condition = each["Condition"]
    # ForAllValues would hold for a key without any alias.
    assert condition["ForAnyValue:StringEquals"] == {"kms:ResourceAliases": Names("demo", owner).key_alias}
    tags = {key: value for key, value in condition["StringEquals"].items() if key.startswith("aws:ResourceTag/")}
    assert tags == {
        "aws:ResourceTag/tenant_id": owner,
        "aws:ResourceTag/managed-by": "tenantry",
        "aws:ResourceTag/installation": "demo",
    }


def test_the_platforms_key_of_another_cell_has_an_alias_of_its_own_and_the_same_tag() -> None:
    there = Names("demo", "platform.eu1").key
    assert there.tenant_id == PLATFORM_KEY.tenant_id == "platform"
    assert there.alias != PLATFORM_KEY.alias


@pytest.mark.parametrize("tenant_id", [None, "acme"])
def test_suspension_denies_everything_the_role_could_do(tenant_id: str | None) -> None:
    full = data_policy(ACCOUNT, BUCKET, NAMES.key, tenant_id=tenant_id)
    suspended = data_policy(ACCOUNT, BUCKET, NAMES.key, tenant_id=tenant_id, access=Access.SUSPENDED)
    allowed = set(itertools.chain.from_iterable(as_list(each["Action"]) for each in statements(full)))
    (denial,) = suspended["Statement"]
    assert denial["Effect"] == "Deny"
    assert "Condition" not in denial
    assert set(denial["Action"]) >= allowed
    assert set(denial["Resource"]) == {BUCKET_ARN, f"{BUCKET_ARN}/*", ANY_KEY}


@pytest.mark.parametrize("tenant_id", [None, "acme"])
def test_only_the_broker_assumes_a_role_and_only_with_the_tag(tenant_id: str | None) -> None:
    (each,) = trust_policy(ACCOUNT, (BROKER,), tenant_id=tenant_id)["Statement"]
    assert each["Effect"] == "Allow"
    assert each["Principal"] == {"AWS": [BROKER]}
    assert set(each["Action"]) == {"sts:AssumeRole", "sts:TagSession"}
    condition = each["Condition"]
    assert condition["Null"] == {"aws:RequestTag/tenant_id": "false"}
    assert condition["ForAllValues:StringEquals"] == {"aws:TagKeys": ["tenant_id"]}
    if tenant_id:
        assert condition["StringEquals"] == {"aws:RequestTag/tenant_id": "acme"}
    else:
        assert condition["StringLike"] == {"aws:RequestTag/tenant_id": "?*"}


def test_without_a_broker_the_accounts_own_policies_decide() -> None:
    (each,) = trust_policy(ACCOUNT, ())["Statement"]
    assert each["Principal"] == {"AWS": ["arn:aws:iam::123456789012:root"]}


def test_suspension_closes_the_trust() -> None:
    (each,) = trust_policy(ACCOUNT, (BROKER,), tenant_id="acme", access=Access.SUSPENDED)["Statement"]
    assert each["Effect"] == "Deny"
    assert "Condition" not in each


def test_too_many_brokers_for_a_trust_policy_is_said_before_aws_refuses() -> None:
    brokers = tuple(f"{BROKER}-{number}" for number in range(60))
    with pytest.raises(ValueError, match=r"the trust policy has .* AWS allows 2048"):
        to_json(trust_policy(ACCOUNT, brokers), limit=TRUST_POLICY_LIMIT, what="the trust policy")


def test_the_account_administers_a_key_but_can_not_use_it() -> None:
    administration = statement(key_policy(ACCOUNT, FULL_USE), "Administration")
    assert administration["Principal"] == {"AWS": ACCOUNT.root}
    assert not CRYPTOGRAPHY & set(administration["Action"])
    assert "kms:PutKeyPolicy" in administration["Action"], "or nobody could ever change it"


def test_every_use_of_a_key_is_bound_to_a_service_and_to_this_accounts_data() -> None:
    for each in statements(key_policy(ACCOUNT, FULL_USE)):
        if not CRYPTOGRAPHY & set(as_list(each["Action"])):
            continue
        condition = each["Condition"]
        if "AWS" in each["Principal"]:
            assert condition["StringEquals"]["kms:CallerAccount"] == ACCOUNT.id
            assert condition["StringEquals"]["kms:ViaService"]
        else:
            assert ACCOUNT.id in str(condition)


def test_grants_go_to_aws_services_only() -> None:
    granting = [e for e in statements(key_policy(ACCOUNT, FULL_USE)) if "kms:CreateGrant" in as_list(e["Action"])]
    (each,) = granting
    assert each["Condition"]["Bool"] == {"kms:GrantIsForAWSResource": "true"}


def test_a_key_serves_only_what_it_is_made_for() -> None:
    policy = key_policy(ACCOUNT, KeyUse())
    assert [each["Sid"] for each in policy["Statement"]] == ["Administration"]


def test_a_tenants_key_serves_its_role_bucket_secrets_and_logs_by_name() -> None:
    policy = key_policy(ACCOUNT, FULL_USE)
    files = statement(policy, "FilesOfTenantSessions")["Condition"]
    assert files["StringEquals"]["aws:PrincipalArn"] == [ROLE]
    assert files["StringLike"]["aws:PrincipalTag/tenant_id"] == "acme"
    assert files["StringLike"]["kms:EncryptionContext:aws:s3:arn"] == [BUCKET_ARN, f"{BUCKET_ARN}/*"]
    secrets = statement(policy, "SecretsThroughSecretsManager")["Condition"]["StringLike"]
    assert secrets["kms:EncryptionContext:SecretARN"] == [
        f"arn:aws:secretsmanager:eu-central-1:123456789012:secret:{NAMES.aws}/*",
        "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!db-*",
    ]
    logs = statement(policy, "Logs")
    assert logs["Principal"] == {"Service": "logs.eu-central-1.amazonaws.com"}
    assert logs["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"].endswith(
        f":log-group:/aws/rds/instance/{NAMES.aws}/*"
    )


def test_named_brokers_and_provisioners_are_the_only_ones_to_read_secrets() -> None:
    use = KeyUse(secret_prefix="tenantry-", database=True, brokers=(BROKER,), provisioners=(DEPLOYER,))
    policy = key_policy(ACCOUNT, use)
    secrets = statement(policy, "SecretsThroughSecretsManager")["Condition"]["StringEquals"]
    assert secrets["aws:PrincipalArn"] == [BROKER, DEPLOYER]
    assert statement(policy, "DatabaseThroughRds")["Condition"]["StringEquals"]["aws:PrincipalArn"] == [DEPLOYER]
    assert statement(policy, "GrantsForAwsServices")["Condition"]["StringEquals"]["aws:PrincipalArn"] == [DEPLOYER]


SHARED_BUCKET_POLICY = bucket_policy(ACCOUNT, BUCKET, ROLE, shared=True)
OWN_BUCKET_POLICY = bucket_policy(ACCOUNT, BUCKET, ROLE, shared=False, tenant_id="acme")


@pytest.mark.parametrize("policy", [SHARED_BUCKET_POLICY, OWN_BUCKET_POLICY], ids=["shared", "own"])
def test_bucket_policies_only_deny(policy: dict[str, Any]) -> None:
    assert not list(statements(policy))
    assert statement(policy, "OnlyTls")["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert set(statement(policy, "OnlyTls")["Resource"]) == {BUCKET_ARN, f"{BUCKET_ARN}/*"}


@pytest.mark.parametrize(("sid", "operator"), [("OnlyKms", "StringNotEquals"), ("OnlyOwnKeys", "StringNotLike")])
def test_uploads_that_say_nothing_get_the_buckets_own_encryption(sid: str, operator: str) -> None:
    condition = statement(OWN_BUCKET_POLICY, sid)["Condition"]
    # StringNotEquals holds when the header is absent, which would refuse every plain upload.
    assert set(condition["Null"].values()) == {"false"}
    assert set(condition["Null"]) == set(condition[operator])


def test_uploads_with_a_key_of_elsewhere_or_of_awss_are_refused() -> None:
    assert statement(OWN_BUCKET_POLICY, "OnlyOwnKeys")["Condition"]["StringNotLike"] == {
        "s3:x-amz-server-side-encryption-aws-kms-key-id": ANY_KEY
    }
    # Without the key's header S3 would take aws/s3, whose policy lets in the whole account.
    assert statement(OWN_BUCKET_POLICY, "OnlyNamedKeys")["Condition"] == {
        "Null": {
            "s3:x-amz-server-side-encryption": "false",
            "s3:x-amz-server-side-encryption-aws-kms-key-id": "true",
        }
    }


@pytest.mark.parametrize("policy", [SHARED_BUCKET_POLICY, OWN_BUCKET_POLICY], ids=["shared", "own"])
def test_content_is_for_sessions_of_the_tenant_role_only(policy: dict[str, Any]) -> None:
    each = statement(policy, "ContentForTenantSessionsOnly")
    assert {"s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"} == set(each["Action"])
    assert each["Condition"] == {"StringNotEquals": {"aws:PrincipalArn": ROLE}}


def test_a_shared_bucket_keeps_sessions_in_their_prefix_whatever_the_role_allows() -> None:
    each = statement(SHARED_BUCKET_POLICY, "OwnPrefixOnly")
    assert each["NotResource"] == f"{BUCKET_ARN}/{TENANT_TAG}/*"
    assert each["Condition"] == {"StringEquals": {"aws:PrincipalArn": ROLE}}


def test_an_own_bucket_refuses_sessions_of_its_role_with_another_tenants_tag() -> None:
    each = statement(OWN_BUCKET_POLICY, "OwnTenantOnly")
    assert each["Condition"]["StringNotEquals"] == {"aws:PrincipalTag/tenant_id": "acme"}


def test_only_this_accounts_alarms_publish() -> None:
    policy = topic_policy(ACCOUNT, NAMES.topic)
    (each,) = statements(policy)
    assert each["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert each["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT.id}}
    (refusal,) = statements(policy, "Deny")
    assert refusal["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


@pytest.mark.parametrize("service", ["s3", "kms", "secretsmanager", "logs"])
def test_endpoints_carry_this_accounts_credentials_only(service: str) -> None:
    own = statement(endpoint_policy(ACCOUNT, service), "OwnCredentials")
    assert own["Condition"] == {"StringEquals": {"aws:PrincipalAccount": ACCOUNT.id}}


def test_a_document_that_fits_is_compact_json() -> None:
    assert to_json(document(), limit=100, what="it") == '{"Version":"2012-10-17","Statement":[]}'


def test_only_the_cells_rule_writes_to_the_log_of_events() -> None:
    policy = log_policy(ACCOUNT, NAMES.event_log_group, NAMES.tampering)
    condition = statement(policy, "EventsOfTheRule")["Condition"]
    assert condition == {"ArnEquals": {"aws:SourceArn": ACCOUNT.arn("events", f"rule/{NAMES.tampering}")}}
    for each in statements(policy):
        assert each["Resource"] == ACCOUNT.arn("logs", f"log-group:{NAMES.event_log_group}:*")


def test_a_key_serves_the_log_of_events_by_its_whole_name() -> None:
    use = KeyUse(log_group_prefix=NAMES.rds_log_group(""), event_log_group=NAMES.event_log_group)
    arns = statement(key_policy(ACCOUNT, use), "Logs")["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]
    assert arns[1] == ACCOUNT.arn("logs", f"log-group:{NAMES.event_log_group}")
