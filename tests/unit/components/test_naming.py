"""Names are legal everywhere they go, never shared, and never change."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.account import Account
from components.naming import POOL_LOGIN, POOL_OWNER, POOL_SCHEMA, SHARED_DATABASE, Names, name_hash
from components.spec import PlatformSpec, TenantSpec, validate_tenant_id

ACCOUNT = Account("123456789012", "eu-central-1")
OTHER_ACCOUNT = Account("210987654321", "eu-central-1")


def legal(tenant_id: str) -> bool:
    try:
        validate_tenant_id(tenant_id)
    except ValueError:
        return False
    return True


tenant_ids = st.from_regex(r"[a-z](?:[a-z0-9]|-(?!-)){1,38}[a-z0-9]", fullmatch=True).filter(legal)
installations = st.from_regex(r"[a-z][a-z0-9-]{0,19}", fullmatch=True)
owners = st.builds(Names, installations, tenant_ids, st.integers(1, 10**6))


def physical(names: Names) -> dict[str, str]:
    """Every name in use, by kind; what AWS or PostgreSQL keeps apart has a kind of its own."""
    return {
        "aws": names.aws,
        "bucket": names.bucket(ACCOUNT),
        "role": names.role_arn(ACCOUNT),
        "boundary": names.boundary,
        "alias": names.key_alias,
        "snapshot": names.final_snapshot,
        "parameter group": names.parameter_group("postgres18"),
        "security group": names.security_group("database"),
        "secret": names.secret("database-login"),
        "log group": names.rds_log_group("postgresql"),
        "topic": names.topic,
        "alarm": names.alarm("storage"),
        "postgres": names.postgres,
        "postgres owner": names.postgres_owner,
        "postgres login": names.postgres_login,
    }


RULES = {
    "aws": r"[a-z](?:[a-z0-9]|-(?!-)){0,61}[a-z0-9]",  # RDS identifiers are the strictest: no double hyphen
    "bucket": r"[a-z0-9](?:[a-z0-9]|-(?!-)){1,61}[a-z0-9]",
    "role": r"arn:aws:iam::[0-9]{12}:role/tenantry/[\w+=,.@-]{1,64}",
    "boundary": r"[\w+=,.@-]{1,128}",
    "alias": r"alias/[a-zA-Z0-9/_-]{1,250}",
    "snapshot": r"[a-z](?:[a-z0-9]|-(?!-)){0,253}[a-z0-9]",
    "parameter group": r"[a-z](?:[a-z0-9]|-(?!-)){0,253}[a-z0-9]",
    "security group": r"(?!sg-)[a-zA-Z0-9 ._:/()#,@\[\]+=&;{}!$*-]{1,255}",
    "secret": r"[a-zA-Z0-9/_+=.@-]{1,512}",
    "log group": r"[a-zA-Z0-9/_.#-]{1,512}",
    "topic": r"[a-zA-Z0-9_-]{1,256}",
    "alarm": r"[ -~]{1,255}",
    "postgres": r"[a-z_][a-z0-9_]{0,62}",
    "postgres owner": r"[a-z_][a-z0-9_]{0,62}",
    "postgres login": r"[a-z_][a-z0-9_]{0,62}",
}


@given(owners)
def test_every_name_is_legal_where_it_is_used(names: Names) -> None:
    for kind, name in physical(names).items():
        assert re.fullmatch(RULES[kind], name), f"{kind}: {name}"


@given(owners)
def test_a_secret_never_ends_like_the_suffix_aws_appends(names: Names) -> None:
    # Secrets Manager finds a secret by a partial ARN wrongly when its name ends in a hyphen and six characters.
    assert not re.search(r"-[a-zA-Z0-9]{6}$", names.secret("database-login"))


@given(owners, owners)
def test_two_owners_share_no_name(one: Names, other: Names) -> None:
    if one == other:
        assert physical(one) == physical(other)
        return
    assert not set(physical(one).values()) & set(physical(other).values())


@given(installations, tenant_ids, st.integers(1, 1000))
def test_a_second_life_of_an_id_shares_no_name_with_the_first(installation: str, tenant_id: str, life: int) -> None:
    first, second = Names(installation, tenant_id, life), Names(installation, tenant_id, life + 1)
    assert not set(physical(first).values()) & set(physical(second).values())


@given(tenant_ids, tenant_ids)
def test_ids_that_differ_in_hyphens_only_stay_apart_in_postgresql(one: str, other: str) -> None:
    if one != other:
        assert Names("main", one).postgres != Names("main", other).postgres


@given(owners)
def test_the_same_tenant_in_another_account_has_another_bucket(names: Names) -> None:
    assert names.bucket(ACCOUNT) != names.bucket(OTHER_ACCOUNT)


@given(owners)
def test_no_tenant_name_meets_the_pools(names: Names) -> None:
    assert not set(physical(names).values()) & {POOL_LOGIN, POOL_OWNER, POOL_SCHEMA, SHARED_DATABASE}


def test_names_are_what_they_were_in_the_first_release() -> None:
    names = Names("demo", "acme", 1)
    assert name_hash("demo", "acme", 1) == "ba952ac0"
    assert names.aws == "tenantry-acme-ba952ac0"
    assert names.bucket(ACCOUNT) == "tenantry-acme-96030e88"
    assert names.postgres == "t_acme_ba952ac0"
    assert names.secret("database-login") == "tenantry-acme-ba952ac0/database-login"


def test_a_tenant_called_like_a_platform_stack_shares_nothing_with_it() -> None:
    platform = Names.of_platform(PlatformSpec(installation="demo", environment="production", cell="eu1"))
    tenant = Names.of_tenant(
        TenantSpec(installation="demo", environment="production", tenant_id="platform-eu1", tier="pool", plan="free")
    )
    assert platform.owner_id == "platform.eu1"
    assert not set(physical(platform).values()) & set(physical(tenant).values())


@pytest.mark.parametrize(
    ("installation", "owner_id", "generation", "part"),
    [
        ("Demo", "acme", 1, "installation"),
        ("", "acme", 1, "installation"),
        ("demo", "acme--x", 1, "id"),
        ("demo", "-acme", 1, "id"),
        ("demo", "acme-", 1, "id"),
        ("demo", "a" * 41, 1, "id"),
        ("demo", "acme/../x", 1, "id"),
        ("demo", "acme", 0, "generation"),
    ],
)
def test_an_illegal_part_is_named(installation: str, owner_id: str, generation: int, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        Names(installation, owner_id, generation)


@pytest.mark.parametrize(
    ("account_id", "region"), [("12345678901", "eu-central-1"), ("x" * 12, "eu-central-1"), ("1" * 12, "europe")]
)
def test_an_illegal_account_is_refused(account_id: str, region: str) -> None:
    with pytest.raises(ValueError, match="want"):
        Account(account_id, region)


@pytest.mark.parametrize(
    ("region", "partition"), [("us-east-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]
)
def test_arns_are_of_the_regions_partition(region: str, partition: str) -> None:
    account = Account("1" * 12, region)
    arns = [account.root, account.arn("kms", "key/x"), account.role_arn("/", "x"), account.bucket_arn("x")]
    assert all(arn.startswith(f"arn:{partition}:") for arn in arns)
