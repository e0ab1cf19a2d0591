"""What is left of a tenant is found wherever it is planted, and nothing of anybody else's is touched."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import pytest

from components.spec import Environment, InstanceSpec, TenantSpec
from components.tags import tenant_tags
from components.tiers import Tier
from provisioner import purge
from provisioner.offboarding.leftovers import KEY, Leftover, ScanFailed, Scanner, Target, Waiting
from provisioner.quotas.aws import Boto3Clients
from tests.integration.provisioner.service.harness import PLATFORM

REGION = "us-east-1"


class Stacks:
    def __init__(self) -> None:
        self.versions: dict[str, str] = {}

    def checkpoint_version(self, stack_name: str) -> str | None:
        return self.versions.get(stack_name)


@pytest.fixture
def clients(moto_server: str, monkeypatch: pytest.MonkeyPatch) -> Boto3Clients:
    for name, value in (
        ("AWS_ENDPOINT_URL", moto_server),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", REGION),
    ):
        monkeypatch.setenv(name, value)
    return Boto3Clients()


def target(*, archives: bool = False, resources: tuple[tuple[str, str], ...] = (), generation: int = 1) -> Target:
    spec = TenantSpec(
        installation=f"i{secrets.token_hex(4)}",
        environment=Environment.DEVELOPMENT,
        tenant_id="acme",
        generation=generation,
        tier=Tier.SILO,
        plan="enterprise",
        instance=InstanceSpec(),
    )
    return Target(spec, None, PLATFORM, resources, archives)


def pairs(found: Target, key: str = "Key", value: str = "Value") -> list[dict[str, str]]:
    return [{key: name, value: each} for name, each in tenant_tags(found.spec).items()]


def _instance(clients: Boto3Clients, found: Target) -> None:
    clients("rds", REGION).create_db_instance(
        DBInstanceIdentifier=found.names.instance,
        Engine="postgres",
        DBInstanceClass="db.t4g.micro",
        AllocatedStorage=20,
        MasterUsername="master",
        MasterUserPassword="a-password-of-a-test",
        Tags=pairs(found),
    )


def _snapshot(clients: Boto3Clients, found: Target) -> None:
    _instance(clients, found)
    rds, name = clients("rds", REGION), found.names.instance
    rds.create_db_snapshot(DBInstanceIdentifier=name, DBSnapshotIdentifier=f"{name}-by-hand")
    rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True, DeleteAutomatedBackups=True)


def _security_group(clients: Boto3Clients, found: Target) -> None:
    tags = [{"ResourceType": "security-group", "Tags": pairs(found)}]
    clients("ec2", REGION).create_security_group(
        GroupName=f"sg-{secrets.token_hex(4)}", Description="x", TagSpecifications=tags
    )


def _alarm(clients: Boto3Clients, found: Target) -> None:
    clients("cloudwatch", REGION).put_metric_alarm(
        AlarmName=found.names.alarm("cpu"),
        ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=1,
        MetricName="CPUUtilization",
        Namespace="AWS/RDS",
        Period=60,
        Statistic="Average",
        Threshold=1.0,
    )


def _topic(clients: Boto3Clients, found: Target) -> None:
    """Of a kind that no stack has: only its tags tell."""
    clients("sns", REGION).create_topic(Name=f"forgotten-{secrets.token_hex(4)}", Tags=pairs(found))


#: What is planted -> what it is called in the report.
PLANTED: dict[str, tuple[Callable[[Boto3Clients, Target], object], str]] = {
    "secret": (
        lambda c, t: c("secretsmanager", REGION).create_secret(
            Name=t.names.secret("database-login"), SecretString="{}"
        ),
        "secret",
    ),
    "instance": (_instance, "RDS instance"),
    "snapshot": (_snapshot, "RDS snapshot"),
    "logs": (
        lambda c, t: c("logs", REGION).create_log_group(logGroupName=t.names.rds_log_group("postgresql")),
        "log group",
    ),
    "bucket": (lambda c, t: c("s3", REGION).create_bucket(Bucket=t.names.bucket(t.account)), "bucket"),
    "role": (
        lambda c, t: c("iam", REGION).create_role(RoleName=t.names.role, AssumeRolePolicyDocument="{}"),
        "IAM role",
    ),
    "alarm": (_alarm, "alarm"),
    "security group": (_security_group, "security group"),
    "anything with its tags": (_topic, "resource with the tenant's tags"),
}


@pytest.mark.parametrize("what", PLANTED)
def test_what_is_left_is_found_and_has_a_remedy(clients: Boto3Clients, what: str) -> None:
    scanner, found = Scanner(clients, Stacks()), target()
    assert scanner.scan(found) == []
    plant, name = PLANTED[what]
    plant(clients, found)
    left = scanner.scan(found)
    assert [each.what.split(" (")[0] for each in left][:1] == [name], left
    assert all(isinstance(each, Leftover) and each.fix for each in left)
    assert scanner.scan(target()) == [], "another tenant's, in another installation, is not taken for it"


def test_a_stack_that_stands_is_left_over(clients: Boto3Clients) -> None:
    stacks, found = Stacks(), target(generation=2)
    stacks.versions["acme.2"] = "1"
    assert [each.where for each in Scanner(clients, stacks).scan(found)] == ["stack acme.2"]


def test_what_aws_keeps_for_a_while_goes_by_itself_at_a_known_time(clients: Boto3Clients) -> None:
    found = target()
    kms = clients("kms", REGION)
    made = kms.create_key(Tags=pairs(found, "TagKey", "TagValue"))["KeyMetadata"]
    secret = clients("secretsmanager", REGION).create_secret(Name=found.names.secret("x"), SecretString="{}")
    found = Target(found.spec, None, PLATFORM, [(KEY, made["Arn"])], False)
    scanner = Scanner(clients, Stacks())
    assert {each.what.split(",")[0] for each in scanner.scan(found)} >= {"KMS key", "secret"}
    kms.schedule_key_deletion(KeyId=made["KeyId"], PendingWindowInDays=7)
    clients("secretsmanager", REGION).delete_secret(SecretId=secret["ARN"], RecoveryWindowInDays=7)
    waiting = scanner.scan(found)
    assert len(waiting) == 2
    assert all(isinstance(each, Waiting) and each.until is not None for each in waiting), waiting


def test_a_final_snapshot_stays_where_the_plan_archives_and_nowhere_else(clients: Boto3Clients) -> None:
    found = target()
    _instance(clients, found)
    clients("rds", REGION).delete_db_instance(
        DBInstanceIdentifier=found.names.instance, FinalDBSnapshotIdentifier=found.names.final_snapshot
    )
    scanner = Scanner(clients, Stacks())
    assert any(isinstance(each, Leftover) and "final" in each.where for each in scanner.scan(found))
    archived = Target(found.spec, None, PLATFORM, (), archives=True)
    assert not [each for each in scanner.scan(archived) if isinstance(each, Leftover)]


def test_an_unanswered_question_is_no_empty_answer(clients: Boto3Clients) -> None:
    from botocore.exceptions import ClientError

    class Denied:
        def __getattr__(self, name: str) -> Any:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": ""}}, name)

    def some(service: str, region: str) -> Any:
        return Denied() if service == "resourcegroupstaggingapi" else clients(service, region)

    with pytest.raises(ScanFailed, match=r"tagged.*AccessDenied"):
        Scanner(some, Stacks()).scan(target())


def test_a_purge_takes_every_version_and_upload_of_one_tenant_alone(clients: Boto3Clients) -> None:
    s3, bucket = clients("s3", REGION), f"files-{secrets.token_hex(6)}"
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for name in ("acme", "acme-2"):
        for body in (b"1", b"2"):
            s3.put_object(Bucket=bucket, Key=f"{name}/a", Body=body)
        s3.delete_object(Bucket=bucket, Key=f"{name}/a")
        s3.put_object(Bucket=bucket, Key=f"{name}/b", Body=b"")
        s3.create_multipart_upload(Bucket=bucket, Key=f"{name}/large")
    before = purge.count(s3, bucket, "acme-2/")
    assert purge.count(s3, bucket, "acme/") == purge.Stored(1, 3, 1, 1)
    assert purge.purge_prefix(s3, bucket, "acme/") == purge.Stored(1, 3, 1, 1)
    assert purge.count(s3, bucket, "acme/").empty
    assert purge.count(s3, bucket, "acme-2/") == before
    assert purge.purge_prefix(s3, bucket, "acme/").empty, "again, nothing happens"
    assert purge.count(s3, f"nobody-{secrets.token_hex(6)}", "").empty
