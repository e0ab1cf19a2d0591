"""How often AWS is asked, what is kept, and what happens when it does not answer."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import OperatorNeeded, RetryLater
from provisioner.quotas import Needs, Place, Preflight, QuotaShortfall, QuotasUnavailable, QuotasUnreadable
from provisioner.quotas.decision import FAR_S, FRESH_S, LIMIT_S, UNTOLD_LIMIT_S, LimitSource
from tests.unit.provisioner.quotas.fakes import PLACE, Clock, FakeAws, client_error

RDS, ROLES, KEYS, BUCKETS = "rds/L-7B6409FD", "iam/L-FE177D64", "kms/L-C2F1777E", "s3/L-DC2B2D3D"
ONE = Needs({RDS: 1})


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def preflight(aws: FakeAws, clock: Clock) -> Preflight:
    return Preflight(aws, clock=clock)


def create(preflight: Preflight, aws: FakeAws) -> None:
    """An operation that creates one instance."""
    with preflight.admitted("acme", PLACE, ONE):
        used, limit = aws.rds["DBInstances"]
        aws.rds["DBInstances"] = (used + 1, limit)


def test_nothing_needed_asks_nobody(preflight: Preflight, aws: FakeAws) -> None:
    with preflight.admitted("acme", PLACE, Needs()) as assessment:
        assert assessment.findings == ()
    assert not aws.calls


def test_the_last_one_fits_and_the_next_does_not(preflight: Preflight, aws: FakeAws) -> None:
    aws.use_instances(39, 40)
    create(preflight, aws)
    with pytest.raises(QuotaShortfall, match="40 in use, 1 more needed; ask for at least 50"):
        create(preflight, aws)


def test_a_shortfall_is_for_an_operator_and_says_when_to_look_again(preflight: Preflight, aws: FakeAws) -> None:
    aws.use_instances(40, 40)
    with pytest.raises(OperatorNeeded) as caught:
        create(preflight, aws)
    assert isinstance(caught.value, QuotaShortfall)
    assert caught.value.look_again_s > 0
    assert [found.ask_for for found in caught.value.shortfalls] == [50]


def test_what_was_prepared_is_not_asked_for_again(preflight: Preflight, aws: FakeAws) -> None:
    aws.use_instances(1, 40)
    preflight.prepare(PLACE)
    told = aws.calls["get_service_quota"]
    assert aws.calls["describe_account_attributes"] == 0, "use would be old when it is needed"
    create(preflight, aws)
    assert aws.calls["get_service_quota"] == told


def test_preparing_without_service_quotas_raises_nothing(preflight: Preflight, aws: FakeAws) -> None:
    aws.errors["get_service_quota"] = client_error("AccessDeniedException")
    preflight.prepare(PLACE)


def test_a_burst_asks_once(preflight: Preflight, aws: FakeAws) -> None:
    aws.use_instances(100, 1000)
    for _ in range(100):
        create(preflight, aws)
    assert aws.calls == {"get_service_quota": 1, "describe_account_attributes": 1}


def test_a_burst_never_overshoots_whatever_was_kept(preflight: Preflight, aws: FakeAws) -> None:
    aws.use_instances(0, 40)
    admitted = 0
    for _ in range(100):
        try:
            create(preflight, aws)
            admitted += 1
        except QuotaShortfall:
            pass
    assert admitted == 40
    assert aws.rds["DBInstances"] == (40, 40)
    assert aws.calls["describe_account_attributes"] <= 3


def test_operations_at_the_same_time_share_what_is_left(preflight: Preflight, aws: FakeAws) -> None:
    aws.use_instances(38, 40)
    together = threading.Barrier(20)

    def begin(number: int) -> bool:
        together.wait()
        try:
            running.enter_context(preflight.admitted(f"t{number}", PLACE, ONE))
        except QuotaShortfall:
            return False
        return True

    with ExitStack() as running, ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(begin, range(20))) == 2


def test_an_operation_that_created_nothing_takes_nothing(preflight: Preflight, aws: FakeAws, clock: Clock) -> None:
    aws.use_instances(39, 40)
    with pytest.raises(ZeroDivisionError), preflight.admitted("acme", PLACE, ONE):
        raise ZeroDivisionError
    clock.now += 0.001
    create(preflight, aws)


def test_a_shortfall_is_found_on_figures_of_this_moment(preflight: Preflight, aws: FakeAws, clock: Clock) -> None:
    aws.use_instances(40, 40)
    with pytest.raises(QuotaShortfall):
        create(preflight, aws)
    aws.rds["DBInstances"] = (39, 40)
    clock.now += FRESH_S + 0.1
    create(preflight, aws)


def test_a_parked_burst_does_not_ask_each_time(preflight: Preflight, aws: FakeAws) -> None:
    aws.use_instances(40, 40)
    for _ in range(100):
        with pytest.raises(QuotaShortfall):
            create(preflight, aws)
    assert sum(aws.calls.values()) == 2


def test_a_raised_quota_is_seen_within_a_minute(preflight: Preflight, aws: FakeAws, clock: Clock) -> None:
    aws.use_instances(40, 40)
    with pytest.raises(QuotaShortfall):
        create(preflight, aws)
    aws.use_instances(40, 50)
    clock.now += 61
    create(preflight, aws)


def test_a_limit_with_room_is_kept_for_hours_and_use_for_minutes(
    preflight: Preflight, aws: FakeAws, clock: Clock
) -> None:
    aws.use_instances(1, 40)
    preflight.check(PLACE, ONE)
    clock.now += FAR_S + 1
    preflight.check(PLACE, ONE)
    assert aws.calls == {"get_service_quota": 1, "describe_account_attributes": 2}
    clock.now += LIMIT_S
    preflight.check(PLACE, ONE)
    assert aws.calls == {"get_service_quota": 2, "describe_account_attributes": 3}


def test_what_others_took_is_seen_once_the_limit_is_near(preflight: Preflight, aws: FakeAws, clock: Clock) -> None:
    aws.use_instances(36, 40)
    create(preflight, aws)
    aws.rds["DBInstances"] = (40, 40)  # somebody else's three
    clock.now += FRESH_S + 0.1
    with pytest.raises(QuotaShortfall):
        create(preflight, aws)


def test_quotas_that_all_regions_share_are_asked_in_the_home_region(preflight: Preflight, aws: FakeAws) -> None:
    aws.applied = {("us-east-1", ROLES): 2000, ("us-east-1", BUCKETS): 12_000}
    findings = preflight.check(PLACE, Needs({ROLES: 1, BUCKETS: 1})).findings
    assert [(f.limit.value, f.used) for f in findings] == [(2000, 10), (12_000, 3)]
    assert aws.regions["get_service_quota"] == {"us-east-1"}
    assert aws.regions["get_account_summary"] == {"us-east-1"}


@pytest.mark.parametrize(
    ("region", "home"),
    [("us-gov-east-1", "us-gov-west-1"), ("cn-northwest-1", "cn-north-1"), ("eu-west-1", "us-east-1")],
)
def test_every_partition_has_its_home_region(region: str, home: str) -> None:
    assert Place("123456789012", region).home_region == home


def test_a_quota_without_an_applied_value_has_service_quotas_default(preflight: Preflight, aws: FakeAws) -> None:
    aws.defaults = {("eu-central-1", KEYS): 100_000}
    (finding,) = preflight.check(PLACE, Needs({KEYS: 1})).findings
    assert (finding.limit.value, finding.limit.source) == (100_000, LimitSource.SERVICE_QUOTAS_DEFAULT)
    assert finding.used == 3


@pytest.mark.parametrize("code", ["AccessDeniedException", "TooManyRequestsException", "NoSuchResourceException"])
def test_without_service_quotas_the_service_itself_tells(aws: FakeAws, clock: Clock, code: str) -> None:
    aws.rds["DBInstances"] = (44, 45)
    aws.errors["get_service_quota"] = client_error(code)
    preflight = Preflight(aws, clock=clock)
    (finding,) = preflight.check(PLACE, ONE).findings
    assert (finding.limit.value, finding.limit.source) == (45, LimitSource.SERVICE)
    assert code in finding.limit.problem
    clock.now += UNTOLD_LIMIT_S + 1
    del aws.errors["get_service_quota"]
    aws.applied["eu-central-1", RDS] = 60
    (finding,) = preflight.check(PLACE, ONE).findings
    assert (finding.limit.value, finding.limit.source) == (60, LimitSource.SERVICE_QUOTAS)


def test_where_nobody_tells_the_documented_default_judges_and_says_so(preflight: Preflight, aws: FakeAws) -> None:
    aws.errors["get_service_quota"] = client_error("AccessDeniedException")
    (finding,) = preflight.check(PLACE, Needs({KEYS: 1})).findings
    assert (finding.limit.value, finding.limit.source) == (100_000, LimitSource.DOCUMENTED)
    aws.keys = 100_000
    with (
        pytest.raises(QuotaShortfall, match="AWS's documented default: Service Quotas did not tell, AccessDenied"),
        Preflight(aws).admitted("acme", PLACE, Needs({KEYS: 1})),
    ):
        pass


def test_no_operation_is_parked_for_a_default_while_service_quotas_is_throttled(aws: FakeAws) -> None:
    aws.errors["get_service_quota"] = client_error("TooManyRequestsException")
    aws.keys = 100_000
    with (
        pytest.raises(QuotasUnavailable, match="TooManyRequestsException") as caught,
        Preflight(aws).admitted("acme", PLACE, Needs({KEYS: 1})),
    ):
        pass
    assert isinstance(caught.value, RetryLater)


def test_use_that_may_not_be_read_stops_the_operation_and_names_the_permission(
    preflight: Preflight, aws: FakeAws
) -> None:
    aws.errors["describe_account_attributes"] = client_error("AccessDenied")
    with pytest.raises(QuotasUnreadable) as caught:
        preflight.check(PLACE, ONE)
    assert "allow the worker's role rds:DescribeAccountAttributes" in caught.value.hint


def test_use_that_can_not_be_read_now_is_tried_again(preflight: Preflight, aws: FakeAws) -> None:
    aws.errors["describe_account_attributes"] = client_error("ThrottlingException")
    with pytest.raises(QuotasUnavailable):
        preflight.check(PLACE, ONE)
    del aws.errors["describe_account_attributes"]
    assert preflight.check(PLACE, ONE).shortfalls == ()


def test_a_place_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="12 digits"):
        Place("1", "eu-west-1")


@given(
    st.integers(0, 60),
    st.lists(st.tuples(st.integers(1, 6), st.booleans(), st.sampled_from([0.0, 1.0, 6.0, 70.0, 1000.0])), max_size=40),
)
def test_whatever_is_kept_no_operation_is_admitted_that_aws_would_refuse_nor_one_refused_that_fits(
    used: int, operations: list[tuple[int, bool, float]]
) -> None:
    aws, clock = FakeAws(), Clock()
    aws.use_instances(used, 60)
    preflight = Preflight(aws, clock=clock)
    for needed, succeeds, pause in operations:
        clock.now += pause + 0.001
        before = aws.rds["DBInstances"][0]
        try:
            with preflight.admitted("acme", PLACE, Needs({RDS: needed})):
                assert before + needed <= 60
                if succeeds:
                    aws.rds["DBInstances"] = (before + needed, 60)
                clock.now += 0.001
        except QuotaShortfall:
            assert before + needed > 60
