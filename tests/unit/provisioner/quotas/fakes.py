"""An AWS account in memory, whose quotas are asked through boto3's own interface."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from botocore.exceptions import ClientError

from provisioner.quotas import Place

PLACE = Place("123456789012", "eu-central-1")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        self.now += 1e-6  # no two moments are the same
        return self.now


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "Any")


class FakeAws:
    """``applied`` and ``defaults``: Service Quotas' values by (Region, key); ``errors``: by operation."""

    def __init__(self) -> None:
        self.applied: dict[tuple[str, str], float] = {}
        self.defaults: dict[tuple[str, str], float] = {}
        self.fixed: set[str] = set()
        self.rds: dict[str, tuple[int, int]] = {
            "DBInstances": (0, 40),
            "AllocatedStorage": (0, 100_000),
            "DBParameterGroups": (0, 50),
            "DBSubnetGroups": (0, 50),
            "ManualSnapshots": (0, 100),
        }
        self.iam = {"Roles": 10, "RolesQuota": 1000, "Policies": 5, "PoliciesQuota": 1500}
        self.keys = 3
        self.errors: dict[str, Exception] = {}
        self.calls: Counter[str] = Counter()
        self.regions: dict[str, set[str]] = {}
        self.lock = threading.Lock()

    def use_instances(self, used: int, limit: int) -> None:
        self.rds["DBInstances"] = (used, limit)
        self.applied["eu-central-1", "rds/L-7B6409FD"] = limit

    def __call__(self, service: str, region: str, /) -> Any:
        return _Client(self, service, region)


class _Client:
    def __init__(self, aws: FakeAws, service: str, region: str) -> None:
        self.aws, self.service, self.region = aws, service, region

    def _called(self, operation: str) -> None:
        with self.aws.lock:
            self.aws.calls[operation] += 1
            self.aws.regions.setdefault(operation, set()).add(self.region)
        if operation in self.aws.errors:
            raise self.aws.errors[operation]

    def get_service_quota(self, *, ServiceCode: str, QuotaCode: str) -> Any:
        self._called("get_service_quota")
        return self._quota(self.aws.applied, f"{ServiceCode}/{QuotaCode}")

    def get_aws_default_service_quota(self, *, ServiceCode: str, QuotaCode: str) -> Any:
        self._called("get_aws_default_service_quota")
        return self._quota(self.aws.defaults, f"{ServiceCode}/{QuotaCode}")

    def _quota(self, values: dict[tuple[str, str], float], key: str) -> Any:
        if (self.region, key) not in values:
            raise client_error("NoSuchResourceException")
        return {"Quota": {"Value": values[self.region, key], "Adjustable": key not in self.aws.fixed}}

    def get_caller_identity(self) -> Any:
        self._called("get_caller_identity")
        return {"Account": PLACE.account_id}

    def get_account_summary(self) -> Any:
        self._called("get_account_summary")
        return {"SummaryMap": dict(self.aws.iam)}

    def describe_account_attributes(self) -> Any:
        self._called("describe_account_attributes")
        told = [{"AccountQuotaName": name, "Used": used, "Max": limit} for name, (used, limit) in self.aws.rds.items()]
        return {"AccountQuotas": told}

    def get_paginator(self, operation: str) -> Any:
        self._called(operation)
        return self

    def paginate(self, **arguments: Any) -> Any:
        # Two pages, whatever is listed.
        entries: list[dict[str, str]] = [{}] * self.aws.keys
        field = {"kms": "Keys", "s3": "Buckets", "secretsmanager": "SecretList", "sns": "Topics", "logs": "logGroups"}
        name = field.get(self.service, "SecurityGroups")
        return [{name: entries[:1]}, {name: entries[1:]}]
