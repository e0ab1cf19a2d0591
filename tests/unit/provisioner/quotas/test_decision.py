"""What fits, how long figures are believed, and what an operator is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.quotas.decision import (
    FAR_S,
    FRESH_S,
    LIMIT_S,
    NEAR_S,
    SHORT_LIMIT_S,
    UNTOLD_LIMIT_S,
    Assessment,
    Finding,
    Limit,
    LimitSource,
    Taken,
    ask_for,
    limit_is_believed_for,
    shortfall,
    taken_since,
    use_is_believed_for,
)
from provisioner.quotas.errors import QuotaShortfall
from provisioner.quotas.table import INSTANCES, QUOTAS, ROLES, STORAGE, Quota

amounts = st.integers(0, 2_000_000)


def finding(quota: Quota, limit: int, used: int, needed: int, region: str = "us-east-1", **how: object) -> Finding:
    return Finding(quota, region, Limit(limit, LimitSource.SERVICE_QUOTAS, **how), used, needed)  # type: ignore[arg-type]


@given(st.sampled_from(sorted(QUOTAS)), amounts, amounts, amounts)
def test_more_than_the_limit_is_never_allowed_and_up_to_it_always(key: str, limit: int, used: int, needed: int) -> None:
    shortfalls = Assessment((finding(QUOTAS[key], limit, used, needed),)).shortfalls
    assert bool(shortfalls) == (used + needed > limit)


@given(amounts, amounts)
def test_what_is_asked_for_has_room_for_the_operation_and_a_fifth_more(used: int, needed: int) -> None:
    asked = ask_for(used + needed)
    assert asked * 5 >= (used + needed) * 6
    assert asked * 5 < (used + needed) * 6 + 50 + 5
    assert asked % 10 == 0


def test_the_message_has_the_quota_the_numbers_and_what_to_ask_for() -> None:
    assert shortfall(finding(INSTANCES, 40, 40, 1)).message == (
        "RDS DB instances (L-7B6409FD): 40 allowed in us-east-1, 40 in use, 1 more needed; ask for at least 50"
    )


def test_storage_has_its_unit_and_what_all_regions_share_is_the_accounts() -> None:
    assert "100000 GiB allowed in eu-west-1, 99990 GiB in use, 20 GiB more needed; ask for at least 120020" in (
        shortfall(finding(STORAGE, 100_000, 99_990, 20, "eu-west-1")).message
    )
    assert "1000 allowed in this account" in shortfall(finding(ROLES, 1000, 1000, 1)).message


def test_the_error_has_the_command_that_asks_aws() -> None:
    error = QuotaShortfall("acme", (shortfall(finding(INSTANCES, 40, 40, 1, "eu-west-1")),))
    assert error.code == "quota_shortfall"
    assert error.message.startswith("stack acme: nothing was changed, AWS would refuse resources: RDS DB instances")
    assert (
        "aws service-quotas request-service-quota-increase --service-code rds --quota-code L-7B6409FD"
        " --desired-value 50 --region eu-west-1" in error.hint
    )
    assert "servicequotas:GetServiceQuota" not in error.hint


def test_a_fixed_quota_is_not_asked_for() -> None:
    hint = QuotaShortfall("acme", (shortfall(finding(INSTANCES, 40, 40, 1, adjustable=False)),)).hint
    assert "request-service-quota-increase" not in hint
    assert "AWS does not raise RDS DB instances: delete what is not needed, or use another cell" in hint


def test_a_limit_that_service_quotas_did_not_tell_says_so() -> None:
    limit = Limit(40, LimitSource.DOCUMENTED, problem="Service Quotas did not tell, AccessDeniedException")
    error = QuotaShortfall("acme", (shortfall(Finding(INSTANCES, "us-east-1", limit, 40, 1)),))
    assert (
        "(the limit is AWS's documented default: Service Quotas did not tell, AccessDeniedException)" in error.message
    )
    assert "allow the worker servicequotas:GetServiceQuota" in error.hint


def test_every_shortfall_is_told() -> None:
    short = tuple(shortfall(finding(quota, 1, 1, 1)) for quota in (INSTANCES, ROLES))
    error = QuotaShortfall("acme", short)
    assert "L-7B6409FD" in error.message
    assert "L-FE177D64" in error.message
    assert error.hint.count("request-service-quota-increase") == 2
    assert [found.document()["quota_code"] for found in error.shortfalls] == ["L-7B6409FD", "L-FE177D64"]


@given(amounts, amounts, st.integers(1, 2_000_000))
def test_the_less_room_the_younger_the_figures(used: int, needed: int, limit: int) -> None:
    believed = use_is_believed_for(used, needed, limit)
    assert believed in (FRESH_S, NEAR_S, FAR_S)
    assert use_is_believed_for(used + 1, needed, limit) <= believed
    if used + needed > limit:
        assert believed == FRESH_S


@pytest.mark.parametrize(
    ("problem", "fits", "seconds"),
    [
        ("", True, LIMIT_S),
        ("denied", True, UNTOLD_LIMIT_S),
        ("", False, SHORT_LIMIT_S),
        ("denied", False, SHORT_LIMIT_S),
    ],
)
def test_a_limit_that_would_park_an_operation_or_is_a_guess_is_asked_for_soon(
    problem: str, fits: bool, seconds: float
) -> None:
    assert limit_is_believed_for(Limit(1, LimitSource.SERVICE_QUOTAS, problem=problem), fits=fits) == seconds


def test_what_runs_or_ended_after_the_figures_were_read_counts_on_top() -> None:
    operations = [
        Taken({"rds/L-7B6409FD": 1}),
        Taken({"rds/L-7B6409FD": 2, "iam/L-FE177D64": 5}, ended_at=11.0),
        Taken({"rds/L-7B6409FD": 4}, ended_at=9.0),
    ]
    assert taken_since(operations, "rds/L-7B6409FD", 10.0) == 3
    assert taken_since(operations, "iam/L-FE177D64", 10.0) == 5
    assert taken_since(operations, "kms/L-C2F1777E", 10.0) == 0
