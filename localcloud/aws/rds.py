"""RDS instances: moto's record of each, and a real PostgreSQL server behind it (:mod:`localcloud.aws.rds_servers`)."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from botocore.exceptions import ClientError

from localcloud.aws import rds_api, rds_groups
from localcloud.aws.client import Aws
from localcloud.aws.kms import usable_key
from localcloud.aws.rds_records import FAILED, Record
from localcloud.aws.rds_rules import check_instance
from localcloud.aws.rds_servers import Servers, servers
from localcloud.aws.rds_settings import ServerSettings, server_settings
from localcloud.aws.resource import (
    AwsHandler,
    Checks,
    all_tags,
    is_true,
    live_tags,
    missing,
    refusal,
    tag_changes,
    tag_dict,
    tag_list,
)
from localcloud.postgres.binaries import server_version
from localcloud.postgres.scram import verifier
from providers.base import AutoName, Cancelled, Context, InitializationFailed, Properties, ProviderError

GONE = ("DBInstanceNotFound", "DBInstanceNotFoundFault")
_SNAPSHOT_GONE = ("DBSnapshotNotFound", "DBSnapshotNotFoundFault")


class Instance(AwsHandler):
    """The id is the resource id, ``db-...``; an import takes the identifier as well."""

    token = "aws:rds/instance:Instance"
    inputs = frozenset(
        {
            *rds_api.CHANGEABLE,
            *rds_api.FIXED,
            "allowMajorVersionUpgrade",
            "applyImmediately",
            "deleteAutomatedBackups",
            "enabledCloudwatchLogsExports",
            "finalSnapshotIdentifier",
            "manageMasterUserPassword",
            "masterUserSecretKmsKeyId",
            "password",
            "port",
            "skipFinalSnapshot",
            "snapshotIdentifier",
        }
    )
    outputs = frozenset(
        {
            "address",
            "arn",
            "endpoint",
            "engineVersionActual",
            "hostedZoneId",
            "masterUserSecrets",
            "port",
            "replicas",
            "resourceId",
            "status",
        }
    )
    required = frozenset({"instanceClass"})
    replace_on = frozenset(
        {"availabilityZone", "dbName", "engine", "kmsKeyId", "snapshotIdentifier", "storageEncrypted", "username"}
    )
    computed_inputs = frozenset(
        {
            "allocatedStorage",
            "availabilityZone",
            "backupRetentionPeriod",
            "backupWindow",
            "caCertIdentifier",
            "dbName",
            "dbSubnetGroupName",
            "engine",
            "engineVersion",
            "identifierPrefix",
            "iops",
            "kmsKeyId",
            "licenseModel",
            "maintenanceWindow",
            "masterUserSecretKmsKeyId",
            "monitoringRoleArn",
            "multiAz",
            "networkType",
            "parameterGroupName",
            "performanceInsightsKmsKeyId",
            "performanceInsightsRetentionPeriod",
            "port",
            "storageThroughput",
            "storageType",
            "username",
            "vpcSecurityGroupIds",
        }
    )
    # Steering, secret, or not kept by moto. Servers share one machine: the port is what the machine has free.
    local_inputs = frozenset(
        {
            "allowMajorVersionUpgrade",
            "applyImmediately",
            "deleteAutomatedBackups",
            "finalSnapshotIdentifier",
            "networkType",
            "password",
            "performanceInsightsEnabled",
            "performanceInsightsKmsKeyId",
            "performanceInsightsRetentionPeriod",
            "port",
            "skipFinalSnapshot",
            "snapshotIdentifier",
        }
    )
    set_properties = frozenset({"enabledCloudwatchLogsExports", "vpcSecurityGroupIds"})
    secret_outputs = frozenset({"password"})
    changed_by_update = frozenset({"masterUserSecrets", "status"})
    defaults = MappingProxyType(
        {
            "autoMinorVersionUpgrade": True,
            "copyTagsToSnapshot": False,
            "deleteAutomatedBackups": True,
            "deletionProtection": False,
            "iamDatabaseAuthenticationEnabled": False,
            "maxAllocatedStorage": 0,
            "monitoringInterval": 0,
            "performanceInsightsEnabled": False,
            "publiclyAccessible": False,
            "skipFinalSnapshot": False,
            "storageEncrypted": False,
        }
    )
    auto_name = AutoName(
        "identifier",
        63,
        allowed="abcdefghijklmnopqrstuvwxyz0123456789-",
        lower=True,
        prefix_property="identifierPrefix",
    )

    def normalise(self, inputs: Properties) -> Properties:
        window = inputs.get("maintenanceWindow")
        return {**inputs, "maintenanceWindow": window.lower()} if isinstance(window, str) else inputs

    def validate(self, checks: Checks, inputs: Properties) -> None:
        check_instance(checks, inputs)

    # -- create ---------------------------------------------------------------------------------------------------

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        aws = self.aws(ctx, inputs)
        _require_parts(aws, inputs, "CreateDBInstance")
        local = servers(aws)
        record = _request(aws, local, inputs) if local is not None else None
        try:
            instance = self._ask(aws, inputs, record)
        except ClientError as error:
            if local is not None and record is not None:
                local.withdraw(record)
            if missing(error, "DBInstanceAlreadyExists"):
                message = f"DB instance {inputs['identifier']} already exists: import it, or delete it"
                raise refusal("CreateDBInstance", "DBInstanceAlreadyExists", message) from error
            raise
        id = instance["DbiResourceId"]
        if local is not None and record is not None:
            local.begin(record, id)
            self._wait(ctx, aws, local, record, id, inputs)
        return id, self._present(aws, _describe(aws, inputs["identifier"]), inputs)

    @staticmethod
    def _ask(aws: Aws, inputs: Properties, record: Record | None) -> dict[str, Any]:
        rds, identifier = aws.client("rds"), inputs["identifier"]
        port = record.port if record else int(inputs["port"]) if "port" in inputs else None
        if "snapshotIdentifier" not in inputs:
            created = rds.create_db_instance(DBInstanceIdentifier=identifier, **rds_api.creation(inputs, port))
            return dict(created["DBInstance"])
        arguments = rds_api.restoration(inputs, port)
        restored = rds.restore_db_instance_from_db_snapshot(DBInstanceIdentifier=identifier, **arguments)["DBInstance"]
        # A restored instance has everything else from the snapshot: moto even the master's secret, which is new in RDS.
        found = {**rds_api.live_inputs(restored), "manageMasterUserPassword": False}
        changes = rds_api.modification(found, inputs, dict(Instance.defaults))
        if restored.get("MasterUserSecret"):
            rds.modify_db_instance(DBInstanceIdentifier=identifier, ManageMasterUserPassword=False)
        if changes:
            rds.modify_db_instance(DBInstanceIdentifier=identifier, ApplyImmediately=True, **changes)
        return dict(restored)

    def _wait(self, ctx: Context[Aws], aws: Aws, local: Servers, record: Record, id: str, inputs: Properties) -> None:
        """Until the instance is available. What happens then is RDS's business: the instance exists."""
        try:
            settled = local.wait(ctx, record)
        except Cancelled as cancelled:
            outputs = self._present(aws, _describe(aws, inputs["identifier"]), inputs)
            reason = f"{inputs['identifier']}: {cancelled.message}; RDS goes on with it"
            raise InitializationFailed(id, outputs, [reason]) from cancelled
        if settled is None:
            raise ProviderError(f"{inputs['identifier']} was deleted while it was waited for")
        if settled.status == FAILED:
            outputs = self._present(aws, _describe(aws, inputs["identifier"]), inputs)
            raise InitializationFailed(id, outputs, [f"{inputs['identifier']} failed: {settled.error}"])

    @staticmethod
    def _present(aws: Aws, instance: dict[str, Any], inputs: Properties) -> Properties:
        """Outputs, and the inputs that the cloud filled in."""
        live = rds_api.live_inputs(instance)
        filled = {n: v for n, v in live.items() if n not in inputs and n in Instance.computed_inputs and v is not None}
        found = {**filled, **rds_api.outputs(instance), "tagsAll": all_tags(inputs), "region": aws.region}
        if aws.data_dir is not None:
            found["engineVersionActual"] = server_version()
        return found

    # -- read, update, delete ---------------------------------------------------------------------------------------

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        instance = _find(aws, id, state.get("identifier"))
        if instance is None:
            return None
        tags = tag_dict(instance.get("TagList"))
        live = {**rds_api.live_inputs(instance), **live_tags(aws, tags, inputs)}
        found = {**self._present(aws, instance, live), "tagsAll": tags}
        return instance["DbiResourceId"], live, found

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        aws = self.aws(ctx, state)
        rds = aws.client("rds")
        instance = _find(aws, id, state.get("identifier"))
        if instance is None:
            raise refusal("ModifyDBInstance", "DBInstanceNotFound", f"DBInstance {state.get('identifier')} not found.")
        local = servers(aws)
        record = local.records.find(resource_id=instance["DbiResourceId"]) if local is not None else None
        if local is not None and record is not None:
            # An update may be the repair of a creation that was cancelled or failed.
            if record.status != FAILED:
                self._wait(ctx, aws, local, record, id, {**inputs, "identifier": record.identifier})
            record = local.records.get(record.name) or record
        changes = rds_api.modification(old_inputs, inputs, dict(self.defaults))
        if changes:
            _require_parts(aws, {n: v for n, v in inputs.items() if old_inputs.get(n) != v}, "ModifyDBInstance")
            _modify(aws, instance, changes)
        arn = instance["DBInstanceArn"]
        added, removed = tag_changes(state, inputs)
        if removed:
            rds.remove_tags_from_resource(ResourceName=arn, TagKeys=removed)
        if added:
            rds.add_tags_to_resource(ResourceName=arn, Tags=tag_list(added))
        if local is not None and record is not None and (changes or record.status == FAILED):
            _change_password(local, record, changes)
            local.modify(record, inputs["identifier"], _settings(aws, inputs, instance))
            self._wait(ctx, aws, local, record, id, inputs)
        return self._present(aws, _describe(aws, inputs["identifier"]), inputs)

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        aws = self.aws(ctx, state)
        local = servers(aws)
        instance = _find(aws, id, state.get("identifier"))
        record = local.records.find(resource_id=id) if local is not None else None
        snapshot = None if is_true(state.get("skipFinalSnapshot")) else state.get("finalSnapshotIdentifier")
        if instance is not None:
            _require_deletable(aws, instance, state, snapshot, record)
        keep_backups = not is_true(state.get("deleteAutomatedBackups", True))
        if local is not None and record is not None:
            local.delete(record, final_snapshot=snapshot if instance else None, keep_backups=keep_backups)
            settled = local.wait(ctx, record)
            if settled is not None:
                raise ProviderError(f"deleting {record.identifier} failed: {settled.error}")
        elif instance is not None:
            arguments = {"FinalDBSnapshotIdentifier": snapshot} if snapshot else {}
            aws.client("rds").delete_db_instance(
                DBInstanceIdentifier=instance["DBInstanceIdentifier"],
                SkipFinalSnapshot=snapshot is None,
                DeleteAutomatedBackups=not keep_backups,
                **arguments,
            )


def _request(aws: Aws, local: Servers, inputs: Properties) -> Record:
    username, source = inputs.get("username", ""), None
    if "snapshotIdentifier" in inputs:
        snapshot = _snapshot(aws, inputs["snapshotIdentifier"])
        username, path = snapshot["MasterUsername"], local.snapshot(snapshot["DBSnapshotIdentifier"])
        if not path.exists():
            raise ProviderError(
                f"the snapshot {snapshot['DBSnapshotIdentifier']} holds no data: in the local cloud only the final "
                "snapshot of an instance does"
            )
        source = str(path)
    settings = server_settings(aws, inputs.get("parameterGroupName"))
    managed = is_true(inputs.get("manageMasterUserPassword"))
    return local.request(
        inputs["identifier"],
        username=username,
        verifier=None if managed or "password" not in inputs else verifier(inputs["password"]),
        database=inputs.get("dbName"),
        source=source,
        settings=settings.settings,
        force_ssl=settings.force_ssl,
    )


def _snapshot(aws: Aws, identifier: str) -> dict[str, Any]:
    name = identifier.rsplit(":", 1)[-1]
    found: dict[str, Any] = aws.client("rds").describe_db_snapshots(DBSnapshotIdentifier=name)["DBSnapshots"][0]
    return found


def _describe(aws: Aws, identifier: str) -> dict[str, Any]:
    found: dict[str, Any] = aws.client("rds").describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"][0]
    return found


def _find(aws: Aws, id: str, identifier: Any) -> dict[str, Any] | None:
    """The instance with the resource id ``id``, or the identifier ``id`` (an import)."""
    rds = aws.client("rds")
    if isinstance(identifier, str) or not id.startswith("db-"):
        try:
            found = _describe(aws, identifier if isinstance(identifier, str) else id)
        except ClientError as error:
            if not missing(error, *GONE):
                raise
        else:
            if found["DbiResourceId"] == id or not isinstance(identifier, str):
                return found
    if not id.startswith("db-"):
        return None
    matches = rds.describe_db_instances(Filters=[{"Name": "dbi-resource-id", "Values": [id]}])["DBInstances"]
    return dict(matches[0]) if matches else None


def _settings(aws: Aws, inputs: Properties, instance: dict[str, Any]) -> ServerSettings:
    groups = instance.get("DBParameterGroups") or [{}]
    return server_settings(aws, inputs.get("parameterGroupName", groups[0].get("DBParameterGroupName")))


def _modify(aws: Aws, instance: dict[str, Any], changes: dict[str, Any]) -> None:
    rds, identifier = aws.client("rds"), instance["DBInstanceIdentifier"]
    if changes.get("ManageMasterUserPassword") and instance.get("MasterUserSecret"):
        # moto would leave the secret under the former key behind.
        rds.modify_db_instance(DBInstanceIdentifier=identifier, ManageMasterUserPassword=False)
    # moto applies everything at once, as if the maintenance window had come.
    rds.modify_db_instance(DBInstanceIdentifier=identifier, ApplyImmediately=True, **changes)


def _change_password(local: Servers, record: Record, changes: dict[str, Any]) -> None:
    if changes.get("ManageMasterUserPassword"):
        local.manage_password(record, changes.get("NewDBInstanceIdentifier"))
    elif "MasterUserPassword" in changes:
        local.set_password(record, changes["MasterUserPassword"])


def _require_parts(aws: Aws, inputs: Properties, operation: str) -> None:
    """The keys, security groups and parameter group that moto takes on trust."""
    names = ("kmsKeyId", "masterUserSecretKmsKeyId", "performanceInsightsKmsKeyId")
    for key in dict.fromkeys(inputs[name] for name in names if name in inputs):
        usable_key(aws, key, operation)
    groups = inputs.get("vpcSecurityGroupIds")
    if groups:
        _require_security_groups(aws, list(groups), operation)
    group = inputs.get("parameterGroupName")
    version = inputs.get("engineVersion")
    if isinstance(group, str) and not group.startswith("default.") and version:
        rds_groups.require_family(aws, group, str(version), operation)


def _require_security_groups(aws: Aws, groups: list[str], operation: str) -> None:
    found = aws.client("ec2").describe_security_groups(Filters=[{"Name": "group-id", "Values": groups}])
    absent = set(groups) - {group["GroupId"] for group in found["SecurityGroups"]}
    if absent:
        message = f"Invalid security group(s): {', '.join(sorted(absent))}"
        raise refusal(operation, "InvalidParameterValue", message)


def _require_deletable(
    aws: Aws, instance: dict[str, Any], state: Properties, snapshot: str | None, record: Record | None
) -> None:
    identifier = instance["DBInstanceIdentifier"]
    if instance["DBInstanceStatus"] == "deleting":
        return
    if instance.get("DeletionProtection"):
        raise refusal(
            "DeleteDBInstance",
            "InvalidParameterCombination",
            f"Cannot delete protected DB Instance {identifier}, please disable deletion protection and try again.",
        )
    if is_true(state.get("skipFinalSnapshot")):
        return
    if not snapshot:
        raise ProviderError(
            f"{identifier}: finalSnapshotIdentifier is required when skipFinalSnapshot is false: set one of them"
        )
    if record is not None and record.status == FAILED and record.final_snapshot == snapshot:
        return
    if _has_snapshot(aws, snapshot):
        message = f"Cannot create the snapshot because a snapshot with the identifier {snapshot} already exists."
        raise refusal("DeleteDBInstance", "DBSnapshotAlreadyExists", message)


def _has_snapshot(aws: Aws, identifier: str) -> bool:
    try:
        _snapshot(aws, identifier)
    except ClientError as error:
        if not missing(error, *_SNAPSHOT_GONE):
            raise
        return False
    return True


HANDLERS = (Instance(), *rds_groups.HANDLERS)
