"""An RDS for PostgreSQL instance, and the subnet and parameter groups that a cell's instances share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws.rds._inputs import ParameterGroupParameterArgs
from pulumi_aws.rds.instance import Instance
from pulumi_aws.rds.outputs import InstanceMasterUserSecret
from pulumi_aws.rds.parameter_group import ParameterGroup
from pulumi_aws.rds.subnet_group import SubnetGroup

from components.logs import LogGroup, LogGroupArgs
from components.naming import Names
from components.spec import Environment, InstanceSpec

ENGINE_MAJOR = "18"
FAMILY = f"postgres{ENGINE_MAJOR}"
MASTER = "tenantry_master"
EXPORTED_LOGS = ("postgresql", "upgrade")

PARAMETERS: dict[str, tuple[str, str]] = {
    "rds.force_ssl": ("1", "immediate"),
    "rds.logical_replication": ("1", "pending-reboot"),
    "rds.accepted_password_auth_method": ("scram", "immediate"),
    "log_connections": ("1", "immediate"),
    "log_disconnections": ("1", "immediate"),
    "log_lock_waits": ("1", "immediate"),
    "log_min_duration_statement": ("1000", "immediate"),
    # A slow statement is logged with its bound parameters otherwise, and entry tokens are bound parameters.
    "log_parameter_max_length": ("0", "immediate"),
}
"""Value and apply method of each parameter that differs from RDS's default or must not drift from it."""


#: what a change of modifies the instance
_MODIFIABLE = (
    "allocated_storage",
    "auto_minor_version_upgrade",
    "backup_retention_period",
    "copy_tags_to_snapshot",
    "db_subnet_group_name",
    "deletion_protection",
    "enabled_cloudwatch_logs_exports",
    "engine_version",
    "instance_class",
    "master_user_secret_kms_key_id",
    "multi_az",
    "parameter_group_name",
    "performance_insights_enabled",
    "publicly_accessible",
    "storage_type",
    "vpc_security_group_ids",
)


@dataclass(frozen=True)
class DatabaseGroupsArgs:
    names: Names
    subnet_ids: pulumi.Input[list[str]]
    tags: Mapping[str, str]


class DatabaseGroups(pulumi.ComponentResource):
    """Shared by all instances of a cell, since an account has 50 of either kind."""

    subnet_group: pulumi.Output[str]
    parameter_group: pulumi.Output[str]

    def __init__(self, name: str, args: DatabaseGroupsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tenantry:index:DatabaseGroups", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        subnets = SubnetGroup(
            name,
            name=args.names.subnet_group,
            description="Private subnets of the cell",
            subnet_ids=args.subnet_ids,
            tags=dict(args.tags),
            opts=child,
        )
        parameters = ParameterGroup(
            name,
            name=args.names.parameter_group(FAMILY),
            family=FAMILY,
            description="TLS only, ready for logical replication, no secrets in logs",
            parameters=[
                ParameterGroupParameterArgs(name=key, value=value, apply_method=method)
                for key, (value, method) in PARAMETERS.items()
            ],
            tags=dict(args.tags),
            opts=child,
        )
        self.subnet_group = subnets.name
        self.parameter_group = parameters.name
        self.register_outputs({"subnetGroup": self.subnet_group, "parameterGroup": self.parameter_group})


@dataclass(frozen=True)
class DatabaseInstanceArgs:
    names: Names
    instance: InstanceSpec
    environment: Environment
    key_arn: pulumi.Input[str]
    subnet_group: pulumi.Input[str]
    parameter_group: pulumi.Input[str]
    security_group_id: pulumi.Input[str]
    tags: Mapping[str, str]
    protect: bool = True  #: Pulumi's and RDS's own deletion protection
    final_snapshot: bool = True
    multi_az: bool | None = None  #: overrides the instance spec's
    frozen: bool = False  #: it is being stopped, or is: RDS refuses to modify a stopped instance


class DatabaseInstance(pulumi.ComponentResource):
    """The master's password is RDS's: made, kept and rotated in Secrets Manager, never seen by Pulumi."""

    identifier: pulumi.Output[str]
    address: pulumi.Output[str]
    port: pulumi.Output[int]
    master_secret_arn: pulumi.Output[str]

    def __init__(self, name: str, args: DatabaseInstanceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tenantry:index:DatabaseInstance", name, None, opts)
        # RDS makes missing log groups itself, unencrypted and kept for ever: these are there before.
        logs = [
            LogGroup(
                f"{name}-{log}",
                LogGroupArgs(
                    log_group_name=args.names.rds_log_group(log),
                    kms_key_arn=args.key_arn,
                    environment=args.environment,
                    tags=args.tags,
                    protect=args.protect,
                ),
                opts=pulumi.ResourceOptions(parent=self),
            )
            for log in EXPORTED_LOGS
        ]
        production = args.environment is Environment.PRODUCTION
        # All but tags, which RDS takes of a stopped instance too.
        unchanging = pulumi.ResourceOptions(ignore_changes=list(_MODIFIABLE) if args.frozen else None)
        self.instance = Instance(
            name,
            identifier=args.names.instance,
            engine="postgres",
            engine_version=ENGINE_MAJOR,
            auto_minor_version_upgrade=True,
            instance_class=args.instance.instance_class,
            allocated_storage=args.instance.storage_gib,
            storage_type="gp3",
            storage_encrypted=True,
            kms_key_id=args.key_arn,
            username=MASTER,
            manage_master_user_password=True,
            master_user_secret_kms_key_id=args.key_arn,
            db_subnet_group_name=args.subnet_group,
            parameter_group_name=args.parameter_group,
            vpc_security_group_ids=[args.security_group_id],
            publicly_accessible=False,
            multi_az=args.instance.multi_az if args.multi_az is None else args.multi_az,
            backup_retention_period=args.instance.backup_days,
            delete_automated_backups=not args.final_snapshot,
            copy_tags_to_snapshot=True,
            deletion_protection=args.protect,
            skip_final_snapshot=not args.final_snapshot,
            final_snapshot_identifier=args.names.final_snapshot,
            enabled_cloudwatch_logs_exports=list(EXPORTED_LOGS),
            performance_insights_enabled=False,
            # A new class restarts the instance: in production it waits for the maintenance window.
            apply_immediately=not production,
            tags=dict(args.tags),
            opts=pulumi.ResourceOptions.merge(
                pulumi.ResourceOptions(parent=self, protect=args.protect, depends_on=logs), unchanging
            ),
        )
        self.identifier = self.instance.identifier
        self.address = self.instance.address
        self.port = self.instance.port
        self.master_secret_arn = self.instance.master_user_secrets.apply(_secret_arn)
        self.register_outputs(
            {
                "identifier": self.identifier,
                "address": self.address,
                "port": self.port,
                "masterSecretArn": self.master_secret_arn,
            }
        )


def _secret_arn(secrets: Sequence[InstanceMasterUserSecret]) -> str:
    arn = secrets[0].secret_arn if secrets else None
    if not arn:
        raise ValueError("RDS reports no managed master secret: the instance was made with a password of its own")
    return arn
