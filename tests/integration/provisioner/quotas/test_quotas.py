"""The preflight against the local AWS: real boto3 calls, quotas that are set and raised."""

from __future__ import annotations

import http.client
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from localcloud.home import Home
from localcloud.lifecycle import NotRunning
from localcloud.moto import ACCOUNT_ID, QUOTA_PATH
from localcloud.quota_control import UnknownQuota
from localcloud.quota_control import set_quota as set_local_quota
from provisioner.cli.main import app
from provisioner.quotas import Boto3Clients, Needs, Place, Preflight, QuotaShortfall, caller_place
from provisioner.quotas.decision import LimitSource
from provisioner.quotas.table import (
    BUCKETS,
    GATEWAY_ENDPOINTS,
    INSTANCES,
    KEYS,
    PARAMETER_GROUPS,
    POLICIES,
    QUOTAS,
    ROLES,
    SECRETS,
    SECURITY_GROUPS,
    SNAPSHOTS,
    STORAGE,
    TOPICS,
    VPCS,
    Quota,
)

#: A Region that no other test uses: moto's server is shared.
REGION = "ap-south-1"
PLACE = Place(ACCOUNT_ID, REGION)


@pytest.fixture(scope="module")
def clients(moto_server: str) -> Iterator[Boto3Clients]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", moto_server)
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        yield Boto3Clients()


@pytest.fixture(autouse=True)
def _defaults(moto_server: str) -> Iterator[None]:
    yield
    for quota in QUOTAS.values():
        set_quota(moto_server, quota, None)


def set_quota(moto_server: str, quota: Quota, value: int | None) -> int:
    url = urlsplit(moto_server)
    connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=10)
    try:
        connection.request("POST", QUOTA_PATH, json.dumps({"region": REGION, "quota": quota.key, "value": value}))
        return connection.getresponse().status
    finally:
        connection.close()


def used(clients: Boto3Clients) -> dict[str, int]:
    return {finding.quota.key: finding.used for finding in Preflight(clients).survey(PLACE).findings}


def create_instance(clients: Boto3Clients, gib: int) -> str:
    name = f"quota-{secrets.token_hex(4)}"
    clients("rds", REGION).create_db_instance(
        DBInstanceIdentifier=name,
        DBInstanceClass="db.t4g.micro",
        Engine="postgres",
        AllocatedStorage=gib,
        MasterUsername="master",
        MasterUserPassword=secrets.token_hex(8),
    )
    return name


def test_service_quotas_tells_every_limit_of_the_table(clients: Boto3Clients) -> None:
    findings = Preflight(clients).survey(PLACE).findings
    assert {f.quota.key: f.limit.value for f in findings} == {q.key: q.documented(REGION) for q in QUOTAS.values()}
    assert {f.limit.source for f in findings} == {LimitSource.SERVICE_QUOTAS}
    assert {f.limit.value for f in findings if f.quota is INSTANCES} == {20}, "Mumbai has a default of its own"


def test_everything_that_is_created_is_counted_whoever_created_it(clients: Boto3Clients) -> None:
    before = used(clients)
    instance = create_instance(clients, 30)
    clients("rds", REGION).create_db_snapshot(DBSnapshotIdentifier=f"s-{instance}", DBInstanceIdentifier=instance)
    clients("rds", REGION).create_db_parameter_group(
        DBParameterGroupName=f"p-{instance}", DBParameterGroupFamily="postgres18", Description="x"
    )
    key = clients("kms", REGION).create_key()["KeyMetadata"]["KeyId"]
    clients("kms", REGION).schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    secret = clients("secretsmanager", REGION).create_secret(Name=instance, SecretString="x")["ARN"]
    clients("secretsmanager", REGION).delete_secret(SecretId=secret, RecoveryWindowInDays=7)
    clients("s3", "us-east-1").create_bucket(Bucket=instance)
    clients("sns", REGION).create_topic(Name=instance)
    vpc = clients("ec2", REGION).create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    clients("ec2", REGION).create_vpc_endpoint(
        VpcId=vpc, ServiceName=f"com.amazonaws.{REGION}.s3", VpcEndpointType="Gateway"
    )
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    clients("iam", REGION).create_role(RoleName=instance, AssumeRolePolicyDocument=document)
    clients("iam", REGION).create_policy(PolicyName=instance, PolicyDocument=document)
    after = used(clients)
    more = {key: after[key] - before[key] for key in after if after[key] != before[key]}
    assert more == {
        INSTANCES.key: 1,
        STORAGE.key: 30,
        SNAPSHOTS.key: 1,
        PARAMETER_GROUPS.key: 1,
        KEYS.key: 1,
        SECRETS.key: 1,
        BUCKETS.key: 1,
        TOPICS.key: 1,
        VPCS.key: 1,
        SECURITY_GROUPS.key: 1,
        GATEWAY_ENDPOINTS.key: 1,
        ROLES.key: 1,
        POLICIES.key: 1,
    }


def test_secrets_are_counted_over_all_pages(clients: Boto3Clients) -> None:
    before = used(clients)[SECRETS.key]
    for _ in range(105):
        clients("secretsmanager", REGION).create_secret(Name=secrets.token_hex(8), SecretString="x")
    assert used(clients)[SECRETS.key] == before + 105


def test_a_quota_that_is_used_up_parks_and_the_command_it_names_frees_it(
    clients: Boto3Clients, moto_server: str
) -> None:
    create_instance(clients, 20)
    in_use = used(clients)[INSTANCES.key]
    assert set_quota(moto_server, INSTANCES, in_use) == 204
    needs = Needs({INSTANCES.key: 1, STORAGE.key: 20})
    with pytest.raises(QuotaShortfall) as caught, Preflight(clients).admitted("acme", PLACE, needs):
        pass
    (short,) = caught.value.shortfalls
    assert (short.limit, short.used, short.needed) == (in_use, in_use, 1)
    words = short.command.split()
    options: dict[str, Any] = dict(zip(words[3::2], words[4::2], strict=True))
    clients("service-quotas", options["--region"]).request_service_quota_increase(
        ServiceCode=options["--service-code"],
        QuotaCode=options["--quota-code"],
        DesiredValue=float(options["--desired-value"]),
    )
    with Preflight(clients).admitted("acme", PLACE, needs) as assessment:
        assert {f.limit.value for f in assessment.findings if f.quota is INSTANCES} == {short.ask_for}


def test_the_services_themselves_tell_the_same_limits(clients: Boto3Clients, moto_server: str) -> None:
    for quota, value in ((INSTANCES, 7), (ROLES, 77), (POLICIES, 78)):
        set_quota(moto_server, quota, value)
    attributes = clients("rds", REGION).describe_account_attributes()["AccountQuotas"]
    assert {a["AccountQuotaName"]: a["Max"] for a in attributes}["DBInstances"] == 7
    summary = clients("iam", REGION).get_account_summary()["SummaryMap"]
    assert (summary["RolesQuota"], summary["PoliciesQuota"]) == (77, 78)


def test_service_quotas_refuses_as_aws_does(clients: Boto3Clients, moto_server: str) -> None:
    here = clients("service-quotas", REGION)
    with pytest.raises(ClientError, match="NoSuchResourceException"):
        here.get_service_quota(ServiceCode="iam", QuotaCode="L-FE177D64")  # known in us-east-1 only
    with pytest.raises(ClientError, match="NoSuchResourceException"):
        here.get_aws_default_service_quota(ServiceCode="rds", QuotaCode="L-00000000")
    with pytest.raises(ClientError, match="greater than 20"):
        here.request_service_quota_increase(ServiceCode="rds", QuotaCode="L-7B6409FD", DesiredValue=20)
    assert {q["QuotaCode"] for q in here.list_service_quotas(ServiceCode="kms")["Quotas"]} == {"L-C2F1777E"}
    assert set_quota(moto_server, Quota("rds", "L-00000000", "", 1, INSTANCES.scope, INSTANCES.counter), 1) == 404


def test_the_clients_that_are_made_ahead_are_those_that_are_used(clients: Boto3Clients) -> None:
    made: set[tuple[str, str]] = set()

    def recording(service: str, region: str, /) -> Any:
        made.add((service, region))
        return clients(service, region)

    preflight = Preflight(recording)
    preflight.prepare(PLACE)
    ahead = set(made)
    preflight.survey(PLACE)
    assert made == ahead


def test_the_place_of_the_credentials(clients: Boto3Clients) -> None:
    assert caller_place(clients, REGION) == PLACE


def test_the_command_shows_use_and_limit_of_every_quota(clients: Boto3Clients, moto_server: str) -> None:
    set_quota(moto_server, INSTANCES, 0)
    shown = CliRunner().invoke(app, ["quotas", "--region", REGION])
    assert shown.exit_code == 0, shown.output
    assert all(quota.code in shown.output for quota in QUOTAS.values())
    document = json.loads(CliRunner().invoke(app, ["quotas", "--region", REGION, "--json"]).output)
    (instances,) = [each for each in document if each["quota_code"] == INSTANCES.code]
    assert (instances["limit"], instances["limit_source"]) == (0, "Service Quotas")
    assert instances["used"] == used(clients)[INSTANCES.key]


def test_a_quota_that_is_not_known_is_refused_before_the_local_cloud_is_asked(tmp_path: Path) -> None:
    with pytest.raises(UnknownQuota, match="L-00000000") as caught:
        set_local_quota(Home(tmp_path), "L-00000000", 3)
    assert "L-7B6409FD RDS DB instances" in caught.value.hint
    with pytest.raises(NotRunning):
        set_local_quota(Home(tmp_path), "L-7B6409FD", 3)
