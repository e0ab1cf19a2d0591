"""Cases of the rules on data: encryption, exposure, transport."""

from __future__ import annotations

from typing import Any

from tests.unit.policies.stacks import Case, R, allow, one, policy, r, unknown

BUCKET = "aws:s3/bucket:Bucket"
BUCKET_V2 = "aws:s3/bucketV2:BucketV2"
SSE = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
BLOCK = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
BUCKET_POLICY = "aws:s3/bucketPolicy:BucketPolicy"
INSTANCE = "aws:rds/instance:Instance"
CLUSTER = "aws:rds/cluster:Cluster"
KEY = "aws:kms/key:Key"
TABLE = "aws:dynamodb/table:Table"
TOPIC = "aws:sns/topic:Topic"
QUEUE = "aws:sqs/queue:Queue"
ARN = "arn:aws:kms:us-east-1:111122223333:key/0d1e"
ALL_FOUR: dict[str, Any] = dict.fromkeys(
    ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"), True
)
ENCRYPTED: dict[str, Any] = {"storageEncrypted": True, "kmsKeyId": ARN}


def sse(algorithm: str, key: str | None) -> dict[str, Any]:
    return {"applyServerSideEncryptionByDefault": {"sseAlgorithm": algorithm, "kmsMasterKeyId": key}}


def only_tls(resource: Any, action: Any = "s3:*", **changed: Any) -> str:
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": resource,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return policy(statement | changed)


BOTH = ["arn:aws:s3:::{case}-b", "arn:aws:s3:::{case}-b/*"]


def bucket_with(document: Any, type_: str = BUCKET) -> tuple[R, ...]:
    return (r(type_, "b", bucket="{case}-b"), r(BUCKET_POLICY, "p", bucket="{case}-b", policy=document))


def topic_with(document: Any) -> tuple[R, ...]:
    return (r(TOPIC, "t", policy=document),)


ENCRYPTION = [
    Case(
        "encryption-database",
        keeps=(
            *one(INSTANCE, ENCRYPTED, {"replicateSourceDb": "primary"}),
            *one(INSTANCE, {**ENCRYPTED, "manageMasterUserPassword": True, "masterUserSecretKmsKeyId": ARN}),
            *one(CLUSTER, ENCRYPTED),
            *unknown(INSTANCE, ENCRYPTED, "kmsKeyId"),
        ),
        breaks=(
            *one(INSTANCE, {"storageEncrypted": True}, {"kmsKeyId": ARN}, {**ENCRYPTED, "kmsKeyId": "alias/aws/rds"}),
            *one(INSTANCE, {**ENCRYPTED, "manageMasterUserPassword": True}),
            *one(INSTANCE, {**ENCRYPTED, "performanceInsightsEnabled": True}),
            *one(CLUSTER, {}),
        ),
        undecided=unknown(INSTANCE, ENCRYPTED, "storageEncrypted"),
    ),
    Case(
        "encryption-bucket",
        keeps=one(SSE, {"bucket": "{case}", "rules": [sse("aws:kms", ARN)]}, {"rules": [sse("aws:kms:dsse", ARN)]}),
        breaks=one(
            SSE,
            {"rules": [sse("AES256", None)]},
            {"rules": [sse("aws:kms", None)]},
            {"rules": [sse("aws:kms", "alias/aws/s3")]},
            {"rules": [sse("aws:kms", ARN), sse("AES256", None)]},
            {},
        ),
        undecided=unknown(SSE, {}, "rules"),
    ),
    Case(
        "encryption-bucket-configured",
        keeps=(
            (r(BUCKET, "b", bucket="{case}-b"), r(SSE, "e", bucket="{case}-b", rules=[sse("aws:kms", ARN)])),
            (r(BUCKET_V2, "b"), r(SSE, "e", refs={"bucket": "b"}, rules=[sse("aws:kms", ARN)])),
            (r(BUCKET, "b", serverSideEncryptionConfiguration={"rule": sse("aws:kms", ARN)}),),
        ),
        breaks=(
            (r(BUCKET, "b", bucket="{case}-b"), r(SSE, "e", bucket="{case}-other", rules=[sse("aws:kms", ARN)])),
            (r(BUCKET_V2, "b"),),
            (r(BUCKET, "b", serverSideEncryptionConfiguration={"rule": sse("AES256", None)}),),
        ),
        undecided=unknown(BUCKET, {}, "serverSideEncryptionConfiguration"),
    ),
    Case(
        "encryption-key-rotation",
        keeps=one(KEY, {"enableKeyRotation": True}, {"customerMasterKeySpec": "RSA_2048"}),
        breaks=one(KEY, {"enableKeyRotation": False}, {}, {"enableKeyRotation": True, "rotationPeriodInDays": 800}),
        undecided=unknown(KEY, {}, "enableKeyRotation"),
    ),
    *(
        Case(
            rule,
            keeps=(*one(type_, {name: ARN}), *unknown(type_, {}, name)),
            breaks=one(type_, {}, {name: ""}, {name: "alias/aws/it"}),
        )
        for rule, type_, name in (
            ("encryption-secret", "aws:secretsmanager/secret:Secret", "kmsKeyId"),
            ("encryption-log-group", "aws:cloudwatch/logGroup:LogGroup", "kmsKeyId"),
            ("encryption-topic", TOPIC, "kmsMasterKeyId"),
            ("encryption-queue", QUEUE, "kmsMasterKeyId"),
        )
    ),
    Case(
        "encryption-storage",
        keeps=(
            *one("aws:ebs/volume:Volume", {"encrypted": True, "kmsKeyId": ARN}),
            *one(TABLE, {"serverSideEncryption": {"enabled": True, "kmsKeyArn": ARN}}),
            *one("aws:ecr/repository:Repository", {"encryptionConfigurations": [{"kmsKey": ARN}]}),
            *one("aws:redshift/cluster:Cluster", {"encrypted": "true", "kmsKeyId": ARN}),
        ),
        breaks=(
            *one("aws:ebs/volume:Volume", {"encrypted": True}, {"kmsKeyId": ARN}),
            *one("aws:efs/fileSystem:FileSystem", {}),
            *one("aws:kinesis/stream:Stream", {}),
            *one(TABLE, {}, {"serverSideEncryption": {"enabled": True}}),
            *one("aws:ecr/repository:Repository", {}),
        ),
        undecided=unknown("aws:ebs/volume:Volume", {"kmsKeyId": ARN}, "encrypted"),
    ),
]

OPEN = allow("s3:GetObject", "*", principal="*")
EXPOSURE = [
    Case(
        "exposure-database",
        keeps=one(INSTANCE, {"publiclyAccessible": False}, {}),
        breaks=(
            *one(INSTANCE, {"publiclyAccessible": True}),
            *one("aws:rds/clusterInstance:ClusterInstance", {"publiclyAccessible": True}),
        ),
        undecided=unknown(INSTANCE, {}, "publiclyAccessible"),
    ),
    Case(
        "exposure-bucket",
        keeps=one(BLOCK, ALL_FOUR),
        breaks=(
            *one(BLOCK, *({**ALL_FOUR, name: False} for name in ALL_FOUR), {}),
            *one("aws:s3/accountPublicAccessBlock:AccountPublicAccessBlock", {}),
        ),
        undecided=unknown(BLOCK, ALL_FOUR, *ALL_FOUR),
    ),
    Case(
        "exposure-bucket-block",
        keeps=(
            (r(BUCKET, "b", bucket="{case}-b"), r(BLOCK, "p", bucket="{case}-b", **ALL_FOUR)),
            (r(BUCKET, "b"), r(BLOCK, "p", refs={"bucket": "b"}, **ALL_FOUR)),
        ),
        breaks=(
            (r(BUCKET, "b", bucket="{case}-b"), r(BLOCK, "p", bucket="{case}-c", **ALL_FOUR)),
            (r(BUCKET_V2, "b"),),
        ),
    ),
    Case(
        "exposure-bucket-acl",
        keeps=one("aws:s3/bucketAcl:BucketAcl", {"acl": "private"}),
        breaks=(
            *one("aws:s3/bucketAcl:BucketAcl", {"acl": "public-read"}),
            *one("aws:s3/bucketAclV2:BucketAclV2", {"acl": "authenticated-read"}),
            *one(BUCKET, {"acl": "public-read-write"}),
            *one("aws:s3/bucketObjectv2:BucketObjectv2", {"acl": "public-read"}),
            *one(
                "aws:s3/bucketAcl:BucketAcl",
                {
                    "accessControlPolicy": {
                        "grants": [{"grantee": {"uri": "http://acs.amazonaws.com/groups/global/AllUsers"}}]
                    }
                },
            ),
        ),
        undecided=unknown("aws:s3/bucketAcl:BucketAcl", {}, "acl"),
    ),
    Case(
        "exposure-resource-policy",
        keeps=(
            *one(
                BUCKET_POLICY,
                {"policy": policy(allow("s3:GetObject", "*", principal={"AWS": "arn:aws:iam::111122223333:root"}))},
                {"policy": policy({**OPEN, "Effect": "Deny"})},
                {"policy": policy({**OPEN, "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}})},
                {"policy": policy({**OPEN, "Principal": {"Service": "sns.amazonaws.com"}})},
            ),
            *one(TOPIC, {}),
            *one("aws:lambda/permission:Permission", {"principal": "*", "principalOrgId": "o-1"}),
        ),
        breaks=(
            *one(
                BUCKET_POLICY,
                {"policy": policy(OPEN)},
                {"policy": {"statement": {"effect": "allow", "principal": {"AWS": ["*"]}, "action": "s3:*"}}},
                {"policy": policy({**OPEN, "Condition": {"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}}})},
                {"policy": policy({**OPEN, "Condition": {"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-1"}}})},
                {"policy": policy({**OPEN, "Condition": {"StringLike": {"aws:PrincipalArn": "*"}}})},
                {"policy": policy({**OPEN, "Condition": {"Bool": {"aws:SecureTransport": "true"}}})},
                {"policy": policy(allow("s3:*", "*") | {"NotPrincipal": {"AWS": "arn:aws:iam::111122223333:root"}})},
                {"policy": "{not json"},
                {"policy": '{"Statement": [{"Effect": "Allow", "Effect": "Deny", "Action": "*"}]}'},
                {"policy": policy({"Effect": "Allow", "Acton": "*"})},
            ),
            *one(QUEUE, {"policy": policy({**OPEN, "Action": "sqs:*"})}),
            *one(KEY, {"policy": policy({**OPEN, "Action": "kms:*"})}),
            *one("aws:secretsmanager/secretPolicy:SecretPolicy", {"policy": policy(OPEN)}),
            *one("aws:iam/role:Role", {"assumeRolePolicy": policy(allow("sts:AssumeRole", principal={"AWS": "*"}))}),
            *one("aws:lambda/permission:Permission", {"principal": "*"}),
        ),
        undecided=unknown(BUCKET_POLICY, {}, "policy"),
    ),
    Case(
        "exposure-function-url",
        keeps=one("aws:lambda/functionUrl:FunctionUrl", {"authorizationType": "AWS_IAM"}),
        breaks=one("aws:lambda/functionUrl:FunctionUrl", {"authorizationType": "NONE"}),
        undecided=unknown("aws:lambda/functionUrl:FunctionUrl", {}, "authorizationType"),
    ),
]

GROUP = "aws:rds/parameterGroup:ParameterGroup"
LISTENER = "aws:lb/listener:Listener"
TRANSPORT = [
    Case(
        "exposure-database-tls",
        keeps=one(
            GROUP,
            {"family": "postgres17", "parameters": [{"name": "rds.force_ssl", "value": "1"}]},
            {"family": "mysql8.4", "parameters": [{"name": "require_secure_transport", "value": "ON"}]},
            {"family": "oracle-ee-19"},
        ),
        breaks=(
            *one(
                GROUP,
                {"family": "postgres17", "parameters": []},
                {"family": "postgres17", "parameters": [{"name": "rds.force_ssl", "value": "0"}]},
                {"family": "mariadb11.4"},
            ),
            *one("aws:rds/clusterParameterGroup:ClusterParameterGroup", {"family": "aurora-postgresql17"}),
        ),
        undecided=unknown(GROUP, {"family": "postgres17"}, "parameters"),
    ),
    Case(
        "transport-bucket",
        keeps=(
            bucket_with(only_tls(BOTH)),
            bucket_with(only_tls("*")),
            (r(BUCKET, "b"), r(BUCKET_POLICY, "p", refs={"bucket": "b"}, policy=only_tls(BOTH))),
        ),
        breaks=(
            (r(BUCKET, "b", bucket="{case}-b"),),
            bucket_with(only_tls(BOTH[0])),
            bucket_with(only_tls(BOTH[1])),
            bucket_with(only_tls(BOTH, action="s3:GetObject")),
            bucket_with(only_tls(BOTH, Principal={"AWS": "arn:aws:iam::111122223333:root"})),
            bucket_with(only_tls(BOTH, Condition={"Bool": {"aws:SecureTransport": "true"}})),
            bucket_with(
                only_tls(
                    BOTH, Condition={"Bool": {"aws:SecureTransport": "false"}, "StringEquals": {"aws:userid": "x"}}
                )
            ),
            bucket_with(only_tls(BOTH, Effect="Allow")),
            bucket_with("no document"),
        ),
        undecided=((r(BUCKET, "b"), r(BUCKET_POLICY, "p", refs={"bucket": "b", "policy": "b"})),),
    ),
    Case(
        "transport-topic",
        keeps=(topic_with(only_tls("*", "sns:Publish")),),
        breaks=(topic_with(policy(allow("sns:Publish", "*", principal={"Service": "s3.amazonaws.com"}))), (r(TOPIC),)),
        undecided=unknown(TOPIC, {}, "policy"),
    ),
    Case(
        "transport-queue",
        keeps=(
            (r(QUEUE, "q", policy=only_tls("*", "sqs:*")),),
            (
                r(QUEUE, "q"),
                r("aws:sqs/queuePolicy:QueuePolicy", "p", refs={"queueUrl": "q"}, policy=only_tls("*", "*")),
            ),
        ),
        breaks=((r(QUEUE, "q"),), (r(QUEUE, "q", policy=only_tls("*", "sqs:SendMessage")),)),
        undecided=unknown(QUEUE, {}, "policy"),
    ),
    Case(
        "transport-listener",
        keeps=one(
            LISTENER,
            {"protocol": "HTTPS"},
            {
                "protocol": "HTTP",
                "defaultActions": [{"type": "redirect", "redirect": {"protocol": "HTTPS", "statusCode": "HTTP_301"}}],
            },
        ),
        breaks=one(LISTENER, {"protocol": "HTTP", "defaultActions": [{"type": "forward"}]}, {"protocol": "HTTP"}),
        undecided=unknown(LISTENER, {}, "protocol"),
    ),
    Case(
        "transport-cache",
        keeps=one("aws:elasticache/replicationGroup:ReplicationGroup", {"transitEncryptionEnabled": True}),
        breaks=one("aws:elasticache/replicationGroup:ReplicationGroup", {}),
        undecided=unknown("aws:elasticache/replicationGroup:ReplicationGroup", {}, "transitEncryptionEnabled"),
    ),
    Case(
        "transport-search-domain",
        keeps=one("aws:opensearch/domain:Domain", {"domainEndpointOptions": {"enforceHttps": True}}),
        breaks=one("aws:opensearch/domain:Domain", {}, {"domainEndpointOptions": {"enforceHttps": False}}),
        undecided=unknown("aws:opensearch/domain:Domain", {}, "domainEndpointOptions"),
    ),
]

CASES = (*ENCRYPTION, *EXPOSURE, *TRANSPORT)
