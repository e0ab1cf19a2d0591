"""Whether one statement speaks of one request."""

from __future__ import annotations

from isolation.iam import conditions
from isolation.iam.documents import PolicyDocument, Statement
from isolation.iam.matching import ARN_PARTS, Unresolved, expand, matches, resource_matches
from isolation.iam.naming import Named, named
from isolation.iam.request import Request


def find(document: PolicyDocument, request: Request, *, allow: bool) -> Statement | None:
    """The first statement of an identity-like document that allows (or denies) the request."""
    return next(
        (each for each in document.statements if each.allow == allow and applies(each, request, of_resource=False)),
        None,
    )


def find_for_principal(document: PolicyDocument, request: Request, *, allow: bool) -> tuple[Statement, Named] | None:
    """The statement of a resource's document that allows (or denies) the request and names its principal best."""
    best: tuple[Statement, Named] | None = None
    for each in document.statements:
        if each.allow != allow or not applies(each, request, of_resource=True):
            continue
        how = named(each, request.principal)
        if how is not Named.NOT and (best is None or how > best[1]):
            best = (each, how)
    return best


def applies(statement: Statement, request: Request, *, of_resource: bool) -> bool:
    """Action, resource and conditions; not the principal. ``of_resource``: without Resource it is the resource."""
    return (
        _action(statement, request.action)
        and _resource(statement, request, of_resource)
        and all(conditions.holds(each, request.keys, variables=statement.variables) for each in statement.conditions)
    )


def _action(statement: Statement, action: str) -> bool:
    listed = statement.actions if statement.actions is not None else statement.not_actions
    assert listed is not None
    # variables are not replaced in Action
    found = any(matches(expand(each, {}, variables=False), action, ignore_case=True) for each in listed)
    return found == (statement.actions is not None)


def _resource(statement: Statement, request: Request, of_resource: bool) -> bool:
    listed = statement.resources if statement.resources is not None else statement.not_resources
    if listed is None:
        return of_resource
    found = any(_covers(each, request, statement.variables) for each in listed)
    return found == (statement.resources is not None)


def _covers(text: str, request: Request, variables: bool) -> bool:
    try:
        pattern = expand(text, request.keys, variables=variables, after_colons=ARN_PARTS - 1)
    except Unresolved:
        return False
    return resource_matches(pattern, request.resource)
