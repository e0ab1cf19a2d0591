"""What the account uses now, by anybody: read from AWS, one function a ``Counter``.

Where AWS itself tells use and limit, it is asked for both; else everything is listed and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from provisioner.quotas.aws import AwsClients, Place, error_code, is_denied
from provisioner.quotas.errors import QuotasUnavailable, QuotasUnreadable
from provisioner.quotas.table import (
    BUCKETS,
    GATEWAY_ENDPOINTS,
    INSTANCES,
    KEYS,
    LOG_GROUPS,
    PARAMETER_GROUPS,
    POLICIES,
    QUOTAS,
    ROLES,
    SECRETS,
    SECURITY_GROUPS,
    SNAPSHOTS,
    STORAGE,
    SUBNET_GROUPS,
    TOPICS,
    VPCS,
    Counter,
    Quota,
)


@dataclass(frozen=True)
class Use:
    """``limit``: the account's own, where the service tells it."""

    used: int
    limit: int | None = None


Uses = Mapping[str, Use]  #: by quota key


@dataclass(frozen=True)
class Reading:
    """How a counter is read, and the IAM action that it takes."""

    action: str
    read: Callable[[AwsClients, Place], Uses]
    how: str  #: for people


def _iam(clients: AwsClients, place: Place) -> Uses:
    summary = clients("iam", place.home_region).get_account_summary()["SummaryMap"]
    return {
        ROLES.key: Use(int(summary["Roles"]), summary.get("RolesQuota")),
        POLICIES.key: Use(int(summary["Policies"]), summary.get("PoliciesQuota")),
    }


#: RDS's names of its account's attributes. Default parameter groups and automated snapshots don't count.
RDS_ATTRIBUTES: Mapping[str, Quota] = MappingProxyType(
    {
        "DBInstances": INSTANCES,
        "AllocatedStorage": STORAGE,
        "DBParameterGroups": PARAMETER_GROUPS,
        "DBSubnetGroups": SUBNET_GROUPS,
        "ManualSnapshots": SNAPSHOTS,
    }
)


def _rds(clients: AwsClients, place: Place) -> Uses:
    answer = clients("rds", place.region).describe_account_attributes()
    told = {entry["AccountQuotaName"]: entry for entry in answer["AccountQuotas"]}
    return {quota.key: Use(int(told[name]["Used"]), told[name].get("Max")) for name, quota in RDS_ATTRIBUTES.items()}


def _counted(quota: Quota, service: str, operation: str, field: str, **arguments: Any) -> Callable[..., Uses]:
    """A reading that lists everything, page by page."""

    def read(clients: AwsClients, place: Place) -> Uses:
        pages = clients(service, place.region_of(quota)).get_paginator(operation).paginate(**arguments)
        return {quota.key: Use(sum(len(page.get(field) or []) for page in pages))}

    return read


READINGS: Mapping[Counter, Reading] = MappingProxyType(
    {
        Counter.IAM: Reading("iam:GetAccountSummary", _iam, "IAM's account summary"),
        Counter.RDS: Reading("rds:DescribeAccountAttributes", _rds, "RDS's account attributes"),
        # AWS managed keys are listed too, and don't count: a few more than there are, on the safe side.
        Counter.KMS_KEYS: Reading(
            "kms:ListKeys",
            _counted(KEYS, "kms", "list_keys", "Keys", PaginationConfig={"PageSize": 1000}),
            "keys listed, AWS managed ones and those that wait for their deletion included",
        ),
        Counter.BUCKETS: Reading(
            "s3:ListAllMyBuckets",
            _counted(BUCKETS, "s3", "list_buckets", "Buckets", PaginationConfig={"PageSize": 1000}),
            "buckets listed, of all Regions",
        ),
        Counter.SECRETS: Reading(
            "secretsmanager:ListSecrets",
            _counted(
                *(SECRETS, "secretsmanager", "list_secrets", "SecretList"),
                IncludePlannedDeletion=True,
                PaginationConfig={"PageSize": 100},
            ),
            "secrets listed, those that wait for their deletion included",
        ),
        Counter.SECURITY_GROUPS: Reading(
            "ec2:DescribeSecurityGroups",
            _counted(
                *(SECURITY_GROUPS, "ec2", "describe_security_groups", "SecurityGroups"),
                PaginationConfig={"PageSize": 1000},
            ),
            "security groups listed, of all VPCs, default ones included",
        ),
        Counter.VPCS: Reading("ec2:DescribeVpcs", _counted(VPCS, "ec2", "describe_vpcs", "Vpcs"), "VPCs listed"),
        Counter.GATEWAY_ENDPOINTS: Reading(
            "ec2:DescribeVpcEndpoints",
            _counted(
                *(GATEWAY_ENDPOINTS, "ec2", "describe_vpc_endpoints", "VpcEndpoints"),
                Filters=[
                    {"Name": "vpc-endpoint-type", "Values": ["Gateway"]},
                    {"Name": "vpc-endpoint-state", "Values": ["pending", "available", "deleting"]},
                ],
            ),
            "gateway endpoints listed",
        ),
        Counter.TOPICS: Reading(
            "sns:ListTopics", _counted(TOPICS, "sns", "list_topics", "Topics"), "topics listed, of the Region"
        ),
        Counter.LOG_GROUPS: Reading(
            "logs:DescribeLogGroups",
            _counted(LOG_GROUPS, "logs", "describe_log_groups", "logGroups", PaginationConfig={"PageSize": 50}),
            "log groups listed",
        ),
    }
)


def clients_of(place: Place) -> set[tuple[str, str]]:
    """Service and Region of every client that a reading uses."""
    return {(READINGS[quota.counter].action.partition(":")[0], place.region_of(quota)) for quota in QUOTAS.values()}


def read(clients: AwsClients, place: Place, counter: Counter) -> Uses:
    """The use of every quota of ``counter``. Raises QuotasUnreadable or QuotasUnavailable: use is never guessed."""
    reading = READINGS[counter]
    try:
        return reading.read(clients, place)
    except (ClientError, BotoCoreError) as error:
        code = error_code(error)
        where = f"account {place.account_id}, {place.region}"
        if is_denied(error):
            raise QuotasUnreadable(
                f"what {where} uses could not be read, so nothing was changed: {reading.action}: {code}",
                hint=f"allow the worker's role {reading.action}; docs/quotas.md has the policy",
            ) from error
        raise QuotasUnavailable(
            f"what {where} uses could not be read: {reading.action}: {code}",
            hint="AWS throttled the call or did not answer",
        ) from error
