"""Service Quotas of the local AWS, and what IAM and RDS tell of them: moto has neither, a few VPC quotas aside.

The quotas are those that the provisioner asks for, with AWS's defaults; ``POST /tenantry/quota`` sets any value, and a
request for an increase is granted, both at once. They are told, not enforced: moto creates beyond a quota
what AWS would refuse.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from typing import Any

from provisioner.quotas.aws import HOME_REGIONS
from provisioner.quotas.table import POLICIES, QUOTAS, ROLES, Quota, Scope
from provisioner.quotas.usage import RDS_ATTRIBUTES

_HOME = HOME_REGIONS["aws"]
_lock = threading.Lock()
_values: dict[tuple[str, str], int] = {}  # by Region and quota key: this process is the account


def set_value(wanted: dict[str, Any]) -> bool:
    """What was posted to ``QUOTA_PATH``; False for a quota that is not known."""
    quota = QUOTAS.get(str(wanted["quota"]))
    if quota is None:
        return False
    place = (_managed_in(quota, str(wanted["region"])), quota.key)
    with _lock:
        if wanted["value"] is None:
            _values.pop(place, None)
        else:
            _values[place] = int(wanted["value"])
    return True


def value(quota: Quota, region: str) -> int:
    return _values.get((_managed_in(quota, region), quota.key), quota.documented(region))


def _managed_in(quota: Quota, region: str) -> str:
    return _HOME if quota.scope is Scope.ACCOUNT else region


def serve_service_quotas() -> None:
    """Let moto's Service Quotas know the quotas of the table, and grant what is asked for."""
    from moto.core.exceptions import JsonRESTError
    from moto.servicequotas.exceptions import NoSuchResource
    from moto.servicequotas.responses import ServiceQuotasResponse

    def find(response: Any) -> Quota:
        asked = json.loads(response.body)
        quota = QUOTAS.get(f"{asked.get('ServiceCode')}/{asked.get('QuotaCode')}")
        # As in AWS: what all Regions share is known in one of them only.
        if quota is None or (quota.scope is Scope.ACCOUNT and response.region != _HOME):
            raise NoSuchResource
        return quota

    def get_service_quota(response: Any) -> str:
        quota = find(response)
        return json.dumps({"Quota": _document(quota, response.region, value(quota, response.region))})

    def get_aws_default_service_quota(response: Any) -> str:
        quota = find(response)
        return json.dumps({"Quota": _document(quota, response.region, quota.documented(response.region))})

    def list_service_quotas(response: Any) -> str:
        service = json.loads(response.body).get("ServiceCode")
        found = [
            _document(quota, response.region, value(quota, response.region))
            for quota in QUOTAS.values()
            if quota.service == service and (quota.scope is Scope.REGION or response.region == _HOME)
        ]
        if not found:
            raise NoSuchResource
        return json.dumps({"Quotas": found})

    def request_service_quota_increase(response: Any) -> str:
        quota, desired = find(response), json.loads(response.body)["DesiredValue"]
        if desired <= value(quota, response.region):
            raise JsonRESTError(
                "IllegalArgumentException", f"Provide a value greater than {value(quota, response.region)}."
            )
        set_value({"region": response.region, "quota": quota.key, "value": desired})
        requested = {
            **{k: v for k, v in _document(quota, response.region, 0).items() if k not in ("Value", "Adjustable")},
            **{"Id": secrets.token_hex(16), "DesiredValue": desired, "Status": "APPROVED", "Created": time.time()},
        }
        return json.dumps({"RequestedQuota": requested})

    _replace(
        ServiceQuotasResponse,
        get_service_quota,
        get_aws_default_service_quota,
        list_service_quotas,
        request_service_quota_increase,
    )


def serve_rds_attributes() -> None:
    """RDS's ``DescribeAccountAttributes``, which moto lacks: the five quotas of the table."""
    from moto.core.responses import ActionResult
    from moto.rds.responses import RDSResponse

    def describe_account_attributes(response: Any) -> Any:
        backend = response.backend
        used = {
            "DBInstances": len(backend.databases),
            "AllocatedStorage": sum(int(instance.allocated_storage) for instance in backend.databases.values()),
            "DBParameterGroups": sum(not name.startswith("default.") for name in backend.db_parameter_groups),
            "DBSubnetGroups": len(backend.subnet_groups),
            "ManualSnapshots": sum(s.snapshot_type == "manual" for s in backend.database_snapshots.values()),
        }
        quotas = [
            {"AccountQuotaName": name, "Used": used[name], "Max": value(quota, response.region)}
            for name, quota in RDS_ATTRIBUTES.items()
        ]
        return ActionResult({"AccountQuotas": quotas})

    _replace(RDSResponse, describe_account_attributes)


def serve_iam_summary() -> None:
    """IAM's account summary tells the quotas that Service Quotas tells."""
    from moto.iam.models import AccountSummary

    replaced: Any = AccountSummary
    original = replaced.summary_map.fget

    def summary_map(summary: Any) -> dict[str, Any]:
        told: dict[str, Any] = original(summary)
        return {**told, "RolesQuota": value(ROLES, _HOME), "PoliciesQuota": value(POLICIES, _HOME)}

    replaced.summary_map = property(summary_map)


def _replace(responses: Any, *actions: Any) -> None:
    for action in actions:
        setattr(responses, action.__name__, action)


def _document(quota: Quota, region: str, present: int) -> dict[str, Any]:
    return {
        "ServiceCode": quota.service,
        "ServiceName": quota.service,
        "QuotaArn": f"arn:aws:servicequotas:{region}::{quota.key}",
        "QuotaCode": quota.code,
        "QuotaName": quota.name,
        "Value": float(present),
        "Unit": "None" if not quota.unit else "Gigabytes",
        "Adjustable": True,
        "GlobalQuota": quota.scope is Scope.ACCOUNT,
    }
