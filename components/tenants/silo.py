"""Tier ``silo``: an instance, key, bucket, role and security group of its own; only the network is shared."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
from pulumi_aws.rds._inputs import InstanceDesiredStateTimeoutsArgs
from pulumi_aws.rds.instance_desired_state import InstanceDesiredState

from components import postgres
from components.account import Account
from components.alarms import BucketAlarm, BucketAlarmArgs, DatabaseAlarms, DatabaseAlarmsArgs
from components.database import DatabaseInstance, DatabaseInstanceArgs
from components.firewall import POSTGRES_PORT, SecurityGroup, SecurityGroupArgs
from components.identity import TenantRole, TenantRoleArgs
from components.keys import EncryptionKey, EncryptionKeyArgs, KeyUse
from components.naming import IAM_PATH, Names
from components.spec import Access, Environment, PlatformOutputs, TenantSpec
from components.storage import Bucket, BucketArgs
from components.tags import tenant_tags
from components.tenant_schema import TenantSchema, TenantSchemaArgs
from components.tenants.tenant import Tenant, TenantArgs
from components.tiers import Tier

#: A start replays what a crash of the server left; the AWS provider's own limit is 20 minutes.
STATE_TIMEOUT = "60m"


class SiloTenant(Tenant):
    TIER = Tier.SILO

    def __init__(self, name: str, args: TenantArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        spec, platform = args.spec, args.platform
        self._args = args
        self._account = Account(platform.account_id, platform.region)
        self._names = Names.of_tenant(spec)
        self._tags = tenant_tags(spec)
        self._child = pulumi.ResourceOptions(parent=self)
        key = EncryptionKey(
            f"{name}-key",
            EncryptionKeyArgs(
                alias=self._names.key_alias,
                description=f"All data of tenant {spec.tenant_id} of {spec.installation}",
                account=self._account,
                use=key_use(spec, platform, self._names, self._account),
                environment=spec.environment,
                tags=self._tags,
                protect=spec.protect,
            ),
            opts=self._child,
        )
        database = self._database(name, key)
        # It is started before anything is asked of the server, and stopped when all that is asked has been done.
        running = [] if self._stopped else [self._state(name, database, "available")]
        server = postgres.Provider(
            f"{name}-server",
            host=database.address,
            port=database.port,
            master_secret_arn=database.master_secret_arn,
            region=platform.region,
            stopped=self._stopped,
            opts=pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=running)),
        )
        own = pulumi.ResourceOptions(parent=self, provider=server, protect=spec.protect, deleted_with=database.instance)
        frozen = pulumi.ResourceOptions(ignore_changes=["name"] if self._stopped else None)
        own_database = postgres.Database(
            name, name=self._names.postgres, opts=pulumi.ResourceOptions.merge(own, frozen)
        )
        schema = TenantSchema(
            name,
            TenantSchemaArgs(
                names=self._names,
                tenant_id=spec.tenant_id,
                database=own_database.name,
                key_arn=key.arn,
                connection_limit=spec.connection_limit,
                access=spec.access,
                environment=spec.environment,
                tags=self._tags,
                app_schema=args.app_schema,
                protect=spec.protect,
                frozen=self._stopped,
            ),
            server=server,
            deleted_with=database.instance,
            opts=self._child,
        )
        if self._stopped:
            self._state(name, database, "stopped", after=[own_database, schema])
        bucket, role = self._files(name, key)
        endpoint = {"address": database.address, "port": database.port, "name": own_database.name}
        self._finish(
            spec,
            database=endpoint,
            db_schema=schema.schema,
            login=schema.login,
            login_secret_arn=schema.login_secret_arn,
            app_schema_version=schema.app_schema_version,
            bucket=bucket.name,
            prefix="",
            kms_key_arn=key.arn,
            role_arn=role.arn,
        )

    @property
    def _stopped(self) -> bool:
        return self._args.spec.access is Access.HIBERNATED

    def _state(
        self, name: str, database: DatabaseInstance, state: str, after: Sequence[pulumi.Resource] = ()
    ) -> InstanceDesiredState:
        """AWS starts a stopped instance after seven days: ``provisioner.hibernation`` stops it again."""
        return InstanceDesiredState(
            f"{name}-database",
            identifier=database.identifier,
            state=state,
            timeouts=InstanceDesiredStateTimeoutsArgs(create=STATE_TIMEOUT, update=STATE_TIMEOUT),
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(after), deleted_with=database.instance),
        )

    def _database(self, name: str, key: EncryptionKey) -> DatabaseInstance:
        spec, platform = self._args.spec, self._args.platform
        assert spec.instance is not None  # TenantSpec guarantees it for this tier
        firewall = SecurityGroup(
            f"{name}-database",
            SecurityGroupArgs(
                group_name=self._names.security_group("database"),
                description="Database of one tenant, for the app tier",
                vpc_id=platform.vpc_id,
                tags=self._tags,
                ingress_port=POSTGRES_PORT,
                ingress_from=platform.app_security_group_id,
            ),
            opts=self._child,
        )
        database = DatabaseInstance(
            f"{name}-database",
            DatabaseInstanceArgs(
                names=self._names,
                instance=spec.instance,
                environment=spec.environment,
                key_arn=key.arn,
                subnet_group=platform.db_subnet_group,
                parameter_group=platform.db_parameter_group,
                security_group_id=firewall.id,
                tags=self._tags,
                protect=spec.protect,
                final_snapshot=spec.final_snapshot,
                frozen=self._stopped,
                # As the shared one: in production an instance without a standby is a single point of failure.
                multi_az=spec.instance.multi_az or spec.environment is Environment.PRODUCTION,
            ),
            opts=self._child,
        )
        DatabaseAlarms(
            f"{name}-database",
            DatabaseAlarmsArgs(
                names=self._names,
                instance_identifier=database.identifier,
                storage_gib=spec.instance.storage_gib,
                topic_arn=platform.alarm_topic_arn,
                tags=self._tags,
            ),
            opts=self._child,
        )
        return database

    def _files(self, name: str, key: EncryptionKey) -> tuple[Bucket, TenantRole]:
        spec, platform = self._args.spec, self._args.platform
        bucket_name = self._names.bucket(self._account)
        bucket = Bucket(
            f"{name}-files",
            BucketArgs(
                bucket_name=bucket_name,
                account=self._account,
                key_arn=key.arn,
                data_role_arn=self._names.role_arn(self._account),
                tenant_id=spec.tenant_id,
                tags=self._tags,
                protect=spec.protect,
            ),
            opts=self._child,
        )
        BucketAlarm(
            f"{name}-files",
            BucketAlarmArgs(
                names=self._names, bucket_name=bucket_name, topic_arn=platform.alarm_topic_arn, tags=self._tags
            ),
            opts=self._child,
        )
        role = TenantRole(
            f"{name}-role",
            TenantRoleArgs(
                role_name=self._names.role,
                account=self._account,
                bucket=bucket_name,
                key=self._names.key,
                boundary_arn=platform.permissions_boundary_arn,
                brokers=platform.broker_principal_arns,
                tenant_id=spec.tenant_id,
                access=Access.READ_ONLY if spec.exporting and not spec.access.serves else spec.access,
                tags=self._tags,
            ),
            opts=self._child,
        )
        return bucket, role


def key_use(spec: TenantSpec, platform: PlatformOutputs, names: Names, account: Account) -> KeyUse:
    """This tenant's instance, bucket, secrets and logs, and nothing of anybody else's."""
    return KeyUse(
        data_role=account.role_arn(IAM_PATH, names.role),
        tenant_tag=spec.tenant_id,
        bucket=names.bucket(account),
        secret_prefix=names.secret(""),
        database=True,
        log_group_prefix=names.rds_log_group(""),
        provisioners=platform.provisioner_principal_arns,
        brokers=platform.broker_principal_arns,
    )
