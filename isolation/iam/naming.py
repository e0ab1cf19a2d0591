"""Whether, and how, a statement of a resource's policy names a principal.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html
"""

from __future__ import annotations

from enum import IntEnum

from isolation.iam.documents import Statement
from isolation.iam.principals import AssumedRole, FederatedUser, IdentityProvider, Outsider, Principal, Service, User


class Named(IntEnum):
    """What a resource's policy grants depends on how it names the principal."""

    NOT = 0
    ACCOUNT = 1  #: the account delegates: an identity policy must allow too
    BEHIND = 2  #: the role or user behind the session: its boundary and the session's policies still limit
    DIRECTLY = 3  #: the session, the user, the service, or everybody


EVERYBODY = ("AWS", "*")


def named(statement: Statement, principal: Principal) -> Named:
    if statement.principals is not None:
        return max((names(kind, name, principal) for kind, name in statement.principals), default=Named.NOT)
    if statement.not_principals is None:
        return Named.NOT
    listed = {names(kind, name, principal) for kind, name in statement.not_principals} - {Named.NOT}
    if statement.allow:
        return Named.NOT if listed else Named.DIRECTLY
    if principal.boundary is not None:
        return Named.DIRECTLY  # whatever is listed: AWS documents that it denies whoever has a boundary
    return Named.NOT if EVERYBODY in statement.not_principals or _spared(listed, principal) else Named.DIRECTLY


def _spared(listed: set[Named], principal: Principal) -> bool:
    """A Deny spares only whom NotPrincipal lists in every form it has: its account, its role and its session."""
    if isinstance(principal, AssumedRole):
        return listed >= {Named.DIRECTLY, Named.BEHIND, Named.ACCOUNT}
    if isinstance(principal, Outsider) or (isinstance(principal, User) and principal.is_root):
        return bool(listed)
    return listed >= {Named.DIRECTLY, Named.ACCOUNT}


def names(kind: str, name: str, principal: Principal) -> Named:
    """How one entry of a Principal element names ``principal``."""
    if (kind, name) == EVERYBODY:
        return Named.DIRECTLY
    if isinstance(principal, Outsider):
        own = {Service: "Service", IdentityProvider: "Federated"}.get(type(principal))
        return Named.DIRECTLY if own is not None and (kind, name) == (own, principal.name) else Named.NOT
    if kind != "AWS":
        return Named.NOT
    if name == principal.arn or (isinstance(principal, User) and not principal.is_root and name == principal.unique_id):
        return Named.DIRECTLY
    behind = _behind(principal)
    if behind is not None and name in behind:
        return Named.BEHIND
    partition = principal.arn.split(":")[1]
    if name in (principal.account, f"arn:{partition}:iam::{principal.account}:root"):
        return Named.ACCOUNT
    return Named.NOT


def _behind(principal: Principal) -> tuple[str, str] | None:
    """ARN and unique id, which AWS stores in a policy's stead, of what a session was made from."""
    if isinstance(principal, AssumedRole):
        return principal.role.arn, principal.role.unique_id
    if isinstance(principal, FederatedUser) and not principal.user.is_root:
        return principal.user.arn, principal.user.unique_id
    return None
