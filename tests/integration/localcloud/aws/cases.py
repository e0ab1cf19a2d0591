"""One case a resource type: how it is made, changed in place, spelled differently, and what replaces it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from providers.base.testing import Resource
from tests.integration.localcloud.aws.world import ACCOUNT, READ, REGION, ROOT, TRUST, WRITE, World, document

Inputs = dict[str, Any]
TAGS = {"tenant_id": "acme", "plan": "team"}
MORE_TAGS = {"tenant_id": "acme", "cost-center": "7"}


@dataclass(frozen=True)
class Case:
    token: str
    inputs: Callable[[World], Inputs]
    #: inputs that an update in place changes; None removes one
    update: Callable[[World], Inputs] | None = None
    #: the same in other words: no difference
    same: Callable[[World], Inputs] = lambda world: {}
    #: inputs, each of which replaces the resource by its change
    replaced: Inputs = field(default_factory=dict)
    #: what an import is given, if not the id
    import_id: Callable[[Resource], str] = lambda resource: resource.id
    #: inputs that moto forgets: an import can't tell them
    forgotten: frozenset[str] = frozenset()
    #: a delete leaves something behind, as in AWS
    stays: bool = False

    def __str__(self) -> str:
        return self.token.rsplit(":", 1)[-1]


def _reordered(text: str) -> str:
    """The same policy, its keys in another order, single actions in lists."""
    parsed = json.loads(text)
    statements = [dict(reversed(statement.items())) for statement in parsed["Statement"]]
    return json.dumps({"Statement": statements, "Version": parsed["Version"]}, indent=4)


def _bucket_policy(world: World, *actions: str) -> str:
    return document(*actions, resource=f"{world.bucket.outputs['arn']}/*", principal=ROOT)


def _key_policy(*extra: str) -> str:
    return document("kms:*", *extra, principal=ROOT)


def _rule(world: World, **peer: Any) -> Inputs:
    return {
        "securityGroupId": world.group().id,
        "ipProtocol": "tcp",
        "fromPort": 5432,
        "toPort": 5432,
        "description": "from the app",
        "tags": TAGS,
        **peer,
    }


def instance(world: World, **changes: Any) -> Inputs:
    return {
        "identifier": world.name,
        "engine": "postgres",
        "engineVersion": "17",
        "instanceClass": "db.t4g.medium",
        "allocatedStorage": 20,
        "storageType": "gp3",
        "storageEncrypted": True,
        "kmsKeyId": world.key.outputs["arn"],
        "username": "master",
        "manageMasterUserPassword": True,
        "masterUserSecretKmsKeyId": world.key.outputs["arn"],
        "skipFinalSnapshot": True,
        "tags": TAGS,
        **changes,
    }


CASES = (
    Case(
        "aws:kms/key:Key",
        lambda w: {"description": "data", "enableKeyRotation": True, "deletionWindowInDays": 7, "tags": TAGS},
        lambda w: {"description": "all data", "enableKeyRotation": False, "policy": _key_policy(), "tags": MORE_TAGS},
        same=lambda w: {"deletionWindowInDays": "7", "enableKeyRotation": "true", "isEnabled": True},
        replaced={"customerMasterKeySpec": "HMAC_256", "keyUsage": "SIGN_VERIFY", "multiRegion": True},
    ),
    Case(
        "aws:kms/alias:Alias",
        lambda w: {"name": f"alias/{w.name}", "targetKeyId": w.key.id},
        lambda w: {"targetKeyId": w.other_key.id},
        replaced={"name": "alias/another"},
    ),
    Case(
        "aws:s3/bucket:Bucket",
        lambda w: {"bucket": w.name, "tags": TAGS},
        lambda w: {"tags": MORE_TAGS, "forceDestroy": True},
        same=lambda w: {"forceDestroy": False},
        replaced={"bucket": "another-bucket", "objectLockEnabled": True},
    ),
    Case(
        "aws:s3/bucketVersioning:BucketVersioning",
        lambda w: {"bucket": w.bucket.id, "versioningConfiguration": {"status": "Enabled"}},
        lambda w: {"versioningConfiguration": {"status": "Suspended"}},
        replaced={"bucket": "another-bucket"},
        stays=True,  # versioning can only be suspended
    ),
    Case(
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        lambda w: {"bucket": w.bucket.id, "rules": _encryption(w.key.outputs["arn"])},
        lambda w: {"rules": _encryption(w.other_key.outputs["arn"])},
        replaced={"bucket": "another-bucket"},
    ),
    Case(
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        lambda w: {"bucket": w.bucket.id, "blockPublicAcls": True},
        lambda w: {"blockPublicPolicy": True, "restrictPublicBuckets": True},
        same=lambda w: {"blockPublicAcls": "true", "ignorePublicAcls": False},
        replaced={"bucket": "another-bucket"},
    ),
    Case(
        "aws:s3/bucketPolicy:BucketPolicy",
        lambda w: {"bucket": w.bucket.id, "policy": _bucket_policy(w, "s3:GetObject")},
        lambda w: {"policy": _bucket_policy(w, "s3:GetObject", "s3:PutObject")},
        same=lambda w: {"policy": _reordered(_bucket_policy(w, "s3:GetObject"))},
        replaced={"bucket": "another-bucket"},
    ),
    Case(
        "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
        lambda w: {"bucket": w.bucket.id, "rule": {"objectOwnership": "BucketOwnerEnforced"}},
        lambda w: {"rule": {"objectOwnership": "BucketOwnerPreferred"}},
        replaced={"bucket": "another-bucket"},
    ),
    Case(
        "aws:s3/bucketLogging:BucketLogging",
        lambda w: {"bucket": w.bucket.id, "targetBucket": _log_bucket(w), "targetPrefix": "a/"},
        lambda w: {"targetPrefix": "b/"},
        replaced={"bucket": "another-bucket"},
    ),
    Case(
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        lambda w: {"bucket": w.bucket.id, "rules": [_expiry(days=30)]},
        lambda w: {"rules": [_expiry(days=60)]},
        replaced={"bucket": "another-bucket"},
    ),
    Case(
        "aws:iam/role:Role",
        lambda w: {"name": w.name, "path": "/tenantry/", "assumeRolePolicy": TRUST, "tags": TAGS},
        lambda w: {
            "description": "of a tenant",
            "maxSessionDuration": 7200,
            "permissionsBoundary": w.policy.outputs["arn"],
            "assumeRolePolicy": document("sts:AssumeRole", "sts:TagSession", resource=None, principal=ROOT),
            "tags": MORE_TAGS,
        },
        same=lambda w: {"assumeRolePolicy": _reordered(TRUST), "maxSessionDuration": "3600"},
        replaced={"name": "another", "path": "/elsewhere/"},
    ),
    Case(
        "aws:iam/policy:Policy",
        lambda w: {"name": w.name, "policy": READ, "tags": TAGS},
        lambda w: {"policy": WRITE, "tags": MORE_TAGS},
        same=lambda w: {"policy": _reordered(READ), "path": "/"},
        replaced={"name": "another", "path": "/elsewhere/", "description": "another"},
    ),
    Case(
        "aws:iam/rolePolicy:RolePolicy",
        lambda w: {"name": w.name, "role": w.role.id, "policy": READ},
        lambda w: {"policy": WRITE},
        same=lambda w: {"policy": _reordered(READ)},
        replaced={"name": "another", "role": "another"},
    ),
    Case(
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        lambda w: {"role": w.role.id, "policyArn": w.policy.outputs["arn"]},
        replaced={"role": "another", "policyArn": f"arn:aws:iam::{ACCOUNT}:policy/another"},
    ),
    Case(
        "aws:ec2/vpc:Vpc",
        lambda w: {"cidrBlock": "10.30.0.0/16", "enableDnsHostnames": True, "tags": TAGS},
        lambda w: {"enableDnsHostnames": False, "enableDnsSupport": False, "tags": MORE_TAGS},
        same=lambda w: {"enableDnsSupport": True},
        replaced={"cidrBlock": "10.31.0.0/16", "instanceTenancy": "dedicated"},
    ),
    Case(
        "aws:ec2/subnet:Subnet",
        lambda w: {"vpcId": w.vpc.id, "cidrBlock": "10.20.192.0/19", "availabilityZone": f"{REGION}a", "tags": TAGS},
        lambda w: {"mapPublicIpOnLaunch": True, "tags": MORE_TAGS},
        same=lambda w: {"mapPublicIpOnLaunch": False},
        replaced={"cidrBlock": "10.20.224.0/19", "availabilityZone": f"{REGION}b", "vpcId": "vpc-0123"},
    ),
    Case(
        "aws:ec2/routeTable:RouteTable",
        lambda w: {"vpcId": w.vpc.id, "tags": TAGS},
        lambda w: {"routes": [{"cidrBlock": "0.0.0.0/0", "gatewayId": _gateway(w)}], "tags": MORE_TAGS},
        replaced={"vpcId": "vpc-0123"},
    ),
    Case(
        "aws:ec2/routeTableAssociation:RouteTableAssociation",
        lambda w: {"subnetId": w.subnet(0).id, "routeTableId": w.table().id},
        lambda w: {"routeTableId": w.table("other").id},
        replaced={"subnetId": "subnet-0123"},
        import_id=lambda r: f"{r.inputs['subnetId']}/{r.inputs['routeTableId']}",
    ),
    Case(
        "aws:ec2/vpcEndpoint:VpcEndpoint",
        lambda w: {
            "vpcId": w.vpc.id,
            "serviceName": f"com.amazonaws.{REGION}.secretsmanager",
            "vpcEndpointType": "Interface",
            "subnetIds": [w.subnet(0).id],
            "securityGroupIds": [w.group().id],
            "privateDnsEnabled": True,
            "tags": TAGS,
        },
        lambda w: {"subnetIds": [w.subnet(0).id, w.subnet(1).id], "tags": MORE_TAGS},
        replaced={"serviceName": f"com.amazonaws.{REGION}.kms", "vpcId": "vpc-0123"},
    ),
    Case(
        "aws:ec2/securityGroup:SecurityGroup",
        lambda w: {"name": w.name, "description": "database", "vpcId": w.vpc.id, "tags": TAGS},
        lambda w: {"tags": MORE_TAGS},
        same=lambda w: {"revokeRulesOnDelete": False},
        replaced={"name": "another", "description": "another", "vpcId": "vpc-0123"},
    ),
    Case(
        "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
        lambda w: {"vpcId": w.vpc.id, "tags": TAGS},
        lambda w: {"tags": MORE_TAGS},
        replaced={"vpcId": "vpc-0123"},
        stays=True,
    ),
    Case(
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        lambda w: _rule(w, referencedSecurityGroupId=w.group("app").id),
        lambda w: {"fromPort": 5433, "toPort": 5433, "description": "another port", "tags": MORE_TAGS},
        same=lambda w: {"fromPort": "5432"},
        replaced={"securityGroupId": "sg-0123"},
        forgotten=frozenset({"description"}),
    ),
    Case(
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
        lambda w: _rule(w, cidrIpv4="10.20.0.0/16"),
        lambda w: {"cidrIpv4": "10.20.0.0/19", "tags": MORE_TAGS},
        replaced={"securityGroupId": "sg-0123"},
        forgotten=frozenset({"description"}),
    ),
    Case(
        "aws:cloudwatch/logGroup:LogGroup",
        lambda w: {"name": f"/{w.name}", "retentionInDays": 30, "kmsKeyId": w.key.outputs["arn"], "tags": TAGS},
        lambda w: {"retentionInDays": 90, "tags": MORE_TAGS},
        same=lambda w: {"retentionInDays": "30", "skipDestroy": False},
        replaced={"name": "/another", "logGroupClass": "INFREQUENT_ACCESS"},
    ),
    Case(
        "aws:cloudwatch/metricAlarm:MetricAlarm",
        lambda w: {
            "name": w.name,
            "comparisonOperator": "GreaterThanThreshold",
            "evaluationPeriods": 3,
            "metricName": "CPUUtilization",
            "namespace": "AWS/RDS",
            "period": 300,
            "statistic": "Average",
            "threshold": 80,
            "dimensions": {"DBInstanceIdentifier": w.name},
            "alarmActions": [w.topic.id],
            "tags": TAGS,
        },
        lambda w: {"threshold": 90, "evaluationPeriods": 2, "alarmDescription": "hot", "tags": MORE_TAGS},
        same=lambda w: {"threshold": "80", "actionsEnabled": True},
        replaced={"name": "another"},
    ),
    Case(
        "aws:cloudwatch/eventRule:EventRule",
        lambda w: {"name": w.name, "eventPattern": json.dumps({"source": ["aws.kms"]}), "tags": TAGS},
        lambda w: {
            "eventPattern": json.dumps({"source": ["aws.kms", "aws.s3"], "detail": {"$or": [{"a": ["b"]}]}}),
            "description": "keys and buckets",
            "state": "DISABLED",
            "tags": MORE_TAGS,
        },
        same=lambda w: {"eventPattern": '{ "source" : [ "aws.kms" ] }', "state": "ENABLED"},
        replaced={"name": "another"},
    ),
    Case(
        "aws:cloudwatch/eventTarget:EventTarget",
        lambda w: {"rule": w.event_rule.id, "targetId": "log", "arn": w.topic.id},
        lambda w: {"inputPath": "$.detail"},
        same=lambda w: {"eventBusName": "default"},
        replaced={"rule": "another", "targetId": "another"},
        import_id=lambda resource: f"{resource.outputs['rule']}/{resource.outputs['targetId']}",
    ),
    Case(
        "aws:cloudwatch/logResourcePolicy:LogResourcePolicy",
        lambda w: {
            "policyName": w.name,
            "policyDocument": document("logs:PutLogEvents", principal={"Service": "events.amazonaws.com"}),
        },
        lambda w: {
            "policyDocument": document(
                "logs:PutLogEvents", "logs:CreateLogStream", principal={"Service": "events.amazonaws.com"}
            )
        },
        same=lambda w: {
            "policyDocument": _reordered(document("logs:PutLogEvents", principal={"Service": "events.amazonaws.com"}))
        },
        replaced={"policyName": "another"},
    ),
    Case(
        "aws:sns/topic:Topic",
        lambda w: {"name": w.name, "kmsMasterKeyId": w.key.id, "tags": TAGS},
        lambda w: {"displayName": "alarms", "tags": MORE_TAGS},
        same=lambda w: {"fifoTopic": False},
        replaced={"name": "another"},
    ),
    Case(
        "aws:sns/topicPolicy:TopicPolicy",
        lambda w: {"arn": w.topic.id, "policy": document("sns:Publish", resource=w.topic.id, principal=ROOT)},
        lambda w: {"policy": document("sns:Publish", "sns:Subscribe", resource=w.topic.id, principal=ROOT)},
        same=lambda w: {"policy": _reordered(document("sns:Publish", resource=w.topic.id, principal=ROOT))},
        replaced={"arn": f"arn:aws:sns:{REGION}:{ACCOUNT}:another"},
    ),
    Case(
        "aws:sns/topicSubscription:TopicSubscription",
        lambda w: {"topic": w.topic.id, "protocol": "sqs", "endpoint": w.queue.outputs["arn"]},
        lambda w: {"rawMessageDelivery": True},
        same=lambda w: {"rawMessageDelivery": False},
        replaced={"endpoint": f"arn:aws:sqs:{REGION}:{ACCOUNT}:another", "topic": f"arn:aws:sns:{REGION}:{ACCOUNT}:a"},
    ),
    Case(
        "aws:sqs/queue:Queue",
        lambda w: {"name": w.name, "kmsMasterKeyId": w.key.id, "tags": TAGS},
        lambda w: {"visibilityTimeoutSeconds": 60, "messageRetentionSeconds": 3600, "tags": MORE_TAGS},
        same=lambda w: {"visibilityTimeoutSeconds": "30"},
        replaced={"name": "another"},
    ),
    Case(
        "aws:sqs/queuePolicy:QueuePolicy",
        lambda w: {
            "queueUrl": w.queue.id,
            "policy": document("sqs:SendMessage", resource=w.queue.outputs["arn"], principal=ROOT),
        },
        lambda w: {"policy": document("sqs:*", resource=w.queue.outputs["arn"], principal=ROOT)},
        replaced={"queueUrl": "http://another"},
    ),
    Case(
        "aws:ssm/parameter:Parameter",
        lambda w: {"name": f"/{w.name}", "type": "SecureString", "value": "hunter-2", "tags": TAGS},
        lambda w: {"value": "hunter-3", "description": "a password", "tags": MORE_TAGS},
        same=lambda w: {"overwrite": False},
        replaced={"name": "/another"},
    ),
    Case(
        "aws:secretsmanager/secret:Secret",
        lambda w: {"name": f"{w.name}/login", "kmsKeyId": w.key.outputs["arn"], "tags": TAGS},
        lambda w: {
            "description": "a login",
            "kmsKeyId": w.other_key.outputs["arn"],
            "recoveryWindowInDays": 7,
            "policy": document("secretsmanager:GetSecretValue", principal=ROOT),
            "tags": MORE_TAGS,
        },
        same=lambda w: {"recoveryWindowInDays": "30"},
        replaced={"name": "another"},
    ),
    Case(
        "aws:secretsmanager/secretVersion:SecretVersion",
        lambda w: {"secretId": w.secret.id, "secretString": "hunter-2"},
        lambda w: {"versionStages": ["AWSCURRENT", "blessed"]},
        replaced={"secretString": "hunter-3", "secretId": "another"},
        stays=True,  # the current version goes with its secret
    ),
    Case(
        "aws:secretsmanager/secretPolicy:SecretPolicy",
        lambda w: {"secretArn": w.secret.id, "policy": document("secretsmanager:GetSecretValue", principal=ROOT)},
        lambda w: {"policy": document("secretsmanager:*", principal=ROOT)},
        same=lambda w: {"policy": _reordered(document("secretsmanager:GetSecretValue", principal=ROOT))},
        replaced={"secretArn": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:another"},
    ),
    Case(
        "aws:rds/subnetGroup:SubnetGroup",
        lambda w: {"name": w.name, "subnetIds": [w.subnet(0).id, w.subnet(1).id], "tags": TAGS},
        lambda w: {
            "subnetIds": [w.subnet(0).id, w.subnet(1).id, w.subnet(2).id],
            "description": "private",
            "tags": MORE_TAGS,
        },
        same=lambda w: {"subnetIds": [w.subnet(1).id, w.subnet(0).id]},
        replaced={"name": "another"},
    ),
    Case(
        "aws:rds/parameterGroup:ParameterGroup",
        lambda w: {
            "name": w.name,
            "family": "postgres17",
            "parameters": [
                {"name": "log_statement", "value": "ddl"},
                {"name": "rds.logical_replication", "value": "1", "applyMethod": "pending-reboot"},
            ],
            "tags": TAGS,
        },
        lambda w: {
            "parameters": [{"name": "log_statement", "value": "mod"}, {"name": "log_lock_waits", "value": "1"}],
            "tags": MORE_TAGS,
        },
        same=lambda w: {
            "parameters": [
                {"name": "rds.logical_replication", "value": "1", "applyMethod": "pending-reboot"},
                {"name": "log_statement", "value": "ddl", "applyMethod": "immediate"},
            ]
        },
        replaced={"name": "another", "family": "postgres18", "description": "another"},
    ),
    Case(
        "aws:rds/instance:Instance",
        lambda w: instance(
            w,
            dbSubnetGroupName=w.subnet_group.id,
            parameterGroupName=w.parameter_group.id,
            vpcSecurityGroupIds=[w.group().id],
            enabledCloudwatchLogsExports=["postgresql"],
        ),
        lambda w: {
            "instanceClass": "db.m7g.large",
            "allocatedStorage": 30,
            "deletionProtection": False,
            "backupRetentionPeriod": 14,
            "enabledCloudwatchLogsExports": ["postgresql", "upgrade"],
            "masterUserSecretKmsKeyId": w.other_key.outputs["arn"],
            "applyImmediately": True,
            "tags": MORE_TAGS,
        },
        same=lambda w: {"allocatedStorage": "20", "publiclyAccessible": False, "storageEncrypted": "true"},
        replaced={
            "availabilityZone": f"{REGION}c",
            "dbName": "another",
            "kmsKeyId": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/another",
            "storageEncrypted": False,
            "username": "another",
        },
        import_id=lambda r: str(r.outputs["identifier"]),
    ),
    Case(
        "aws:rds/instanceDesiredState:InstanceDesiredState",
        lambda w: {"identifier": w.database_instance.outputs["identifier"], "state": "stopped"},
        lambda w: {"state": "available"},
        replaced={"identifier": "another"},
        stays=True,
    ),
)


def _encryption(key: str) -> list[Inputs]:
    default = {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": key}
    return [{"applyServerSideEncryptionByDefault": default, "bucketKeyEnabled": True}]


def _expiry(days: int) -> Inputs:
    return {"id": "old", "status": "Enabled", "filter": {"prefix": ""}, "expiration": {"days": days}}


def _log_bucket(world: World) -> str:
    name = f"{world.name}-logs"
    world.make("aws:s3/bucket:Bucket", {"bucket": name}, "logs")
    # S3's log delivery must be let in.
    api = world.api("s3")
    delivery = {"Service": "logging.s3.amazonaws.com"}
    api.put_bucket_policy(
        Bucket=name, Policy=document("s3:PutObject", resource=f"arn:aws:s3:::{name}/*", principal=delivery)
    )
    return name


def _gateway(world: World) -> str:
    ec2 = world.api("ec2")
    gateway: str = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=world.vpc.id)
    return gateway
