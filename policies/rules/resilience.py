"""What is lost can be brought back, and production survives the loss of a zone."""

from __future__ import annotations

from collections.abc import Iterator

from policies.model import Facts, Parameter, Resource, Rule, Severity, Stack, each_resource
from policies.references import cis, saas_lens, soc2
from policies.relations import BUCKETS, DATABASES, environment_of, is_copy, parts_of
from policies.values import CannotTell, is_on, is_present, is_unknown

_VERSIONING = (
    "aws:s3/bucketVersioning:BucketVersioning",
    "aws:s3/bucketVersioningV2:BucketVersioningV2",
)
_CLUSTERS = ("aws:rds/cluster:Cluster", "aws:docdb/cluster:Cluster", "aws:neptune/cluster:Cluster")
_SNAPSHOTS = frozenset({"aws:rds/instance:Instance", *_CLUSTERS, "aws:redshift/cluster:Cluster"})
_STATEFUL = frozenset(
    {*DATABASES, *BUCKETS, "aws:kms/key:Key", "aws:secretsmanager/secret:Secret", "aws:dynamodb/table:Table"}
)


def _backup(resource: Resource, facts: Facts) -> Iterator[str]:
    properties = resource.properties
    if is_copy(properties):
        return
    if resource.type == "aws:dynamodb/table:Table":
        if not is_on((properties.get("pointInTimeRecovery") or {}).get("enabled")):
            yield "the table can't be brought back to a point in time"
        return
    # A cluster keeps a day's backups if it isn't told otherwise, an instance none.
    days = int(properties.get("backupRetentionPeriod") or (0 if resource.type == "aws:rds/instance:Instance" else 1))
    production = environment_of(resource, facts) == "production"
    wanted = facts.parameters["production_days" if production else "days"]
    if days < wanted:
        yield f"backups are kept for {days} days, not {wanted}"


def _deletion_protection(resource: Resource, facts: Facts) -> Iterator[str]:
    properties = resource.properties
    if not facts.protects or is_copy(properties):
        return
    name = "deletionProtectionEnabled" if resource.type == "aws:dynamodb/table:Table" else "deletionProtection"
    if not is_on(properties.get(name)):
        yield f"it can be deleted by one call ({name})"


def _protect(resource: Resource, facts: Facts) -> Iterator[str]:
    if facts.spec is not None and facts.protects and not resource.protect:
        yield "Pulumi does not protect it: an update that replaces it destroys its data"


def _final_snapshot(resource: Resource, facts: Facts) -> Iterator[str]:
    properties = resource.properties
    if is_copy(properties):
        return
    if facts.tenant is not None and not facts.tenant.final_snapshot and not facts.protects:
        return  # an offboarding that was authorised to leave nothing
    if is_on(properties.get("skipFinalSnapshot")):
        yield "its deletion leaves no final snapshot"
    if is_on(properties.get("deleteAutomatedBackups")):
        yield "its deletion takes its automated backups along"


def _recoverable(resource: Resource, facts: Facts) -> Iterator[str]:
    properties = resource.properties
    if not facts.protects:
        return
    if resource.type in BUCKETS and is_on(properties.get("forceDestroy")):
        yield "its deletion takes along whatever the bucket holds"
    if resource.type == "aws:secretsmanager/secret:Secret" and str(properties.get("recoveryWindowInDays")) in (
        "0",
        "0.0",
    ):
        yield "its deletion can't be taken back, not for a day"
    if resource.type == "aws:kms/key:Key":
        days = properties.get("deletionWindowInDays")
        if environment_of(resource, facts) == "production" and days is not None and days < facts.parameters["key_days"]:
            yield f"the key's deletion can be taken back for {days:.0f} days, not {facts.parameters['key_days']}"


def _multi_az(resource: Resource, facts: Facts) -> Iterator[str]:
    properties = resource.properties
    if is_copy(properties) or str(properties.get("engine")).startswith("aurora"):
        return
    if environment_of(resource, facts) not in facts.parameters["environments"]:
        return
    name = "automaticFailoverEnabled" if "elasticache" in resource.type else "multiAz"
    if not is_on(properties.get(name)):
        yield f"it has no standby in a second Availability Zone ({name})"


def _cluster_members(cluster: Resource, stack: Stack, facts: Facts) -> Iterator[str]:
    if environment_of(cluster, facts) not in facts.parameters["environments"]:
        return
    if is_present(cluster.properties, "dbClusterInstanceClass"):
        return  # a Multi-AZ DB cluster has three instances of itself
    members = cluster.type.replace("cluster:Cluster", "clusterInstance:ClusterInstance")
    identifiers = ("clusterIdentifier",)
    if len([*parts_of(stack, cluster, "clusterIdentifier", identifiers, members)]) < 2:
        yield "the cluster has no second instance to fail over to"


def _zones(group: Resource, stack: Stack, facts: Facts) -> Iterator[str]:
    if environment_of(group, facts) not in facts.parameters["environments"]:
        return
    subnets = [each for each in stack.sources(group, "subnetIds") if each.type == "aws:ec2/subnet:Subnet"]
    zones = [each.properties.get("availabilityZone") for each in subnets]
    if any(is_unknown(each) or each is None for each in zones):
        raise CannotTell("the Availability Zone of its subnets")
    if subnets and len(set(zones)) < 2:  # those of another stack can't be seen
        yield "all its subnets are in one Availability Zone"


def _versioned(bucket: Resource, stack: Stack, facts: Facts) -> Iterator[str]:
    inline = bucket.properties.get("versioning") or {}
    if not is_unknown(inline) and is_on(inline.get("enabled")):
        return
    for each in parts_of(stack, bucket, "bucket", ("bucket", "arn"), *_VERSIONING):
        wanted = each.properties.get("versioningConfiguration")
        if is_unknown(wanted):
            raise CannotTell("versioningConfiguration")
        if (wanted or {}).get("status") == "Enabled":
            return
    yield "what is overwritten or deleted in the bucket is lost: no BucketVersioning enables versions"


_ENVIRONMENTS = Parameter(
    "environments",
    ["production"],
    {
        "type": "array",
        "items": {"type": "string"},
        "description": "environments (of the spec, or the tag `environment`) that must survive the loss of a zone",
    },
)
_SINGLE_POINT = (*soc2("A1.2"), *saas_lens("SaaS REL 1"))

RULES: tuple[Rule, ...] = (
    Rule(
        id="resilience-backup",
        title="A database is backed up, and in production for long enough",
        severity=Severity.HIGH,
        remediation="Set backupRetentionPeriod (DynamoDB: pointInTimeRecovery.enabled)",
        types=frozenset({"aws:rds/instance:Instance", *_CLUSTERS, "aws:dynamodb/table:Table"}),
        resource=_backup,
        references=soc2("A1.2"),
        parameters=(
            Parameter("days", 1, {"type": "integer", "minimum": 1, "maximum": 35, "description": "days of backups"}),
            Parameter(
                "production_days",
                7,
                {"type": "integer", "minimum": 1, "maximum": 35, "description": "days of backups in production"},
            ),
        ),
    ),
    Rule(
        id="resilience-deletion-protection",
        title="A database is protected from deletion",
        severity=Severity.HIGH,
        remediation="Set deletionProtection (DynamoDB: deletionProtectionEnabled); an authorised offboarding lifts it",
        types=frozenset({"aws:rds/instance:Instance", *_CLUSTERS, "aws:dynamodb/table:Table"}),
        resource=_deletion_protection,
        references=soc2("A1.2"),
    ),
    Rule(
        id="resilience-protect",
        title="What holds a tenant's data is protected in Pulumi",
        severity=Severity.HIGH,
        remediation="Set the resource option protect; an authorised offboarding lifts it",
        types=_STATEFUL,
        resource=_protect,
        references=soc2("A1.2"),
    ),
    Rule(
        id="resilience-final-snapshot",
        title="A database leaves a final snapshot",
        severity=Severity.HIGH,
        remediation="Set skipFinalSnapshot to false and finalSnapshotIdentifier",
        types=_SNAPSHOTS,
        resource=_final_snapshot,
        references=soc2("A1.2"),
    ),
    Rule(
        id="resilience-recoverable",
        title="The deletion of a bucket, secret or key can be taken back",
        severity=Severity.HIGH,
        remediation="Set forceDestroy false, recoveryWindowInDays 7 or more, deletionWindowInDays 30 in production",
        types=frozenset({*BUCKETS, "aws:secretsmanager/secret:Secret", "aws:kms/key:Key"}),
        resource=_recoverable,
        references=soc2("A1.2"),
        parameters=(
            Parameter(
                "key_days",
                30,
                {
                    "type": "integer",
                    "minimum": 7,
                    "maximum": 30,
                    "description": "a key's deletion window in production, days",
                },
            ),
        ),
    ),
    Rule(
        id="resilience-multi-az",
        title="A production database or cache has a standby in a second Availability Zone",
        severity=Severity.HIGH,
        remediation="Set multiAz (a cache: automaticFailoverEnabled too), or instance.multi_az of the plan",
        types=frozenset({"aws:rds/instance:Instance", "aws:elasticache/replicationGroup:ReplicationGroup"}),
        resource=_multi_az,
        references=(*cis("", "2.2.4"), *_SINGLE_POINT),
        parameters=(_ENVIRONMENTS,),
    ),
    Rule(
        id="resilience-cluster-members",
        title="A production cluster has an instance to fail over to",
        severity=Severity.HIGH,
        remediation="Add a second ClusterInstance",
        stack=each_resource(_CLUSTERS, _cluster_members),
        references=_SINGLE_POINT,
        parameters=(_ENVIRONMENTS,),
    ),
    Rule(
        id="resilience-zones",
        title="A production subnet group spans two Availability Zones",
        severity=Severity.HIGH,
        remediation="Give it subnets of at least two Availability Zones",
        stack=each_resource(("aws:rds/subnetGroup:SubnetGroup",), _zones),
        references=_SINGLE_POINT,
        parameters=(_ENVIRONMENTS,),
    ),
    Rule(
        id="resilience-bucket-versioning",
        title="A bucket keeps versions",
        severity=Severity.MEDIUM,
        remediation="Add a BucketVersioning with status Enabled that names the bucket",
        stack=each_resource(BUCKETS, _versioned),
        references=soc2("A1.2"),
    ),
)
