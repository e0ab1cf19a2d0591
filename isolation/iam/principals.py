"""Who makes a request, and the policies that come with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from isolation.iam.documents import PolicyDocument

NO_TAGS: Mapping[str, str] = MappingProxyType({})


def account_of(arn: str) -> str:
    return arn.split(":", 5)[4]


def _partition(arn: str) -> str:
    return arn.split(":", 2)[1]


def _overridden(own: Mapping[str, str], session: Mapping[str, str]) -> dict[str, str]:
    """Session tags win over the role's or user's own; keys are compared without case."""
    merged = {key.lower(): (key, value) for key, value in own.items()}
    merged |= {key.lower(): (key, value) for key, value in session.items()}
    return dict(merged.values())


@dataclass(frozen=True)
class Role:
    """As IAM returns it. ``policies``: inline and managed ones. ``max_session_duration``: seconds."""

    arn: str
    trust: PolicyDocument
    policies: tuple[PolicyDocument, ...] = ()
    boundary: PolicyDocument | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    unique_id: str = "AROAEXAMPLE"
    max_session_duration: int = 3600

    @property
    def account(self) -> str:
        return account_of(self.arn)

    @property
    def name(self) -> str:
        return self.arn.rsplit("/", 1)[1]

    @property
    def is_service_linked(self) -> bool:
        return ":role/aws-service-role/" in self.arn


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
        return f"arn:{_partition(self.role.arn)}:sts::{self.account}:assumed-role/{self.role.name}/{self.session_name}"

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
        return _overridden(self.role.tags, self.tags)


@dataclass(frozen=True)
class User:
    """An IAM user, or an account's root (``arn:aws:iam::<account>:root``), to which no identity policy applies.

    ``policies``: the user's and its groups'.
    """

    arn: str
    policies: tuple[PolicyDocument, ...] = ()
    boundary: PolicyDocument | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    unique_id: str = "AIDAEXAMPLE"

    @property
    def account(self) -> str:
        return account_of(self.arn)

    @property
    def name(self) -> str:
        return self.arn.rsplit("/", 1)[-1]

    @property
    def is_root(self) -> bool:
        return self.arn.endswith(":root")

    @property
    def session_policies(self) -> tuple[PolicyDocument, ...]:
        return ()

    @property
    def principal_tags(self) -> dict[str, str]:
        return dict(self.tags)


@dataclass(frozen=True)
class FederatedUser:
    """A session of GetFederationToken: without a session policy it has nothing of the user's permissions."""

    user: User
    name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    session_policies: tuple[PolicyDocument, ...] = ()

    @property
    def arn(self) -> str:
        return f"arn:{_partition(self.user.arn)}:sts::{self.account}:federated-user/{self.name}"

    @property
    def account(self) -> str:
        return self.user.account

    @property
    def policies(self) -> tuple[PolicyDocument, ...]:
        return self.user.policies

    @property
    def boundary(self) -> PolicyDocument | None:
        return self.user.boundary

    @property
    def principal_tags(self) -> dict[str, str]:
        return _overridden(self.user.tags, self.tags)


@dataclass(frozen=True)
class Outsider:
    """A principal of no account: it may do what a resource's policy or a grant says, and has no policy of its own."""

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


class Service(Outsider):
    """An AWS service acting for itself, as ``rds.amazonaws.com``."""


class IdentityProvider(Outsider):
    """Whoever a SAML or OIDC provider vouches for: the provider's ARN, or ``accounts.google.com`` and its kin."""


@dataclass(frozen=True)
class Anonymous(Outsider):
    """A request without credentials."""

    name: str = "*"


Principal = AssumedRole | User | FederatedUser | Outsider
