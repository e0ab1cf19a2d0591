"""Whether one statement speaks of one request."""

from __future__ import annotations

from enum import IntEnum

from isolation.iam import conditions
from isolation.iam.documents import PolicyDocument, Statement
from isolation.iam.matching import ANY, Pattern, Unresolved, expand, matches, resource_matches
from isolation.iam.principals import AssumedRole, Principal, Service
from isolation.iam.request import Request


class Named(IntEnum):
    """How a resource policy names a principal; what it grants depends on that."""

    NOT = 0
    ACCOUNT = 1  #: the account delegates: an identity policy must allow too
    ROLE = 2  #: the role: a permissions boundary and a session policy still limit its sessions
    DIRECTLY = 3  #: the session, the user, the service, or everybody


def find(document: PolicyDocument, request: Request, *, allow: bool) -> Statement | None:
    """The first statement of an identity-like document that allows (or denies) the request."""
    keys = request.keys
    return next(
        (each for each in document.statements if each.allow == allow and applies(each, request, keys, False)), None
    )


def find_for_principal(document: PolicyDocument, request: Request, *, allow: bool) -> tuple[Statement, Named] | None:
    """The statement of a resource's document that allows (or denies) the request and names its principal best."""
    keys = request.keys
    best: tuple[Statement, Named] | None = None
    for each in document.statements:
        if each.allow != allow or not applies(each, request, keys, True):
            continue
        how = named(each, request.principal)
        if how is not Named.NOT and (best is None or how > best[1]):
            best = (each, how)
    return best


def applies(statement: Statement, request: Request, keys: dict[str, tuple[str, ...]], of_resource: bool) -> bool:
    """Action, resource and conditions; not the principal. ``of_resource``: without Resource it is the resource."""
    return (
        _action(statement, request.action)
        and _resource(statement, request.resource, keys, of_resource)
        and all(conditions.holds(each, keys, variables=statement.variables) for each in statement.conditions)
    )


def _action(statement: Statement, action: str) -> bool:
    listed = statement.actions if statement.actions is not None else statement.not_actions
    assert listed is not None
    # variables are not replaced in Action
    found = any(matches(expand(each, {}, variables=False), action, ignore_case=True) for each in listed)
    return found == (statement.actions is not None)


def _resource(statement: Statement, resource: str, keys: dict[str, tuple[str, ...]], of_resource: bool) -> bool:
    listed = statement.resources if statement.resources is not None else statement.not_resources
    if listed is None:
        return of_resource
    found = False
    for each in listed:
        try:
            pattern: Pattern = expand(each, keys, variables=statement.variables)
        except Unresolved:
            continue
        found = found or pattern == (ANY,) or resource_matches(pattern, resource)
    return found == (statement.resources is not None)


def named(statement: Statement, principal: Principal) -> Named:
    if statement.principals is not None:
        return max((_names(kind, name, principal) for kind, name in statement.principals), default=Named.NOT)
    if statement.not_principals is None:
        return Named.NOT
    listed = {_names(kind, name, principal) for kind, name in statement.not_principals} - {Named.NOT}
    if statement.allow:
        return Named.NOT if listed else Named.DIRECTLY
    # a Deny spares a principal only if it is listed in every form it has: its account, its role and its session
    needed = {Named.DIRECTLY}
    if isinstance(principal, AssumedRole):
        needed = {Named.DIRECTLY, Named.ROLE, Named.ACCOUNT}
    elif not isinstance(principal, Service):
        needed = {Named.DIRECTLY, Named.ACCOUNT}
    return Named.NOT if needed <= listed else Named.DIRECTLY


def _names(kind: str, name: str, principal: Principal) -> Named:
    if kind == "AWS" and name == "*":
        return Named.DIRECTLY
    if isinstance(principal, Service):
        return Named.DIRECTLY if (kind, name) == ("Service", principal.name) else Named.NOT
    if kind != "AWS":
        return Named.NOT
    if name == principal.arn:
        return Named.DIRECTLY
    if isinstance(principal, AssumedRole) and name == principal.role.arn:
        return Named.ROLE
    partition = principal.arn.split(":")[1]
    if name in (principal.account, f"arn:{partition}:iam::{principal.account}:root"):
        return Named.ACCOUNT
    return Named.NOT
