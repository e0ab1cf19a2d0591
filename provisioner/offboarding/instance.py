"""The RDS instance of a tenant's own: running when it is needed, and who its master is."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from provisioner.offboarding.errors import ExportInterrupted, InstanceStarting
from provisioner.quotas.aws import AwsClients, error_code

_GONE = frozenset({"DBInstanceNotFound", "DBInstanceNotFoundFault"})
#: States in which PostgreSQL answers.
_ANSWERS = frozenset(
    {"available", "backing-up", "configuring-enhanced-monitoring", "storage-optimization", "storage-config-upgrade"}
)


def find(clients: AwsClients, region: str, identifier: str) -> dict[str, Any] | None:
    """As RDS describes it; None if there is none."""
    try:
        found: list[dict[str, Any]] = clients("rds", region).describe_db_instances(DBInstanceIdentifier=identifier)[
            "DBInstances"
        ]
    except ClientError as error:
        if error_code(error) in _GONE:
            return None
        raise ExportInterrupted(f"instance {identifier} could not be looked up: {error_code(error)}") from error
    except BotoCoreError as error:
        raise ExportInterrupted(f"instance {identifier} could not be looked up: {error_code(error)}") from error
    return found[0] if found else None


def require_running(clients: AwsClients, region: str, identifier: str) -> dict[str, Any]:
    """The instance, if it answers; a stopped one is started. Raises InstanceStarting until it is there."""
    found = find(clients, region, identifier)
    if found is None:
        raise ExportInterrupted(
            f"there is no instance {identifier}", hint="reconcile the tenant first: its stack must stand"
        )
    status = str(found["DBInstanceStatus"])
    if status in _ANSWERS:
        return found
    if status == "stopped":
        try:
            clients("rds", region).start_db_instance(DBInstanceIdentifier=identifier)
        except (ClientError, BotoCoreError) as error:
            if error_code(error) not in ("InvalidDBInstanceState", "InvalidDBInstanceStateFault"):
                raise ExportInterrupted(f"instance {identifier} could not be started: {error_code(error)}") from error
    raise InstanceStarting(f"instance {identifier} is {status}", hint="it is waited for; a start takes some minutes")


def master_secret(instance: dict[str, Any]) -> str:
    """ARN of the secret that RDS keeps its master's password in."""
    arn = (instance.get("MasterUserSecret") or {}).get("SecretArn")
    if not arn:
        raise ExportInterrupted(
            f"instance {instance['DBInstanceIdentifier']} has no master secret yet", hint="it is looked at again"
        )
    return str(arn)
