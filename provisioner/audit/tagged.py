"""AWS resources by this installation's tags, as Resource Groups Tagging lists them.

Roles are not in its answers: IAM is looked at by the stacks' own drift checks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from provisioner.audit.compare import Resource
from provisioner.errors import RetryLater
from provisioner.quotas.aws import AwsClients, error_code


class ResourcesUnreadable(RetryLater):
    """AWS did not list what bears our tags."""

    code = "resources_unreadable"


def resources(clients: AwsClients, installation: str, regions: Iterable[str]) -> list[Resource]:
    """What is there to stay: what AWS deletes by itself after a waiting time is left out. ``ResourcesUnreadable``."""
    found = []
    for region in sorted(set(regions)):
        filters = [
            {"Key": "installation", "Values": [installation]},
            {"Key": "managed-by", "Values": ["tenantry"]},
            {"Key": "tenant_id"},
        ]
        try:
            client = clients("resourcegroupstaggingapi", region)
            for page in client.get_paginator("get_resources").paginate(TagFilters=filters):
                for each in page["ResourceTagMappingList"]:
                    tags = {tag["Key"]: tag["Value"] for tag in each["Tags"]}
                    arn = each["ResourceARN"]
                    if not _goes_by_itself(clients, region, arn):
                        found.append(Resource(arn, tags["tenant_id"], tags.get("generation", "1")))
        except (ClientError, BotoCoreError) as error:
            raise ResourcesUnreadable(
                f"the tagged resources of {region} could not be listed: {error_code(error) or type(error).__name__}",
                hint="the audit's role needs tag:GetResources, kms:DescribeKey and secretsmanager:DescribeSecret",
            ) from error
    return found


def _goes_by_itself(clients: AwsClients, region: str, arn: str) -> bool:
    """Whether a key or secret waits for its deletion, or a snapshot is kept for its own retention."""
    service = arn.split(":")[2]
    if service == "kms":
        key: dict[str, Any] = clients("kms", region).describe_key(KeyId=arn)["KeyMetadata"]
        return key["KeyState"] in ("PendingDeletion", "PendingReplicaDeletion")
    if service == "secretsmanager":
        secret: dict[str, Any] = clients("secretsmanager", region).describe_secret(SecretId=arn)
        return "DeletedDate" in secret
    return service == "rds" and ":snapshot:" in arn
