"""Whose a resource is, and what it costs whom, stands on the resource."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from components.spec import PlatformSpec, TenantSpec
from policies.model import Facts, Parameter, Resource, Rule, Severity
from policies.references import saas_lens, soc2
from policies.relations import tags_of
from policies.values import CannotTell, is_secret, is_unknown

REQUIRED_TAGS = (
    "tenant_id", "generation", "tier", "plan", "managed-by", "installation", "environment", "cost-center",
)  # fmt: skip
"""Of every resource in Tenantry's stacks: ``components/tags.py``, and a test compares."""
TAGGED_TYPES = frozenset(
    {
        "aws:cloudwatch/logGroup:LogGroup",
        "aws:cloudwatch/metricAlarm:MetricAlarm",
        "aws:dynamodb/table:Table",
        "aws:ebs/volume:Volume",
        "aws:ec2/instance:Instance",
        "aws:ec2/securityGroup:SecurityGroup",
        "aws:ec2/subnet:Subnet",
        "aws:ec2/vpc:Vpc",
        "aws:ec2/vpcEndpoint:VpcEndpoint",
        "aws:ecr/repository:Repository",
        "aws:ecs/cluster:Cluster",
        "aws:ecs/service:Service",
        "aws:efs/fileSystem:FileSystem",
        "aws:elasticache/replicationGroup:ReplicationGroup",
        "aws:iam/policy:Policy",
        "aws:iam/role:Role",
        "aws:kinesis/stream:Stream",
        "aws:kms/key:Key",
        "aws:lambda/function:Function",
        "aws:lb/loadBalancer:LoadBalancer",
        "aws:opensearch/domain:Domain",
        "aws:rds/cluster:Cluster",
        "aws:rds/clusterInstance:ClusterInstance",
        "aws:rds/instance:Instance",
        "aws:rds/parameterGroup:ParameterGroup",
        "aws:rds/subnetGroup:SubnetGroup",
        "aws:s3/bucket:Bucket",
        "aws:s3/bucketV2:BucketV2",
        "aws:secretsmanager/secret:Secret",
        "aws:sns/topic:Topic",
        "aws:sqs/queue:Queue",
        "aws:ssm/parameter:Parameter",
    }
)


def _tags(resource: Resource, facts: Facts) -> Iterator[str]:
    tags = tags_of(resource)
    required = REQUIRED_TAGS if facts.spec is not None else tuple(facts.parameters["required"])
    hidden = [name for name in required if is_unknown(tags.get(name))]
    all_of_them = resource.properties.get("tagsAll")
    unseen = is_unknown(all_of_them) or is_secret(all_of_them)
    if hidden or (unseen and any(name not in tags for name in required)):
        raise CannotTell("tags")
    missing = [name for name in required if not tags.get(name)]
    if missing:
        yield f"the tags {', '.join(missing)} are missing"
    for name, wanted in _expected(facts.spec).items():
        if tags.get(name) and tags[name] != wanted:
            yield f"the tag {name} is {tags[name]!r}, and the stack is that of {wanted!r}"


def _expected(spec: TenantSpec | PlatformSpec | None) -> Mapping[str, str]:
    if spec is None:
        return {}
    common = {"managed-by": "tenantry", "installation": spec.installation, "environment": spec.environment.value}
    if isinstance(spec, PlatformSpec):
        return {**common, "tenant_id": "platform", "tier": "platform", "plan": "platform"}
    return {
        **common,
        "tenant_id": spec.tenant_id,
        "generation": str(spec.generation),
        "tier": spec.tier.value,
        "plan": spec.plan,
    }


RULES: tuple[Rule, ...] = (
    Rule(
        id="ownership-tags",
        title="Every resource says whose it is and what it costs whom, truly",
        severity=Severity.HIGH,
        remediation=f"Set the tags that are required; in Tenantry's stacks {', '.join(REQUIRED_TAGS)}",
        types=TAGGED_TYPES,
        resource=_tags,
        references=(*soc2("CC6.1"), *saas_lens("SaaS COST 1")),
        parameters=(
            Parameter(
                "required",
                ["environment", "cost-center"],
                {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "tags of every resource in stacks that are not Tenantry's",
                },
            ),
        ),
    ),
)
