"""Deterministic, legal names. Pure: the same tenant always gets the same names, no two tenants share one.

Every name carries ``name_hash(installation, id, generation)``, so a shortened id never collides with another's, a
second life of an id never meets the first one's leftovers, and an orphan of a crash is found by computing its name.
Limits are AWS's and PostgreSQL's own: 63 characters for buckets, RDS identifiers and PostgreSQL identifiers, 64 for
IAM roles, 128 for IAM policies, 255 for security groups, 256 for KMS aliases and SNS topics, 512 for secrets.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from components.account import Account
from components.documents import KeyIdentity
from components.spec import PlatformSpec, TenantSpec

PREFIX = "tenantry"
HASH_LENGTH = 8
IAM_PATH = "/tenantry/"

_INSTALLATION = re.compile(r"[a-z][a-z0-9-]{0,19}")
_OWNER_ID = re.compile(r"[a-z](?:[a-z0-9]|[-.](?![-.]))*")


def name_hash(installation: str, owner_id: str, generation: int) -> str:
    """The first 8 hex digits of SHA-256 over installation, id and generation, joined by ``/``."""
    return _digest(installation, owner_id, str(generation))


def _digest(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:HASH_LENGTH]


@dataclass(frozen=True)
class Names:
    """All physical names of one owner: a tenant, or a cell's platform.

    ``owner_id`` is a tenant id, ``platform`` or ``platform.<cell>``. Raises ``ValueError`` for an illegal part.
    """

    installation: str
    owner_id: str
    generation: int = 1

    def __post_init__(self) -> None:
        if not _INSTALLATION.fullmatch(self.installation):
            raise ValueError(f"installation {self.installation!r}: want [a-z][a-z0-9-]{{0,19}}")
        if len(self.owner_id) > 40 or not _OWNER_ID.fullmatch(self.owner_id) or self.owner_id[-1] in "-.":
            raise ValueError(f"id {self.owner_id!r}: want a tenant id, 'platform' or 'platform.<cell>'")
        if self.generation < 1:
            raise ValueError(f"generation {self.generation}: counts from 1")

    @classmethod
    def of_tenant(cls, spec: TenantSpec) -> Names:
        return cls(spec.installation, spec.tenant_id, spec.generation)

    @classmethod
    def of_platform(cls, spec: PlatformSpec) -> Names:
        return cls(spec.installation, spec.stack_name, 1)

    @property
    def hash(self) -> str:
        return name_hash(self.installation, self.owner_id, self.generation)

    @property
    def aws(self) -> str:
        """``tenantry-<id>-<hash>``, at most 58 characters of ``[a-z0-9-]``: legal for every AWS service used here."""
        return f"{PREFIX}-{self.owner_id.replace('.', '-')}-{self.hash}"

    def bucket(self, account: Account) -> str:
        """The bucket's name. Bucket names are unique in the whole world, so the account goes into the hash."""
        digest = _digest(self.installation, self.owner_id, str(self.generation), account.id)
        return f"{PREFIX}-{self.owner_id.replace('.', '-')}-{digest}"

    @property
    def role(self) -> str:
        return self.aws

    def role_arn(self, account: Account) -> str:
        """Known before the role exists, so that a key policy can name it."""
        return account.role_arn(IAM_PATH, self.role)

    @property
    def boundary(self) -> str:
        return f"{self.aws}-boundary"

    @property
    def key_alias(self) -> str:
        return f"alias/{self.aws}"

    @property
    def key(self) -> KeyIdentity:
        """The owner's KMS key, for policies."""
        # The tag of all cells' platforms reads ``platform``; a tenant id has no dot.
        return KeyIdentity(self.key_alias, self.owner_id.partition(".")[0], self.installation)

    @property
    def instance(self) -> str:
        """RDS instance identifier."""
        return self.aws

    @property
    def final_snapshot(self) -> str:
        return f"{self.aws}-final"

    @property
    def subnet_group(self) -> str:
        return self.aws

    def parameter_group(self, family: str) -> str:
        """One a PostgreSQL major version: both stand side by side during a major upgrade."""
        return f"{self.aws}-{family}"

    def security_group(self, purpose: str) -> str:
        return f"{self.aws}-{purpose}"

    def secret(self, purpose: str) -> str:
        return f"{self.aws}/{purpose}"

    def rds_log_group(self, log: str) -> str:
        """Where RDS exports a log of this owner's instance; RDS dictates the form."""
        return f"/aws/rds/instance/{self.instance}/{log}"

    @property
    def topic(self) -> str:
        return f"{self.aws}-alarms"

    @property
    def tampering(self) -> str:
        """EventBridge rule, at most 64 characters."""
        return f"{self.aws}-tampering"

    @property
    def event_log_group(self) -> str:
        """Where EventBridge writes; AWS dictates the prefix."""
        return f"/aws/events/{self.tampering}"

    def alarm(self, metric: str) -> str:
        return f"{self.aws}-{metric}"

    @property
    def postgres(self) -> str:
        """``t_<id>_<hash>``: the tenant's schema, and the database of an own instance. At most 51 bytes."""
        return f"t_{self.owner_id.replace('-', '_').replace('.', '_')}_{self.hash}"

    @property
    def postgres_owner(self) -> str:
        """The NOLOGIN role that owns the tenant's schema."""
        return f"{self.postgres}_owner"

    @property
    def postgres_login(self) -> str:
        """The login of the application for this tenant; it owns nothing."""
        return f"{self.postgres}_app"


SHARED_DATABASE = "tenantry"
"""On a cell's shared instance; tenants' own databases and schemas start with ``t_``, so nothing here meets them."""
POOL_SCHEMA = "pool"
POOL_OWNER = "pool_owner"
POOL_LOGIN = "pool_app"
