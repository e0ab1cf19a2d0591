"""Whose cloud resources are looked at: a tenant's own, or what the tenants of a cell share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from components.spec import PlatformOutputs, TenantOutputs
from components.tiers import TIERS


@dataclass(frozen=True)
class Holder:
    """A bucket with its key and role, secrets, and a database instance.

    ``owner`` is the tag ``tenant_id`` of all of it: a tenant's id, or ``platform``. ``members``: tenants that use it.
    What is None is not known: without a platform's outputs, its instance is found by its role's name, and the boundary
    and the app tier are compared with nothing.
    """

    owner: str
    members: tuple[TenantOutputs, ...]
    bucket: str
    key_arn: str
    role_arn: str
    instance: str
    secrets: tuple[str, ...]
    boundary_arn: str | None = None
    app_group: str | None = None
    brokers: tuple[str, ...] | None = None
    provisioners: tuple[str, ...] | None = None
    port: int = field(default=5432)

    @property
    def name(self) -> str:
        """As the evidence names it."""
        return self.owner if self.own else "what tenants share"

    @property
    def own(self) -> bool:
        return self.owner != PLATFORM

    @property
    def account(self) -> str:
        return self.role_arn.split(":")[4]

    @property
    def partition(self) -> str:
        return self.role_arn.split(":")[1]

    @property
    def region(self) -> str:
        return self.key_arn.split(":")[3]

    @property
    def bucket_arn(self) -> str:
        return f"arn:{self.partition}:s3:::{self.bucket}"


PLATFORM = "platform"


def of_tenant(tenant: TenantOutputs, platform: PlatformOutputs | None) -> Holder | None:
    """A tenant's own; None where it has none."""
    if not TIERS[tenant.tier].own_role:
        return None
    return Holder(
        owner=tenant.tenant_id,
        members=(tenant,),
        bucket=tenant.bucket,
        key_arn=tenant.kms_key_arn,
        role_arn=tenant.role_arn,
        instance=_named_like(tenant.role_arn),
        secrets=(tenant.login_secret_arn,),
        **_of_cell(platform),
    )


def of_shared(members: tuple[TenantOutputs, ...], platform: PlatformOutputs | None) -> Holder:
    """What ``members``, who have none of their own, share; at least one of them."""
    first = members[0]
    secrets = {each.login_secret_arn for each in members}
    if platform is not None:
        secrets |= {platform.pool_login_secret_arn, platform.pool_token_secret_arn}
    return Holder(
        owner=PLATFORM,
        members=members,
        bucket=first.bucket if platform is None else platform.shared_bucket,
        key_arn=first.kms_key_arn if platform is None else platform.platform_key_arn,
        role_arn=first.role_arn if platform is None else platform.shared_role_arn,
        instance=_named_like(first.role_arn) if platform is None else platform.shared_instance_identifier,
        secrets=tuple(sorted(secrets)),
        **_of_cell(platform),
    )


def _of_cell(platform: PlatformOutputs | None) -> dict[str, Any]:
    if platform is None:
        return {}
    return {
        "boundary_arn": platform.permissions_boundary_arn,
        "app_group": platform.app_security_group_id,
        "brokers": platform.broker_principal_arns,
        "provisioners": platform.provisioner_principal_arns,
    }


def _named_like(role_arn: str) -> str:
    """Role and instance of one owner have one name (``components.naming``)."""
    return role_arn.rsplit("/", 1)[1]


def misplaced(tenant: TenantOutputs, others: tuple[TenantOutputs, ...], platform: PlatformOutputs | None) -> list[str]:
    """What a tenant has of its own by its tier, and yet shares with another tenant or with the platform."""
    own = TIERS[tenant.tier]
    parts: dict[str, tuple[bool, object, set[object]]] = {
        "login": (own.own_login, (*_server(tenant), tenant.login), {(*_server(each), each.login) for each in others}),
        "login secret": (own.own_login, tenant.login_secret_arn, {each.login_secret_arn for each in others}),
        "schema": (own.own_schema, (*_where(tenant), tenant.db_schema), {(*_where(e), e.db_schema) for e in others}),
        "key": (own.own_key, tenant.kms_key_arn, {each.kms_key_arn for each in others}),
        "bucket": (own.own_bucket, tenant.bucket, {each.bucket for each in others}),
        "role": (own.own_role, tenant.role_arn, {each.role_arn for each in others}),
        "database": (own.own_instance, _where(tenant), {_where(each) for each in others}),
    }
    if platform is not None:
        parts["key"][2].add(platform.platform_key_arn)
        parts["bucket"][2].add(platform.shared_bucket)
        parts["role"][2].add(platform.shared_role_arn)
        parts["login secret"][2].add(platform.pool_login_secret_arn)
    found = [
        f"its {what} is another's too" for what, (is_own, mine, theirs) in parts.items() if is_own and mine in theirs
    ]
    if not own.own_bucket and tenant.prefix != f"{tenant.tenant_id}/":
        found.append(f"its prefix of the shared bucket is {tenant.prefix!r}")
    return found


def _server(tenant: TenantOutputs) -> tuple[str, int]:
    return tenant.database.address, tenant.database.port


def _where(tenant: TenantOutputs) -> tuple[str, int, str]:
    return *_server(tenant), tenant.database.name
