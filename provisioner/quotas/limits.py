"""What Service Quotas says of a quota; and, where it says nothing, what stands in for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from provisioner.quotas.aws import AwsClients, Place, error_code, is_denied
from provisioner.quotas.decision import Limit, LimitSource
from provisioner.quotas.table import Quota
from provisioner.quotas.usage import Use

#: The two IAM actions that ``ask`` takes.
ACTIONS = ("servicequotas:GetServiceQuota", "servicequotas:GetAWSDefaultServiceQuota")


@dataclass(frozen=True)
class Told:
    """Service Quotas' answer: a value, or the ``problem`` that kept it from telling one."""

    value: int | None = None
    source: LimitSource = LimitSource.SERVICE_QUOTAS
    adjustable: bool = True
    problem: str = ""
    passing: bool = False


def ask(clients: AwsClients, place: Place, quota: Quota) -> Told:
    """The applied value, else the default that Service Quotas knows. Never raises for what AWS answers."""
    try:
        client = clients("service-quotas", place.region_of(quota))
        which = {"ServiceCode": quota.service, "QuotaCode": quota.code}
        try:
            return _told(client.get_service_quota(**which)["Quota"], LimitSource.SERVICE_QUOTAS)
        except ClientError as error:
            if error_code(error) != "NoSuchResourceException":
                raise
        return _told(client.get_aws_default_service_quota(**which)["Quota"], LimitSource.SERVICE_QUOTAS_DEFAULT)
    except (ClientError, BotoCoreError) as error:
        code = error_code(error)
        passing = not is_denied(error) and code != "NoSuchResourceException"
        return Told(problem=f"Service Quotas did not tell, {code}", passing=passing)


def _told(document: Any, source: LimitSource) -> Told:
    reason = document.get("ErrorReason")
    if reason:
        code = str(reason.get("ErrorCode"))
        return Told(problem=f"Service Quotas did not tell, {code}", passing=code != "DEPENDENCY_ACCESS_DENIED_ERROR")
    return Told(int(document["Value"]), source, document.get("Adjustable") is not False)


def resolve(told: Told, use: Use, quota: Quota, region: str) -> Limit:
    """The limit to judge by: Service Quotas', else the service's own, else the documented default."""
    if told.value is not None:
        return Limit(told.value, told.source, told.adjustable)
    if use.limit is not None:
        return Limit(int(use.limit), LimitSource.SERVICE, True, told.problem, told.passing)
    return Limit(quota.documented(region), LimitSource.DOCUMENTED, True, told.problem, told.passing)
