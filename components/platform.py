"""What the tenants of a cell share: network, instance with the pool, bucket, key, role, boundary, alarm topic."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from components import postgres
from components.account import Account
from components.alarms import (
    AlarmTopic,
    AlarmTopicArgs,
    BucketAlarm,
    BucketAlarmArgs,
    DatabaseAlarms,
    DatabaseAlarmsArgs,
)
from components.app_schema import AppMigrations
from components.database import DatabaseGroups, DatabaseGroupsArgs, DatabaseInstance, DatabaseInstanceArgs
from components.firewall import POSTGRES_PORT, SecurityGroup, SecurityGroupArgs
from components.identity import PermissionsBoundary, PermissionsBoundaryArgs, TenantRole, TenantRoleArgs
from components.keys import EncryptionKey, EncryptionKeyArgs, KeyUse
from components.naming import IAM_PATH, PREFIX, Names
from components.network import Network, NetworkArgs
from components.pool_schema import PoolSchema, PoolSchemaArgs
from components.spec import DatabaseEndpoint, Environment, PlatformOutputs, PlatformSpec
from components.storage import Bucket, BucketArgs
from components.tags import platform_tags
from components.tampering import TamperingAlarm, TamperingAlarmArgs


@dataclass(frozen=True)
class PlatformArgs:
    """``availability_zones``: names, at least as many as ``spec`` asks for; the first ones are taken."""

    spec: PlatformSpec
    account: pulumi.Output[Account]
    availability_zones: pulumi.Input[list[str]]
    app_schema: AppMigrations | None = None


class Platform(pulumi.ComponentResource):
    """``outputs`` is known when the last of its parts stands."""

    outputs: pulumi.Output[PlatformOutputs]

    def __init__(self, name: str, args: PlatformArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tenantry:index:Platform", name, None, opts)
        spec, account = args.spec, args.account
        names = Names.of_platform(spec)
        tags = platform_tags(spec)
        child = pulumi.ResourceOptions(parent=self)
        bucket_name = account.apply(names.bucket)
        role_arn = account.apply(names.role_arn)

        key = EncryptionKey(
            f"{name}-key",
            EncryptionKeyArgs(
                alias=names.key_alias,
                description=f"Tenants that share cell {spec.cell} of {spec.installation}",
                account=account,
                use=account.apply(lambda known: key_use(spec, names, known)),
                environment=spec.environment,
                tags=tags,
                protect=spec.protect,
            ),
            opts=child,
        )
        network = Network(
            f"{name}-network",
            NetworkArgs(
                prefix=names.aws,
                account=account,
                region=spec.region,
                cidr=spec.cidr,
                availability_zones=args.availability_zones,
                zone_count=spec.availability_zones,
                tags=tags,
                protect=spec.protect,
            ),
            opts=child,
        )
        topic = AlarmTopic(
            f"{name}-alarms",
            AlarmTopicArgs(topic_name=names.topic, account=account, key_arn=key.arn, tags=tags),
            opts=child,
        )
        groups = DatabaseGroups(
            f"{name}-database",
            DatabaseGroupsArgs(names=names, subnet_ids=network.private_subnet_ids, tags=tags),
            opts=child,
        )
        firewall = SecurityGroup(
            f"{name}-database",
            SecurityGroupArgs(
                group_name=names.security_group("database"),
                description="Shared database, for the app tier",
                vpc_id=network.vpc_id,
                tags=tags,
                ingress_port=POSTGRES_PORT,
                ingress_from=network.app_security_group_id,
            ),
            opts=child,
        )
        database = DatabaseInstance(
            f"{name}-database",
            DatabaseInstanceArgs(
                names=names,
                instance=spec.shared_instance,
                environment=spec.environment,
                key_arn=key.arn,
                subnet_group=groups.subnet_group,
                parameter_group=groups.parameter_group,
                security_group_id=firewall.id,
                tags=tags,
                protect=spec.protect,
                # Every pool tenant waits for this one: in production it always has a standby.
                multi_az=spec.shared_instance.multi_az or spec.environment is Environment.PRODUCTION,
            ),
            opts=child,
        )
        DatabaseAlarms(
            f"{name}-database",
            DatabaseAlarmsArgs(
                names=names,
                instance_identifier=database.identifier,
                storage_gib=spec.shared_instance.storage_gib,
                topic_arn=topic.arn,
                tags=tags,
            ),
            opts=child,
        )
        server = postgres.Provider(
            f"{name}-server",
            host=database.address,
            port=database.port,
            master_secret_arn=database.master_secret_arn,
            region=spec.region,
            opts=child,
        )
        pool = PoolSchema(
            f"{name}-pool",
            PoolSchemaArgs(
                names=names,
                key_arn=key.arn,
                connection_limit=spec.pool_connection_limit,
                environment=spec.environment,
                tags=tags,
                app_schema=args.app_schema,
                protect=spec.protect,
            ),
            server=server,
            deleted_with=database.instance,
            opts=child,
        )
        bucket = Bucket(
            f"{name}-files",
            BucketArgs(
                bucket_name=bucket_name,
                account=account,
                key_arn=key.arn,
                data_role_arn=role_arn,
                tags=tags,
                protect=spec.protect,
            ),
            opts=child,
        )
        BucketAlarm(
            f"{name}-files",
            BucketAlarmArgs(names=names, bucket_name=bucket_name, topic_arn=topic.arn, tags=tags),
            opts=child,
        )
        tampering = TamperingAlarm(
            f"{name}-tampering",
            TamperingAlarmArgs(
                names=names,
                account=account,
                key_arn=key.arn,
                topic_arn=topic.arn,
                environment=spec.environment,
                tags=tags,
                provisioners=spec.provisioner_principal_arns,
                protect=spec.protect,
            ),
            opts=child,
        )
        boundary = PermissionsBoundary(
            f"{name}-boundary",
            PermissionsBoundaryArgs(
                policy_name=names.boundary,
                account=account,
                shared_bucket=bucket_name,
                platform_key=names.key,
                tags=tags,
            ),
            opts=child,
        )
        role = TenantRole(
            f"{name}-tenants",
            TenantRoleArgs(
                role_name=names.role,
                account=account,
                bucket=bucket_name,
                key=names.key,
                boundary_arn=boundary.arn,
                brokers=spec.broker_principal_arns,
                tags=tags,
            ),
            opts=child,
        )
        self.outputs = pulumi.Output.all(
            account=account,
            vpc_id=network.vpc_id,
            private_subnet_ids=network.private_subnet_ids,
            db_subnet_group=groups.subnet_group,
            db_parameter_group=groups.parameter_group,
            app_security_group_id=network.app_security_group_id,
            shared_instance_identifier=database.identifier,
            address=database.address,
            port=database.port,
            database=pool.database,
            shared_master_secret_arn=database.master_secret_arn,
            pool_login=pool.login,
            pool_login_secret_arn=pool.login_secret_arn,
            pool_token_secret_arn=pool.token_secret_arn,
            shared_bucket=bucket.name,
            platform_key_arn=key.arn,
            shared_role_arn=role.arn,
            permissions_boundary_arn=boundary.arn,
            alarm_topic_arn=topic.arn,
            tampering_rule_arn=tampering.rule_arn,
            app_schema_version=pool.app_schema_version,
        ).apply(lambda known: _outputs(spec, known))
        self.register_outputs({"outputs": self.outputs.apply(lambda known: known.model_dump(mode="json"))})


def key_use(spec: PlatformSpec, names: Names, account: Account) -> KeyUse:
    """The shared instance and bucket, the alarms' topic, and the logins of all who have no key of their own.

    A bridge tenant's login secret is named after the tenant, so secrets are allowed by the installation-wide prefix:
    a silo's are out of reach all the same, encrypted with its own key.
    """
    return KeyUse(
        data_role=account.role_arn(IAM_PATH, names.role),
        bucket=names.bucket(account),
        secret_prefix=f"{PREFIX}-",
        database=True,
        log_group_prefix=names.rds_log_group(""),
        event_log_group=names.event_log_group,
        topic=names.topic,
        provisioners=spec.provisioner_principal_arns,
        brokers=spec.broker_principal_arns,
    )


def _outputs(spec: PlatformSpec, known: dict[str, object]) -> PlatformOutputs:
    account = known.pop("account")
    assert isinstance(account, Account)
    endpoint = DatabaseEndpoint.model_validate(
        {"address": known.pop("address"), "port": known.pop("port"), "name": known.pop("database")}
    )
    return PlatformOutputs.model_validate(
        {
            **known,
            "cell": spec.cell,
            "account_id": account.id,
            "region": spec.region,
            "shared_database": endpoint,
            "broker_principal_arns": spec.broker_principal_arns,
            "provisioner_principal_arns": spec.provisioner_principal_arns,
        }
    )
