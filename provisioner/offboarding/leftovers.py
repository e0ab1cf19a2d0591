"""What is still there of a tenant whose stack is gone: by its tags, by the names that only it can have, in PostgreSQL.

What AWS keeps for a while on purpose (keys and secrets in their waiting time) is no leftover: it goes by itself, at a
time that is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import psycopg
from botocore.exceptions import BotoCoreError, ClientError

from components.account import Account
from components.naming import IAM_PATH, Names
from components.secrets import PRODUCTION_RECOVERY_DAYS, RECOVERY_DAYS
from components.spec import Environment, PlatformOutputs, TenantOutputs, TenantSpec
from components.tags import tenant_tags
from components.tiers import TIERS
from providers.postgres import bookkeeping, markers, pool_tenants
from providers.postgres.connection import Server
from providers.postgres.errors import DatabaseGone, PostgresProviderError
from provisioner import purge
from provisioner.errors import RetryLater
from provisioner.quotas.aws import AwsClients, error_code

KEY = "aws:kms/key:Key"
#: What tells one tenant's things of one life from all others'.
_IDENTIFYING = ("tenant_id", "generation", "installation")


_AGES_OUT = (
    "the plan archives: AWS keeps backups of a deleted instance for their days; unreadable once their key is gone"
)


class ScanFailed(RetryLater):
    """AWS or the database did not answer: what is left over is not known."""

    code = "scan_failed"


class Stacks(Protocol):
    """What ``provisioner.engine.state.PostgresState`` answers."""

    def checkpoint_version(self, stack_name: str) -> str | None: ...


@dataclass(frozen=True)
class Leftover:
    """``fix``: what an operator can do about it."""

    what: str
    where: str
    fix: str


@dataclass(frozen=True)
class Waiting:
    """Goes by itself. ``until``: when at the latest; None if AWS does not say."""

    what: str
    where: str
    until: datetime | None
    why: str


Found = Leftover | Waiting


@dataclass(frozen=True)
class Target:
    """A tenant as it stood. ``resources``: of its stack, as (type, id)."""

    spec: TenantSpec
    outputs: TenantOutputs | None
    platform: PlatformOutputs
    resources: Sequence[tuple[str, str]]
    archives: bool

    @property
    def names(self) -> Names:
        return Names.of_tenant(self.spec)

    @property
    def account(self) -> Account:
        return Account(self.platform.account_id, self.platform.region)

    @property
    def tags(self) -> Mapping[str, str]:
        return {name: value for name, value in tenant_tags(self.spec).items() if name in _IDENTIFYING}


@dataclass(frozen=True)
class Scanner:
    clients: AwsClients
    state: Stacks

    def scan(self, target: Target) -> list[Found]:
        """Everything, each once. Raises ScanFailed: an unanswered question is not an empty answer."""
        found: dict[str, Found] = {}
        checks: tuple[Callable[[Target], Iterator[Found]], ...] = (
            self._stack,
            self._keys,
            self._secrets,
            self._instance,
            self._snapshots,
            self._logs,
            self._files,
            self._role,
            self._alarms,
            self._security_groups,
            self._database,
            self._tagged,
        )
        for check in checks:
            try:
                for each in check(target):
                    found.setdefault(each.where, each)
            except (ClientError, BotoCoreError) as error:
                raise ScanFailed(
                    f"what is left of {target.spec.stack_name} could not be looked up "
                    f"({check.__name__.strip('_').replace('_', ' ')}): {error_code(error)}",
                    hint="the worker's role must be allowed to list it: docs/offboarding.md has the permissions",
                ) from error
            except (psycopg.Error, PostgresProviderError) as error:
                raise ScanFailed(
                    f"the shared database could not be asked what is left of {target.spec.stack_name}: "
                    f"{type(error).__name__}"
                ) from error
        return list(found.values())

    def _client(self, target: Target, service: str) -> Any:
        return self.clients(service, target.platform.region)

    def _stack(self, target: Target) -> Iterator[Found]:
        name = target.spec.stack_name
        if self.state.checkpoint_version(name) is not None:
            yield Leftover("Pulumi stack", f"stack {name}", f"tenantry tenants reconcile {target.spec.tenant_id}")

    def _keys(self, target: Target) -> Iterator[Found]:
        kms = self._client(target, "kms")
        for kind, id_ in target.resources:
            if kind != KEY:
                continue
            known = _or_none(lambda id_=id_: kms.describe_key(KeyId=id_), "NotFoundException")  # type: ignore[misc]
            if known is None:
                continue
            about = known["KeyMetadata"]
            if about["KeyState"] == "PendingDeletion":
                yield Waiting(
                    "KMS key, and with it everything that it encrypted",
                    about["Arn"],
                    about.get("DeletionDate"),
                    "AWS keeps a key for a waiting time in which its deletion can be cancelled; it decrypts "
                    "nothing meanwhile",
                )
            else:
                yield Leftover("KMS key", about["Arn"], f"aws kms schedule-key-deletion --key-id {id_}")
        alias = target.names.key_alias
        if _or_none(lambda: kms.describe_key(KeyId=alias), "NotFoundException") is not None:
            yield Leftover("KMS alias", alias, f"aws kms delete-alias --alias-name {alias}")

    def _secrets(self, target: Target) -> Iterator[Found]:
        client = self._client(target, "secretsmanager")
        prefix = target.names.secret("")
        production = target.spec.environment is Environment.PRODUCTION
        days = timedelta(days=PRODUCTION_RECOVERY_DAYS if production else RECOVERY_DAYS)
        pages = client.get_paginator("list_secrets").paginate(
            IncludePlannedDeletion=True, Filters=[{"Key": "name", "Values": [prefix]}]
        )
        for page in pages:
            for secret in page["SecretList"]:
                if not secret["Name"].startswith(prefix):
                    continue
                deleted = secret.get("DeletedDate")
                if deleted is None:
                    fix = f"aws secretsmanager delete-secret --secret-id {secret['ARN']}"
                    yield Leftover("secret", secret["ARN"], fix)
                else:
                    yield Waiting(
                        "secret with the password of a login that is gone",
                        secret["ARN"],
                        deleted.astimezone(UTC) + days,
                        "Secrets Manager keeps a secret for a recovery window",
                    )

    def _instance(self, target: Target) -> Iterator[Found]:
        rds, name = self._client(target, "rds"), target.names.instance
        found = _or_none(
            lambda: rds.describe_db_instances(DBInstanceIdentifier=name),
            "DBInstanceNotFound",
            "DBInstanceNotFoundFault",
        )
        for each in [] if found is None else found["DBInstances"]:
            arn = each.get("DBInstanceArn") or name
            yield Leftover(
                f"RDS instance ({each['DBInstanceStatus']})",
                arn,
                f"aws rds delete-db-instance --db-instance-identifier {name} --skip-final-snapshot",
            )

    def _snapshots(self, target: Target) -> Iterator[Found]:
        rds, name = self._client(target, "rds"), target.names.instance
        for page in rds.get_paginator("describe_db_snapshots").paginate(DBInstanceIdentifier=name):
            for each in page["DBSnapshots"]:
                identifier, arn = each["DBSnapshotIdentifier"], each["DBSnapshotArn"]
                if target.archives and identifier == target.names.final_snapshot:
                    yield Waiting(
                        "final snapshot",
                        arn,
                        None,
                        "the plan archives: it is deleted with the archive, and is unreadable as soon as its key is",
                    )
                elif target.archives and each.get("SnapshotType") == "automated":
                    yield Waiting("automated snapshot", arn, _aged_out(target), _AGES_OUT)
                else:
                    fix = f"aws rds delete-db-snapshot --db-snapshot-identifier {identifier}"
                    yield Leftover("RDS snapshot", arn, fix)
        for each in rds.describe_db_instance_automated_backups(DBInstanceIdentifier=name)["DBInstanceAutomatedBackups"]:
            arn = each.get("DBInstanceAutomatedBackupsArn") or f"automated backups of {name}"
            if target.archives:
                yield Waiting("automated backups", arn, _aged_out(target), _AGES_OUT)
            else:
                yield Leftover(
                    "automated backups",
                    arn,
                    f"aws rds delete-db-instance-automated-backup --dbi-resource-id {each.get('DbiResourceId')}",
                )

    def _logs(self, target: Target) -> Iterator[Found]:
        logs = self._client(target, "logs")
        prefix = target.names.rds_log_group("")
        for page in logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix):
            for group in page["logGroups"]:
                name = group["logGroupName"]
                yield Leftover(
                    "log group", group.get("arn") or name, f"aws logs delete-log-group --log-group-name {name}"
                )

    def _files(self, target: Target) -> Iterator[Found]:
        s3 = self._client(target, "s3")
        if TIERS[target.spec.tier].own_bucket:
            bucket = target.names.bucket(target.account)
            if _or_none(lambda: s3.head_bucket(Bucket=bucket), "404", "NoSuchBucket") is not None:
                yield Leftover("bucket", target.account.bucket_arn(bucket), f"aws s3 rb --force s3://{bucket}")
            return
        prefix = f"{target.spec.tenant_id}/"
        if not purge.count(s3, target.platform.shared_bucket, prefix).empty:
            where = f"s3://{target.platform.shared_bucket}/{prefix}"
            yield Leftover("files", where, f"tenantry tenants reconcile {target.spec.tenant_id}")

    def _role(self, target: Target) -> Iterator[Found]:
        iam, name = self._client(target, "iam"), target.names.role
        if _or_none(lambda: iam.get_role(RoleName=name), "NoSuchEntity") is not None:
            yield Leftover(
                "IAM role", target.account.role_arn(IAM_PATH, name), f"aws iam delete-role --role-name {name}"
            )

    def _alarms(self, target: Target) -> Iterator[Found]:
        client = self._client(target, "cloudwatch")
        for page in client.get_paginator("describe_alarms").paginate(AlarmNamePrefix=target.names.alarm("")):
            for alarm in page["MetricAlarms"]:
                name = alarm["AlarmName"]
                yield Leftover("alarm", alarm["AlarmArn"], f"aws cloudwatch delete-alarms --alarm-names {name}")

    def _security_groups(self, target: Target) -> Iterator[Found]:
        ec2 = self._client(target, "ec2")
        filters = [{"Name": f"tag:{name}", "Values": [value]} for name, value in target.tags.items()]
        for page in ec2.get_paginator("describe_security_groups").paginate(Filters=filters):
            for group in page["SecurityGroups"]:
                yield Leftover(
                    "security group",
                    target.account.arn("ec2", f"security-group/{group['GroupId']}"),
                    f"aws ec2 delete-security-group --group-id {group['GroupId']}",
                )

    def _database(self, target: Target) -> Iterator[Found]:
        """In the cell's shared database; an own instance takes all with it."""
        own = TIERS[target.spec.tier]
        if own.own_instance:
            return
        shared, again = target.platform.shared_database, f"tenantry tenants reconcile {target.spec.tenant_id}"
        server = Server(shared.address, shared.port, target.platform.shared_master_secret_arn, target.platform.region)
        if not own.own_schema:
            if pool_tenants.read(server, shared.name, target.spec.tenant_id) is not None:
                yield Leftover("registration in the pool", f"{shared.name}: tenantry.pool_tenant", again)
            return
        name = target.names.postgres
        with server.connect() as connection:
            for role in (target.names.postgres_login, target.names.postgres_owner):
                if markers.exists(connection, "ROLE", role):
                    yield Leftover("role in PostgreSQL", f"{shared.address}: role {role}", again)
        try:
            with server.connect(shared.name) as connection:
                if markers.exists(connection, "SCHEMA", name):
                    yield Leftover("schema", f"{shared.name}: schema {name}", again)
                if bookkeeping.registered(connection, name) is not None:
                    yield Leftover("registered migrations", f"{shared.name}: tenantry.app_schema {name}", again)
        except DatabaseGone:
            return

    def _tagged(self, target: Target) -> Iterator[Found]:
        """Whatever bears the tenant's tags, of a kind that nobody thought of too."""
        client = self._client(target, "resourcegroupstaggingapi")
        waiting = {each.where for each in (*self._keys(target), *self._secrets(target), *self._snapshots(target))}
        filters = [{"Key": name, "Values": [value]} for name, value in target.tags.items()]
        for page in client.get_paginator("get_resources").paginate(TagFilters=filters):
            for each in page["ResourceTagMappingList"]:
                arn = each["ResourceARN"]
                if arn not in waiting:
                    yield Leftover("resource with the tenant's tags", arn, "delete it, or take its tags off")


def _aged_out(target: Target) -> datetime | None:
    """When the last automated backup of the instance is gone, at the latest."""
    return (
        None if target.spec.instance is None else datetime.now(UTC) + timedelta(days=target.spec.instance.backup_days)
    )


def _or_none(ask: Callable[[], Any], *codes: str) -> Any | None:
    """The answer; None if it is one of ``codes``: there is no such thing."""
    try:
        return ask()
    except ClientError as error:
        if error_code(error) in codes:
            return None
        raise
