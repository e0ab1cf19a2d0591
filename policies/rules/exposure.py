"""No database, bucket, policy or function of a tenant is open to everybody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from policies.documents import Malformed, statements
from policies.grants import leaves_open, public
from policies.model import Facts, Resource, Rule, Severity, Stack, each_resource
from policies.references import cis, saas_lens, soc2
from policies.relations import BUCKETS, parts_of
from policies.values import Properties, is_on, is_present, is_unknown

_BLOCKS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
_BLOCK_TYPE = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
_PUBLIC_ACLS = frozenset({"public-read", "public-read-write", "authenticated-read"})
_ALL_USERS = (
    "http://acs.amazonaws.com/groups/global/AllUsers",
    "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
)


def _database(resource: Resource, facts: Facts) -> Iterator[str]:
    if is_on(resource.properties.get("publiclyAccessible")):
        yield "the database has a public address"
    if "all" in (resource.properties.get("sharedAccounts") or ()):
        yield "the snapshot is shared with every account"


def _public_access_block(resource: Resource, facts: Facts) -> Iterator[str]:
    missing = [name for name in _BLOCKS if not is_on(resource.properties.get(name))]
    if missing:
        yield f"the public access block lacks {', '.join(missing)}"


def _bucket_without_block(bucket: Resource, stack: Stack, facts: Facts) -> Iterator[str]:
    if not any(parts_of(stack, bucket, "bucket", ("bucket", "arn"), _BLOCK_TYPE)):
        yield "nothing in the stack blocks public access to the bucket"


def _acl(resource: Resource, facts: Facts) -> Iterator[str]:
    properties = resource.properties
    if properties.get("acl") in _PUBLIC_ACLS:
        yield f"its access control list is the public one {properties['acl']!r}"
    access = properties.get("accessControlPolicy") or {}
    for grant in [*(access.get("grants") or []), *(properties.get("grants") or [])]:
        if (grant.get("uri") or (grant.get("grantee") or {}).get("uri")) in _ALL_USERS:
            yield "its access control list grants everybody something"


#: Type: the property with a policy of the resource's own.
POLICIES_OF_RESOURCES: Mapping[str, str] = {
    "aws:s3/bucketPolicy:BucketPolicy": "policy",
    "aws:s3/bucket:Bucket": "policy",
    "aws:s3/bucketV2:BucketV2": "policy",
    "aws:s3/accessPoint:AccessPoint": "policy",
    "aws:sns/topic:Topic": "policy",
    "aws:sns/topicPolicy:TopicPolicy": "policy",
    "aws:sqs/queue:Queue": "policy",
    "aws:sqs/queuePolicy:QueuePolicy": "policy",
    "aws:secretsmanager/secret:Secret": "policy",
    "aws:secretsmanager/secretPolicy:SecretPolicy": "policy",
    "aws:kms/key:Key": "policy",
    "aws:kms/keyPolicy:KeyPolicy": "policy",
    "aws:kms/replicaKey:ReplicaKey": "policy",
    "aws:ecr/repositoryPolicy:RepositoryPolicy": "policy",
    "aws:efs/fileSystemPolicy:FileSystemPolicy": "policy",
    "aws:backup/vaultPolicy:VaultPolicy": "policy",
    "aws:opensearch/domainPolicy:DomainPolicy": "accessPolicies",
    "aws:dynamodb/resourcePolicy:ResourcePolicy": "policy",
    "aws:cloudwatch/eventBusPolicy:EventBusPolicy": "policy",
    "aws:iam/role:Role": "assumeRolePolicy",
}


def _resource_policy(resource: Resource, facts: Facts) -> Iterator[str]:
    if resource.type == "aws:lambda/permission:Permission":
        yield from _function_permission(resource)
        return
    name = POLICIES_OF_RESOURCES[resource.type]
    if not is_present(resource.properties, name):
        return
    try:
        found = statements(resource.properties[name])
    except Malformed as wrong:
        yield f"its {name} {wrong}"
        return
    for each in found:
        if public(each):
            yield f"its {name} allows everybody something ({each.name})"


def _function_permission(resource: Resource) -> Iterator[str]:
    properties = resource.properties
    if properties.get("principal") == "*" and not any(_names_caller(properties, each) for each in _NARROWING):
        yield "it lets everybody invoke the function"


#: Property of a function's permission: the condition that AWS makes of it.
_NARROWING = {
    "sourceAccount": "aws:sourceaccount",
    "sourceArn": "aws:sourcearn",
    "principalOrgId": "aws:principalorgid",
}


def _names_caller(properties: Properties, name: str) -> bool:
    value = properties.get(name)
    return is_present(properties, name) and (is_unknown(value) or not leaves_open(_NARROWING[name], str(value)))


def _function_url(resource: Resource, facts: Facts) -> Iterator[str]:
    if resource.properties.get("authorizationType") == "NONE":
        yield "the function's URL asks for no credentials"


RULES: tuple[Rule, ...] = (
    Rule(
        id="exposure-database",
        title="A database has no public address, and its snapshots are not public",
        severity=Severity.CRITICAL,
        remediation='Set publiclyAccessible to false; name accounts in sharedAccounts instead of "all"',
        types=frozenset(
            {
                "aws:rds/instance:Instance",
                "aws:rds/cluster:Cluster",
                "aws:rds/clusterInstance:ClusterInstance",
                "aws:redshift/cluster:Cluster",
                "aws:dms/replicationInstance:ReplicationInstance",
                "aws:mq/broker:Broker",
                "aws:rds/clusterSnapshotCopy:ClusterSnapshotCopy",
                "aws:rds/snapshot:Snapshot",
                "aws:rds/snapshotCopy:SnapshotCopy",
                "aws:redshiftserverless/workgroup:Workgroup",
            }
        ),
        resource=_database,
        references=(*cis("2.3.3", "2.2.3"), *soc2("CC6.1", "CC6.6")),
    ),
    Rule(
        id="exposure-bucket",
        title="A public access block blocks in all four ways",
        severity=Severity.CRITICAL,
        remediation="Set all four properties to true",
        types=frozenset({_BLOCK_TYPE, "aws:s3/accountPublicAccessBlock:AccountPublicAccessBlock"}),
        resource=_public_access_block,
        references=(*cis("2.1.4", "2.1.4"), *soc2("CC6.1", "CC6.6")),
    ),
    Rule(
        id="exposure-bucket-block",
        title="Every bucket has a public access block",
        severity=Severity.HIGH,
        remediation="Add a BucketPublicAccessBlock that names the bucket, all four properties true",
        stack=each_resource(BUCKETS, _bucket_without_block),
        references=(*cis("2.1.4", "2.1.4"), *soc2("CC6.1", "CC6.6")),
    ),
    Rule(
        id="exposure-bucket-acl",
        title="No bucket or object has a public access control list",
        severity=Severity.CRITICAL,
        remediation="Set object ownership BucketOwnerEnforced and drop the access control list",
        types=frozenset(
            {
                *BUCKETS,
                "aws:s3/bucketAcl:BucketAcl",
                "aws:s3/bucketAclV2:BucketAclV2",
                "aws:s3/bucketObject:BucketObject",
                "aws:s3/bucketObjectv2:BucketObjectv2",
            }
        ),
        resource=_acl,
        references=(*soc2("CC6.1", "CC6.6"), *saas_lens("SaaS SEC 2")),
    ),
    Rule(
        id="exposure-resource-policy",
        title="No policy of a bucket, key, secret, topic, queue or role allows everybody something",
        severity=Severity.CRITICAL,
        remediation="Name principals, or require aws:PrincipalOrgID, aws:PrincipalAccount, aws:SourceArn or the like",
        types=frozenset({*POLICIES_OF_RESOURCES, "aws:lambda/permission:Permission"}),
        resource=_resource_policy,
        references=(*soc2("CC6.1", "CC6.6"), *saas_lens("SaaS SEC 2")),
    ),
    Rule(
        id="exposure-function-url",
        title="A function's URL asks for credentials",
        severity=Severity.HIGH,
        remediation="Set authorizationType to AWS_IAM",
        types=frozenset({"aws:lambda/functionUrl:FunctionUrl"}),
        resource=_function_url,
        references=soc2("CC6.1", "CC6.6"),
    ),
)
