"""What AWS would refuse is refused by Check, or by Create where only the cloud can tell; moto takes most of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from providers.base import CheckFailed
from providers.base.testing import RpcFailed
from tests.integration.localcloud.aws.cases import instance
from tests.integration.localcloud.aws.world import ACCOUNT, READ, REGION, ROOT, TRUST, World, document

KEY, ALIAS = "aws:kms/key:Key", "aws:kms/alias:Alias"
BUCKET, BUCKET_POLICY = "aws:s3/bucket:Bucket", "aws:s3/bucketPolicy:BucketPolicy"
ENCRYPTION = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
ROLE, POLICY, ROLE_POLICY = "aws:iam/role:Role", "aws:iam/policy:Policy", "aws:iam/rolePolicy:RolePolicy"
SECRET, VERSION = "aws:secretsmanager/secret:Secret", "aws:secretsmanager/secretVersion:SecretVersion"
INSTANCE, SUBNETS, PARAMETERS = (
    *("aws:rds/instance:Instance", "aws:rds/subnetGroup:SubnetGroup"),
    "aws:rds/parameterGroup:ParameterGroup",
)
VPC, SUBNET, GROUP = "aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:ec2/securityGroup:SecurityGroup"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
LOGS, ALARM = "aws:cloudwatch/logGroup:LogGroup", "aws:cloudwatch/metricAlarm:MetricAlarm"
TOPIC, QUEUE, PARAMETER = "aws:sns/topic:Topic", "aws:sqs/queue:Queue", "aws:ssm/parameter:Parameter"

NO_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"
DATABASE: dict[str, Any] = {
    "engine": "postgres",
    "instanceClass": "db.t4g.medium",
    "allocatedStorage": 20,
    "username": "master",
    "manageMasterUserPassword": True,
    "skipFinalSnapshot": True,
}
RULE = {"securityGroupId": "sg-0123", "ipProtocol": "tcp", "fromPort": 5432, "toPort": 5432, "cidrIpv4": "10.0.0.0/8"}
METRIC = {"comparisonOperator": "GreaterThanThreshold", "evaluationPeriods": 1, "metricName": "m", "namespace": "n"}

# type, inputs, the property that is named and what is said about it
REFUSED = [
    (KEY, {"deletionWindowInDays": 6}, "deletionWindowInDays", "6 is not between 7 and 30"),
    (KEY, {"deletionWindowInDays": 31}, "deletionWindowInDays", "31 is not between 7 and 30"),
    (KEY, {"policy": "{"}, "policy", "is no valid JSON"),
    (KEY, {"policy": READ}, "policy", "Principal"),
    (KEY, {"policy": document("kms:Encrypt", principal=ROOT)}, "policy", "lock everybody out"),
    (KEY, {"rotationPeriodInDays": 30, "enableKeyRotation": True}, "rotationPeriodInDays", "between 90 and 2560"),
    (KEY, {"customerMasterKeySpec": "RSA_2048", "enableKeyRotation": True}, "enableKeyRotation", "symmetric"),
    (ALIAS, {"name": "tenant", "targetKeyId": "k"}, "name", "alias/name"),
    (ALIAS, {"name": "alias/aws/mine", "targetKeyId": "k"}, "name", "reserved"),
    (BUCKET, {"bucket": "Upper"}, "bucket", "lower-case"),
    (BUCKET, {"bucket": "ab"}, "bucket", "at least 3"),
    (BUCKET, {"bucket": "b" * 64}, "bucket", "at most 63"),
    (BUCKET, {"bucket": "192.168.0.1"}, "bucket", "IP address"),
    (BUCKET, {"bucket": "xn--b"}, "bucket", "reserves"),
    (BUCKET_POLICY, {"bucket": "b-1", "policy": '{"Statement": [{}]}'}, "policy", "Effect"),
    (ENCRYPTION, {"bucket": "b-1", "rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "rot13"}}]},
     "rules[0].applyServerSideEncryptionByDefault.sseAlgorithm", "rot13"),
    (ROLE, {"name": "r" * 65, "assumeRolePolicy": TRUST}, "name", "at most 64"),
    (ROLE, {"name": "a role", "assumeRolePolicy": TRUST}, "name", "letters, digits"),
    (ROLE, {"assumeRolePolicy": READ}, "assumeRolePolicy", "Resource"),
    (ROLE, {"assumeRolePolicy": TRUST, "path": "tenantry"}, "path", "slash"),
    (ROLE, {"assumeRolePolicy": TRUST, "permissionsBoundary": "boundary"}, "permissionsBoundary", "no policy ARN"),
    (ROLE, {"assumeRolePolicy": TRUST, "maxSessionDuration": 60}, "maxSessionDuration", "3600"),
    (POLICY, {"policy": TRUST}, "policy", "Principal"),
    (POLICY, {"policy": document("s3:GetObject", resource="x" * 6200)}, "policy", "at most 6144"),
    (ROLE_POLICY, {"role": "r", "policy": "[]"}, "policy", "JSON object"),
    (SECRET, {"name": "a secret"}, "name", "letters, digits"),
    (SECRET, {"name": "s" * 513}, "name", "at most 512"),
    (SECRET, {"recoveryWindowInDays": 6}, "recoveryWindowInDays", "6 is not between 7 and 30"),
    (SECRET, {"policy": READ}, "policy", "Principal"),
    (VERSION, {"secretId": "s"}, "secretString", "exactly one"),
    (VERSION, {"secretId": "s", "secretBinary": "%"}, "secretBinary", "base64"),
    (INSTANCE, {**DATABASE, "identifier": "1st"}, "identifier", "lower-case letters"),
    (INSTANCE, {**DATABASE, "identifier": "a--b"}, "identifier", "single hyphens"),
    (INSTANCE, {**DATABASE, "identifier": "a" * 64}, "identifier", "at most 63"),
    (INSTANCE, {**DATABASE, "skipFinalSnapshot": False}, "finalSnapshotIdentifier", "is required unless"),
    (INSTANCE, {**DATABASE, "skipFinalSnapshot": False, "finalSnapshotIdentifier": "a--b"},
     "finalSnapshotIdentifier", "single hyphens"),
    (INSTANCE, {**DATABASE, "instanceClass": "db.t4g.huge"}, "instanceClass", "no instance class"),
    (INSTANCE, {**DATABASE, "allocatedStorage": 5}, "allocatedStorage", "between 20"),
    (INSTANCE, {**DATABASE, "engine": "mysql"}, "engine", "mysql"),
    (INSTANCE, {**DATABASE, "engineVersion": "16"}, "engineVersion", "17 and 18"),
    (INSTANCE, {**DATABASE, "username": "rdsadmin"}, "username", "reserved"),
    (INSTANCE, {**DATABASE, "password": "hunter-2"}, "password", "can't be given"),
    (INSTANCE, {**DATABASE, "manageMasterUserPassword": False}, "password", "is required"),
    (INSTANCE, {**DATABASE, "kmsKeyId": NO_KEY}, "kmsKeyId", "storageEncrypted"),
    (INSTANCE, {**DATABASE, "kmsKeyId": "key", "storageEncrypted": True}, "kmsKeyId", "no ARN"),
    (INSTANCE, {**DATABASE, "backupRetentionPeriod": 36}, "backupRetentionPeriod", "between 0 and 35"),
    (INSTANCE, {**DATABASE, "port": 80}, "port", "1150"),
    (INSTANCE, {**DATABASE, "maintenanceWindow": "sometimes"}, "maintenanceWindow", "ddd:hh24:mi"),
    (INSTANCE, {**DATABASE, "enabledCloudwatchLogsExports": ["audit"]}, "enabledCloudwatchLogsExports", "audit"),
    (SUBNETS, {"name": "default", "subnetIds": ["subnet-1"]}, "name", "RDS's own"),
    (SUBNETS, {"subnetIds": []}, "subnetIds", "two Availability Zones"),
    (PARAMETERS, {"family": "mysql8.0"}, "family", "PostgreSQL"),
    (PARAMETERS, {"family": "postgres17", "parameters": [{"name": "log_statement"}]}, "parameters", "required"),
    (VPC, {"cidrBlock": "10.0.0.0/8"}, "cidrBlock", "between /16 and /28"),
    (SUBNET, {"vpcId": "vpc-0123", "cidrBlock": "10.0.0.1/24"}, "cidrBlock", "no IPv4 range"),
    (GROUP, {"name": "sg-mine"}, "name", "sg-"),
    (GROUP, {"description": "naïve"}, "description", "letters, digits"),
    (INGRESS, {**RULE, "cidrIpv6": "::/0"}, "cidrIpv6", "exactly one"),
    (INGRESS, {**RULE, "toPort": 80}, "toPort", "less than"),
    (INGRESS, {**RULE, "ipProtocol": "-1"}, "fromPort", "no ports"),
    (LOGS, {"retentionInDays": 8}, "retentionInDays", "8"),
    (LOGS, {"kmsKeyId": "alias/mine"}, "kmsKeyId", "ARN of a KMS key"),
    (ALARM, {**METRIC, "period": 45, "statistic": "Average"}, "period", "multiple of 60"),
    (TOPIC, {"name": "a topic"}, "name", "letters, digits"),
    (QUEUE, {"visibilityTimeoutSeconds": 43201}, "visibilityTimeoutSeconds", "43200"),
    (PARAMETER, {"name": "aws-mine", "type": "String", "value": "v"}, "name", "reserved"),
    (TOPIC, {"tags": {"aws:mine": "v"}}, "tags", "reserved"),
    (TOPIC, {"tags": {f"key-{n}": "v" for n in range(51)}}, "tags", "at most 50"),
    (TOPIC, {"tags": {"k": "v" * 257}}, "tags", "256"),
    (TOPIC, {"colour": "red"}, "colour", "is not supported for aws:sns/topic:Topic"),
    (POLICY, {}, "policy", "is required"),
]  # fmt: skip


@pytest.mark.parametrize(("token", "inputs", "name", "says"), REFUSED)
def test_check_refuses(token: str, inputs: dict[str, Any], name: str, says: str, world: World) -> None:
    with pytest.raises(CheckFailed) as refused:
        world.client.check(token, "it", inputs)
    assert any(at == name and says in reason for at, reason in refused.value.failures), refused.value


def test_check_tells_all_failures_at_once(world: World) -> None:
    with pytest.raises(CheckFailed) as refused:
        world.client.check(INSTANCE, "it", {**DATABASE, "identifier": "1st", "port": 80, "engine": "mysql"})
    assert {"identifier", "port", "engine"} <= {name for name, _ in refused.value.failures}


# what only the cloud can tell: type, inputs, the error's code and what it says
UNUSABLE = [
    (ALIAS, lambda w: {"name": f"alias/{w.name}", "targetKeyId": NO_KEY}, "does not exist"),
    (SECRET, lambda w: {"name": w.name, "kmsKeyId": NO_KEY}, "does not exist"),
    (LOGS, lambda w: {"name": w.name, "kmsKeyId": NO_KEY}, "does not exist"),
    (INSTANCE, lambda w: instance(w, kmsKeyId=NO_KEY), "does not exist"),
    (INSTANCE, lambda w: instance(w, masterUserSecretKmsKeyId=NO_KEY), "does not exist"),
    (INSTANCE, lambda w: instance(w, vpcSecurityGroupIds=["sg-0123"]), "sg-0123"),
    (INSTANCE, lambda w: instance(w, dbSubnetGroupName="no-such-group"), "no-such-group"),
    (INSTANCE, lambda w: instance(w, parameterGroupName="no-such-group"), "no-such-group"),
    (INSTANCE, lambda w: instance(w, parameterGroupName=w.parameter_group.id, engineVersion="18"), "postgres18"),
    (SUBNETS, lambda w: {"name": w.name, "subnetIds": [w.subnet(0).id]}, "Availability Zone"),
    (SUBNETS, lambda w: {"name": w.name, "subnetIds": ["subnet-0123", w.subnet(0).id]}, "subnet-0123"),
    (ROLE, lambda w: {"name": w.name, "assumeRolePolicy": TRUST, "permissionsBoundary": _no_policy(w)}, "boundary"),
    (BUCKET, lambda w: {"bucket": w.bucket.id}, "BucketAlreadyOwnedByYou"),
    (SECRET, lambda w: {"name": w.secret.outputs["name"]}, "ResourceExistsException"),
]


def _no_policy(world: World) -> str:
    return f"arn:aws:iam::{ACCOUNT}:policy/{world.name}-boundary"


@pytest.mark.parametrize(("token", "inputs", "says"), UNUSABLE)
def test_create_refuses(token: str, inputs: Any, says: str, world: World) -> None:
    with pytest.raises(RpcFailed, match=says) as refused:
        world.client.create(token, "it", inputs(world))
    assert refused.value.partial is None, "nothing was created"
    # The codes by which the engine knows that nothing was changed.
    assert refused.value.code.name in {"FAILED_PRECONDITION", "ALREADY_EXISTS", "PERMISSION_DENIED"}


def test_a_key_that_is_to_be_deleted_encrypts_nothing_new(world: World) -> None:
    world.client.delete(world.key)
    with pytest.raises(RpcFailed, match=r"KMSInvalidStateException.*PendingDeletion"):
        world.client.create(SECRET, "it", {"name": world.name, "kmsKeyId": world.key.outputs["arn"]})


def test_a_public_policy_is_refused_where_public_policies_are_blocked(world: World) -> None:
    blocked = {"bucket": world.bucket.id, "blockPublicPolicy": True}
    world.make("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock", blocked)
    policy = document("s3:GetObject", resource=f"{world.bucket.outputs['arn']}/*", principal="*")
    with pytest.raises(RpcFailed, match="AccessDenied"):
        world.client.create(BUCKET_POLICY, "it", {"bucket": world.bucket.id, "policy": policy})
    everyone = document("secretsmanager:GetSecretValue", principal={"AWS": "*"})
    inputs = {"secretArn": world.secret.id, "policy": everyone, "blockPublicPolicy": True}
    with pytest.raises(RpcFailed, match="PublicPolicyException"):
        world.client.create("aws:secretsmanager/secretPolicy:SecretPolicy", "it", inputs)


def test_an_instance_is_deleted_only_unprotected_and_with_a_snapshot_that_is_new(world: World) -> None:
    snapshot = f"{world.name}-final"
    inputs = instance(world, skipFinalSnapshot=False, finalSnapshotIdentifier=snapshot, deletionProtection=True)
    made = world.client.create(INSTANCE, "it", inputs)
    with pytest.raises(RpcFailed, match="Cannot delete protected DB Instance"):
        world.client.delete(made)
    open_ = world.client.update(made, {**inputs, "deletionProtection": False})
    rds = world.api("rds")
    rds.create_db_snapshot(DBInstanceIdentifier=world.name, DBSnapshotIdentifier=snapshot)
    with pytest.raises(RpcFailed, match="DBSnapshotAlreadyExists"):
        world.client.delete(open_)
    rds.delete_db_snapshot(DBSnapshotIdentifier=snapshot)
    world.client.delete(open_)
    assert world.client.refresh(open_) is None
    assert rds.describe_db_snapshots(DBSnapshotIdentifier=snapshot)["DBSnapshots"][0]["Status"] == "available"


def test_groups_in_use_are_not_deleted(world: World) -> None:
    inputs = instance(world, dbSubnetGroupName=world.subnet_group.id, parameterGroupName=world.parameter_group.id)
    made = world.client.create(INSTANCE, "it", inputs)
    for group in (world.subnet_group, world.parameter_group):
        with pytest.raises(RpcFailed, match=r"InvalidDB.*Group") as refused:
            world.client.delete(group)
        assert world.name in refused.value.message
    world.client.delete(made)
    world.client.delete(world.subnet_group)
    world.client.delete(world.parameter_group)


def test_a_bucket_with_objects_is_deleted_only_by_force(world: World) -> None:
    s3 = world.api("s3")
    s3.put_object(Bucket=world.bucket.id, Key="k", Body=b"")
    with pytest.raises(RpcFailed, match=r"BucketNotEmpty.*forceDestroy"):
        world.client.delete(world.bucket)
    forced = world.client.update(world.bucket, {"bucket": world.bucket.id, "forceDestroy": True})
    world.client.delete(forced)
    assert world.client.refresh(forced) is None


def test_the_cloud_has_the_policy_that_the_program_wrote(world: World) -> None:
    made = world.client.create(POLICY, "it", {"name": world.name, "policy": READ})
    version = world.api("iam").get_policy_version(PolicyArn=made.id, VersionId="v1")["PolicyVersion"]
    assert version["Document"] == json.loads(READ)
