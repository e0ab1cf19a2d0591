"""Who makes a request, and the policies that come with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from isolation.iam.documents import PolicyDocument

NO_TAGS: Mapping[str, str] = MappingProxyType({})


def account_of(arn: str) -> str:
    return arn.split(":", 5)[4]


@dataclass(frozen=True)
class Role:
    """As IAM returns it. ``policies``: inline and managed ones."""

    arn: str
    trust: PolicyDocument
    policies: tuple[PolicyDocument, ...] = ()
    boundary: PolicyDocument | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    unique_id: str = "AROAEXAMPLE"

    @property
    def account(self) -> str:
        return account_of(self.arn)

    @property
    def name(self) -> str:
        return self.arn.rsplit("/", 1)[1]


@dataclass(frozen=True)
class AssumedRole:
    """A role session. ``tags``: session tags, those inherited in a chain included; ``transitive``: their keys."""

    role: Role
    session_name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    transitive: frozenset[str] = frozenset()
    session_policies: tuple[PolicyDocument, ...] = ()
    source_identity: str | None = None

    @property
    def arn(self) -> str:
        partition = self.role.arn.split(":")[1]
        return f"arn:{partition}:sts::{self.role.account}:assumed-role/{self.role.name}/{self.session_name}"

    @property
    def account(self) -> str:
        return self.role.account

    @property
    def policies(self) -> tuple[PolicyDocument, ...]:
        return self.role.policies

    @property
    def boundary(self) -> PolicyDocument | None:
        return self.role.boundary

    @property
    def principal_tags(self) -> dict[str, str]:
        """Session tags win over the role's own; keys are compared without case."""
        merged = {key.lower(): (key, value) for key, value in self.role.tags.items()}
        merged |= {key.lower(): (key, value) for key, value in self.tags.items()}
        return dict(merged.values())


@dataclass(frozen=True)
class User:
    """An IAM user, or an account's root (``arn:aws:iam::<account>:root``), to which no identity policy applies."""

    arn: str
    policies: tuple[PolicyDocument, ...] = ()
    boundary: PolicyDocument | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    session_policies: tuple[PolicyDocument, ...] = ()

    @property
    def account(self) -> str:
        return account_of(self.arn)

    @property
    def is_root(self) -> bool:
        return self.arn.endswith(":root")

    @property
    def principal_tags(self) -> dict[str, str]:
        return dict(self.tags)


@dataclass(frozen=True)
class Service:
    """An AWS service acting for itself, as ``rds.amazonaws.com``."""

    name: str

    @property
    def arn(self) -> str:
        return self.name

    @property
    def account(self) -> str:
        return ""

    @property
    def policies(self) -> tuple[PolicyDocument, ...]:
        return ()

    @property
    def boundary(self) -> PolicyDocument | None:
        return None

    @property
    def session_policies(self) -> tuple[PolicyDocument, ...]:
        return ()

    @property
    def principal_tags(self) -> dict[str, str]:
        return {}


Principal = AssumedRole | User | Service
