"""The contract between the provisioner and a stack: what a tenant should be, and what came out.

``TenantSpec`` travels into the stack as the config value ``tenantry:spec`` (JSON), ``PlatformOutputs`` as
``tenantry:platform``; the stack exports ``TenantOutputs`` under the output ``tenant`` and a platform stack exports
``PlatformOutputs`` under ``platform``. No secret is in any of them: logins are ARNs of Secrets Manager secrets.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from components.tiers import TIERS, Tier

TENANT_ID = re.compile(r"[a-z](?:[a-z0-9]|-(?!-)){1,38}[a-z0-9]")
RESERVED_TENANT_IDS = frozenset({"platform"})
_INSTANCE_CLASS = r"^db\.[a-z0-9]+\.[a-z0-9]+$"


def validate_tenant_id(value: str) -> str:
    """Return ``value`` if it is a legal tenant id, else raise ``ValueError`` saying what is wrong."""
    if not TENANT_ID.fullmatch(value):
        raise ValueError(
            "a tenant id has 3 to 40 characters: lower-case letters, digits and single hyphens, "
            "starts with a letter and does not end with a hyphen"
        )
    if value in RESERVED_TENANT_IDS:
        raise ValueError(f"the tenant id {value!r} is reserved")
    return value


TenantId = Annotated[str, AfterValidator(validate_tenant_id)]
CellName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,19}$")]


class Environment(StrEnum):
    PRODUCTION = "production"
    STAGING = "staging"
    DEVELOPMENT = "development"


class Access(StrEnum):
    """What the tenant may do with what it has, from most to least. ``docs/lifecycle.md`` has the table behind it."""

    FULL = "full"
    GRACE = "grace"  #: as full; a payment is overdue, and the SDK says so
    THROTTLED = "throttled"  #: as full, with quotas and rates cut
    READ_ONLY = "read_only"  #: the database and the bucket refuse the tenant's writes
    SUSPENDED = "suspended"  #: logins closed, pool entry refused, broker and role refuse; data untouched
    HIBERNATED = "hibernated"  #: as suspended, and an instance of the tenant's own is stopped
    RETAINED = "retained"  #: as suspended, later as hibernated; the subscription has ended, the plan's days run
    DELETED = "deleted"  #: nothing stands

    @property
    def serves(self) -> bool:
        """Whether the tenant may read its data."""
        return self in (Access.FULL, Access.GRACE, Access.THROTTLED, Access.READ_ONLY)

    @property
    def writes(self) -> bool:
        """Whether the tenant may change its data."""
        return self in (Access.FULL, Access.GRACE, Access.THROTTLED)

    @property
    def enforced(self) -> Access:
        """What a stack has to make true for it: ``full``, ``read_only``, ``suspended`` or ``hibernated``. The rest is
        the registry's: quotas are cut there, and a grace costs nothing."""
        if self.writes:
            return Access.FULL
        if self in (Access.RETAINED, Access.DELETED):
            return Access.SUSPENDED
        return self


#: What ``TenantSpec.access`` may be: the others need no change of a stack.
ENFORCED_ACCESS = (Access.FULL, Access.READ_ONLY, Access.SUSPENDED, Access.HIBERNATED)


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InstanceSpec(Frozen):
    """Size of a silo tenant's own RDS instance."""

    instance_class: str = Field("db.t4g.medium", pattern=_INSTANCE_CLASS, description="RDS instance class")
    storage_gib: int = Field(20, ge=20, le=65536, description="allocated storage, GiB")
    multi_az: bool = Field(
        False,
        description="a standby in a second Availability Zone: doubles the cost; in production there always is one",
    )
    backup_days: int = Field(7, ge=1, le=35, description="days of automated backups kept")


class Budget(Frozen):
    """What a plan pays for in infrastructure; the policy rule ``tenancy-budget`` holds a stack to it."""

    max_resources: int = Field(ge=1, le=10_000, description="resources of the stack; components are not counted")
    monthly_usd: float = Field(
        gt=0, le=1_000_000, description="on-demand price of the stack, USD a month, without what is metered by use"
    )
    instance_classes: tuple[Annotated[str, Field(pattern=_INSTANCE_CLASS)], ...] = Field(
        (), description="RDS instance classes that may be used; empty: any"
    )


class TenantSpec(Frozen):
    """Desired state of one tenant's stack."""

    installation: str = Field(pattern=r"^[a-z][a-z0-9-]{0,19}$", description="this installation of Tenantry")
    environment: Environment
    tenant_id: TenantId
    generation: int = Field(1, ge=1, description="which life of the id this is; an id with traces is never reused")
    cell: CellName = "default"
    tier: Tier
    plan: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")
    epoch: int = Field(1, ge=1, description="raised whenever the placement changes; in tokens and routing")
    access: Access = Field(Access.FULL, description="what the stack enforces: full, read_only, suspended or hibernated")
    connection_limit: int = Field(20, ge=1, le=5000, description="connections the tenant's own login may hold")
    instance: InstanceSpec | None = Field(None, description="set for a tier with an own instance, and only then")
    budget: Budget | None = Field(None, description="limits of the plan; None: none are set")
    app_schema_version: int = Field(0, ge=0, description="highest migration of app_schema/ that applies; 0: none")
    protect: bool = Field(
        True, description="Pulumi protect and deletion protection; off only by an authorised offboarding"
    )
    final_snapshot: bool = Field(True, description="whether the instance leaves a final snapshot when it is destroyed")
    exporting: bool = Field(
        False, description="the files can be read through the tenant's own role for an export, though access is closed"
    )

    @model_validator(mode="after")
    def _access_is_enforced(self) -> TenantSpec:
        if self.access not in ENFORCED_ACCESS:
            raise ValueError(f"access {self.access}: a stack enforces one of {', '.join(ENFORCED_ACCESS)}")
        return self

    @model_validator(mode="after")
    def _instance_matches_tier(self) -> TenantSpec:
        if TIERS[self.tier].own_instance != (self.instance is not None):
            raise ValueError(
                f"tier {self.tier}: `instance` must be {'set' if TIERS[self.tier].own_instance else 'absent'}"
            )
        return self

    @property
    def stack_name(self) -> str:
        """``acme`` for the first life of an id, ``acme.2`` for the second."""
        return self.tenant_id if self.generation == 1 else f"{self.tenant_id}.{self.generation}"


class DatabaseEndpoint(Frozen):
    """Where a PostgreSQL database is reached, over TLS with the server's certificate verified."""

    address: str
    port: int
    name: str = Field(description="database name")


class PlatformSpec(Frozen):
    """Desired state of a cell's platform stack."""

    installation: str = Field(pattern=r"^[a-z][a-z0-9-]{0,19}$")
    environment: Environment
    cell: CellName = "default"
    region: str = "us-east-1"
    cidr: str = "10.64.0.0/16"
    availability_zones: int = Field(2, ge=2, le=3)
    shared_instance: InstanceSpec = InstanceSpec()
    pool_connection_limit: int = Field(200, ge=1, le=5000)
    broker_principal_arns: tuple[str, ...] = Field(
        (), description="who may assume tenant roles; empty: this account's root"
    )
    provisioner_principal_arns: tuple[str, ...] = Field(
        (), description="who deploys stacks: may use keys through RDS and Secrets Manager; empty: this account's root"
    )
    app_schema_version: int = Field(0, ge=0)
    protect: bool = True

    @property
    def stack_name(self) -> str:
        return "platform" if self.cell == "default" else f"platform.{self.cell}"


class PlatformOutputs(Frozen):
    """What a cell's tenants share. Exported by the platform stack, kept in the registry, given to tenant stacks."""

    cell: CellName
    account_id: str
    region: str
    vpc_id: str
    private_subnet_ids: tuple[str, ...]
    db_subnet_group: str = Field(description="shared by every silo of the cell: an account has 50")
    db_parameter_group: str = Field(description="shared likewise; forces SSL, ready for logical replication")
    app_security_group_id: str = Field(description="the app tier: the only one let into databases")
    shared_instance_identifier: str
    shared_database: DatabaseEndpoint
    shared_master_secret_arn: str
    pool_login: str
    pool_login_secret_arn: str
    pool_token_secret_arn: str = Field(description="HMAC key of pool entry tokens; only the broker may read it")
    shared_bucket: str
    platform_key_arn: str
    shared_role_arn: str = Field(description="pool and bridge; requires the session tag tenant_id")
    permissions_boundary_arn: str
    alarm_topic_arn: str
    tampering_rule_arn: str = Field("", description="EventBridge rule that watches every key and bucket of the cell")
    broker_principal_arns: tuple[str, ...] = ()
    provisioner_principal_arns: tuple[str, ...] = ()
    app_schema_version: int


class TenantOutputs(Frozen):
    """What a tenant's stack produced: all that routing, the broker and the SDK need. No secret."""

    tenant_id: TenantId
    generation: int
    cell: CellName
    tier: Tier
    epoch: int
    access: Access
    database: DatabaseEndpoint
    db_schema: str = Field(description="schema of the application's tables: the pool's, or the tenant's own")
    login: str
    login_secret_arn: str
    bucket: str
    prefix: str = Field(description="key prefix in the bucket, ending in '/'; '' for an own bucket")
    kms_key_arn: str
    role_arn: str
    app_schema_version: int
