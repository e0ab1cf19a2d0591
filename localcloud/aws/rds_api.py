"""The properties of an RDS instance and their names in RDS's API."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from localcloud.aws.resource import all_tags, is_true, tag_list
from providers.base import Properties

#: property -> parameter of CreateDBInstance; ModifyDBInstance has the same
CHANGEABLE = {
    "allocatedStorage": "AllocatedStorage",
    "autoMinorVersionUpgrade": "AutoMinorVersionUpgrade",
    "backupRetentionPeriod": "BackupRetentionPeriod",
    "backupWindow": "PreferredBackupWindow",
    "caCertIdentifier": "CACertificateIdentifier",
    "copyTagsToSnapshot": "CopyTagsToSnapshot",
    "dbSubnetGroupName": "DBSubnetGroupName",
    "deletionProtection": "DeletionProtection",
    "engineVersion": "EngineVersion",
    "iamDatabaseAuthenticationEnabled": "EnableIAMDatabaseAuthentication",
    "instanceClass": "DBInstanceClass",
    "iops": "Iops",
    "licenseModel": "LicenseModel",
    "maintenanceWindow": "PreferredMaintenanceWindow",
    "maxAllocatedStorage": "MaxAllocatedStorage",
    "monitoringInterval": "MonitoringInterval",
    "monitoringRoleArn": "MonitoringRoleArn",
    "multiAz": "MultiAZ",
    "networkType": "NetworkType",
    "parameterGroupName": "DBParameterGroupName",
    "performanceInsightsEnabled": "EnablePerformanceInsights",
    "performanceInsightsKmsKeyId": "PerformanceInsightsKMSKeyId",
    "performanceInsightsRetentionPeriod": "PerformanceInsightsRetentionPeriod",
    "publiclyAccessible": "PubliclyAccessible",
    "storageThroughput": "StorageThroughput",
    "storageType": "StorageType",
    "vpcSecurityGroupIds": "VpcSecurityGroupIds",
}
#: property -> parameter of CreateDBInstance alone
FIXED = {
    "availabilityZone": "AvailabilityZone",
    "dbName": "DBName",
    "engine": "Engine",
    "kmsKeyId": "KmsKeyId",
    "storageEncrypted": "StorageEncrypted",
    "username": "MasterUsername",
}
#: what a restored instance takes from the program at once; the rest is modified afterwards
RESTORABLE = (
    "autoMinorVersionUpgrade",
    "availabilityZone",
    "copyTagsToSnapshot",
    "dbSubnetGroupName",
    "deletionProtection",
    "iamDatabaseAuthenticationEnabled",
    "instanceClass",
    "iops",
    "licenseModel",
    "multiAz",
    "networkType",
    "parameterGroupName",
    "publiclyAccessible",
    "storageThroughput",
    "storageType",
    "vpcSecurityGroupIds",
)
BOOLEANS = frozenset(
    {
        "autoMinorVersionUpgrade",
        "copyTagsToSnapshot",
        "deletionProtection",
        "iamDatabaseAuthenticationEnabled",
        "multiAz",
        "performanceInsightsEnabled",
        "publiclyAccessible",
        "storageEncrypted",
    }
)
INTEGERS = frozenset(
    {
        "allocatedStorage",
        "backupRetentionPeriod",
        "iops",
        "maxAllocatedStorage",
        "monitoringInterval",
        "performanceInsightsRetentionPeriod",
        "storageThroughput",
    }
)


def parameters(inputs: Properties, names: Iterable[str]) -> dict[str, Any]:
    """API parameters of those of ``names`` that ``inputs`` has."""
    api = {**CHANGEABLE, **FIXED}
    return {api[name]: api_value(name, inputs[name]) for name in names if name in inputs}


def api_value(name: str, value: Any) -> Any:
    if name in BOOLEANS:
        return is_true(value)
    return int(value) if name in INTEGERS else value


def creation(inputs: Properties, port: int | None) -> dict[str, Any]:
    """Parameters of CreateDBInstance."""
    arguments = parameters(inputs, [*FIXED, *CHANGEABLE])
    if port is not None:
        arguments["Port"] = port
    if logs := inputs.get("enabledCloudwatchLogsExports"):
        arguments["EnableCloudwatchLogsExports"] = list(logs)
    return {**arguments, **_credentials(inputs), "Tags": tag_list(all_tags(inputs))}


def restoration(inputs: Properties, port: int | None) -> dict[str, Any]:
    """Parameters of RestoreDBInstanceFromDBSnapshot."""
    arguments = {**parameters(inputs, RESTORABLE), "DBSnapshotIdentifier": inputs["snapshotIdentifier"]}
    if port is not None:
        arguments["Port"] = port
    if logs := inputs.get("enabledCloudwatchLogsExports"):
        arguments["EnableCloudwatchLogsExports"] = list(logs)
    return {**arguments, "Tags": tag_list(all_tags(inputs))}


def _credentials(inputs: Properties) -> dict[str, Any]:
    if not is_true(inputs.get("manageMasterUserPassword")):
        return {"MasterUserPassword": inputs["password"]} if "password" in inputs else {}
    arguments: dict[str, Any] = {"ManageMasterUserPassword": True}
    if "masterUserSecretKmsKeyId" in inputs:
        arguments["MasterUserSecretKmsKeyId"] = inputs["masterUserSecretKmsKeyId"]
    return arguments


def modification(old: Properties, new: Properties, defaults: Properties) -> dict[str, Any]:
    """Parameters of ModifyDBInstance; empty if nothing of the instance itself changes."""
    arguments: dict[str, Any] = {}
    for name, api in CHANGEABLE.items():
        before, after = old.get(name, defaults.get(name)), new.get(name, defaults.get(name))
        if after is not None and before != after:
            arguments[api] = api_value(name, after)
    if old.get("identifier") != new.get("identifier"):
        arguments["NewDBInstanceIdentifier"] = new["identifier"]
    before, after = _logs(old), _logs(new)
    if before != after:
        changes = {"EnableLogTypes": sorted(after - before), "DisableLogTypes": sorted(before - after)}
        arguments["CloudwatchLogsExportConfiguration"] = {key: logs for key, logs in changes.items() if logs}
    if "MonitoringInterval" in arguments and "monitoringRoleArn" in new:
        arguments["MonitoringRoleArn"] = new["monitoringRoleArn"]
    return {**arguments, **_credential_changes(old, new)}


def _logs(inputs: Properties) -> set[str]:
    return set(inputs.get("enabledCloudwatchLogsExports") or ())


def _credential_changes(old: Properties, new: Properties) -> dict[str, Any]:
    managed = is_true(new.get("manageMasterUserPassword"))
    was_managed = is_true(old.get("manageMasterUserPassword"))
    if managed:
        key = "masterUserSecretKmsKeyId"
        return _credentials(new) if not was_managed or old.get(key) != new.get(key) else {}
    changes: dict[str, Any] = {"ManageMasterUserPassword": False} if was_managed else {}
    if "password" in new and (was_managed or old.get("password") != new["password"]):
        changes["MasterUserPassword"] = new["password"]
    return changes


def live_inputs(instance: dict[str, Any]) -> Properties:
    """The inputs that describe ``instance``, an answer of DescribeDBInstances."""
    live: Properties = {
        "allocatedStorage": instance.get("AllocatedStorage"),
        "autoMinorVersionUpgrade": bool(instance.get("AutoMinorVersionUpgrade", True)),
        "availabilityZone": instance.get("AvailabilityZone"),
        "backupRetentionPeriod": instance.get("BackupRetentionPeriod"),
        "backupWindow": instance.get("PreferredBackupWindow"),
        "caCertIdentifier": instance.get("CACertificateIdentifier"),
        "copyTagsToSnapshot": bool(instance.get("CopyTagsToSnapshot")),
        "dbName": instance.get("DBName"),
        "dbSubnetGroupName": (instance.get("DBSubnetGroup") or {}).get("DBSubnetGroupName"),
        "deletionProtection": bool(instance.get("DeletionProtection")),
        "enabledCloudwatchLogsExports": instance.get("EnabledCloudwatchLogsExports") or None,
        "engine": instance.get("Engine"),
        "engineVersion": instance.get("EngineVersion"),
        "iamDatabaseAuthenticationEnabled": bool(instance.get("IAMDatabaseAuthenticationEnabled")),
        "identifier": instance["DBInstanceIdentifier"],
        "instanceClass": instance.get("DBInstanceClass"),
        "iops": instance.get("Iops"),
        "kmsKeyId": instance.get("KmsKeyId"),
        "licenseModel": instance.get("LicenseModel"),
        "maintenanceWindow": instance.get("PreferredMaintenanceWindow"),
        "maxAllocatedStorage": instance.get("MaxAllocatedStorage") or 0,
        "monitoringInterval": instance.get("MonitoringInterval") or 0,
        "monitoringRoleArn": instance.get("MonitoringRoleArn"),
        "multiAz": bool(instance.get("MultiAZ")),
        "publiclyAccessible": bool(instance.get("PubliclyAccessible")),
        "storageEncrypted": bool(instance.get("StorageEncrypted")),
        "storageThroughput": instance.get("StorageThroughput"),
        "storageType": instance.get("StorageType"),
        "username": instance.get("MasterUsername"),
        "vpcSecurityGroupIds": [g["VpcSecurityGroupId"] for g in instance.get("VpcSecurityGroups") or []],
    }
    groups = instance.get("DBParameterGroups") or []
    if groups:
        live["parameterGroupName"] = groups[0]["DBParameterGroupName"]
    secret = instance.get("MasterUserSecret")
    if secret:
        live["manageMasterUserPassword"] = True
        live["masterUserSecretKmsKeyId"] = secret.get("KmsKeyId")
    return live


def outputs(instance: dict[str, Any]) -> Properties:
    """What RDS computes."""
    endpoint = instance.get("Endpoint") or {}
    address, port = endpoint.get("Address", ""), int(endpoint.get("Port") or 0)
    secret = instance.get("MasterUserSecret")
    found: Properties = {
        "address": address,
        "port": port,
        "endpoint": f"{address}:{port}" if address else "",
        "arn": instance["DBInstanceArn"],
        "resourceId": instance["DbiResourceId"],
        "status": instance["DBInstanceStatus"],
        "hostedZoneId": "",
        "engineVersionActual": instance.get("EngineVersion"),
        "replicas": list(instance.get("ReadReplicaDBInstanceIdentifiers") or []),
        "masterUserSecrets": [
            {
                "kmsKeyId": secret.get("KmsKeyId"),
                "secretArn": secret["SecretArn"],
                "secretStatus": secret.get("SecretStatus", "active"),
            }
        ]
        if secret
        else [],
    }
    return found
