"""AWS's evaluation logic: one request against every kind of policy that has a say.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic-cross-account.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from isolation.iam.decision import Decision, Outcome
from isolation.iam.documents import PolicyDocument, Statement
from isolation.iam.grants import Grant, find_grant
from isolation.iam.naming import Named
from isolation.iam.principals import AssumedRole, FederatedUser, Outsider, User
from isolation.iam.request import Request
from isolation.iam.statements import find, find_for_principal

Levels = tuple[tuple[PolicyDocument, ...], ...]


@dataclass(frozen=True)
class ResourcePolicies:
    """What is attached to the resource. ``required``: without the policy's consent nothing is allowed (KMS, trust)."""

    policy: PolicyDocument | None = None
    grants: tuple[Grant, ...] = ()
    required: bool = False


@dataclass(frozen=True)
class Environment:
    """What lies between principal and resource, and must allow as well.

    ``service_control``: the policies of the principal's organization, per level from the root to the account; one of
    each level must allow. ``resource_control``: the same of the resource's organization.
    """

    vpc_endpoint: PolicyDocument | None = None
    service_control: Levels = ()
    resource_control: Levels = ()


NO_POLICIES = ResourcePolicies()
NOWHERE = Environment()


def authorize(
    request: Request, resource: ResourcePolicies = NO_POLICIES, environment: Environment = NOWHERE
) -> Decision:
    """The decision, with the statements that made it."""
    denying = _explicit_deny(request, resource, environment)
    if denying is not None:
        return Decision(Outcome.EXPLICIT_DENY, f"a statement of {denying.source} denies it", (denying,))
    between: list[Statement] = []
    for kind, documents in _between(request, environment):
        statement = next((found for each in documents if (found := _allowing(each, request, kind)) is not None), None)
        if statement is None:
            sources = " and ".join(each.source for each in documents)
            return _implicit(f"no statement of the {kind} {sources} allows it")
        between.append(statement)
    decision = _attached(request, resource)
    if not decision.allowed:
        return decision
    return Decision(decision.outcome, decision.reason, (*between, *decision.statements))


_SCP = "service control policy"


def _between(request: Request, environment: Environment) -> Iterator[tuple[str, tuple[PolicyDocument, ...]]]:
    if _has_service_control(request):
        yield from ((_SCP, level) for level in environment.service_control)
    yield from (("resource control policy", level) for level in environment.resource_control)
    if environment.vpc_endpoint is not None:
        yield "VPC endpoint policy", (environment.vpc_endpoint,)


def _has_service_control(request: Request) -> bool:
    """They bind the principals of member accounts, but no service and no service-linked role."""
    principal = request.principal
    if isinstance(principal, AssumedRole):
        return not principal.role.is_service_linked
    return not isinstance(principal, Outsider)


def _allowing(document: PolicyDocument, request: Request, kind: str) -> Statement | None:
    if kind == _SCP:
        return find(document, request, allow=True)
    found = find_for_principal(document, request, allow=True)
    return None if found is None else found[0]


def _implicit(reason: str) -> Decision:
    return Decision(Outcome.IMPLICIT_DENY, reason)


def _explicit_deny(request: Request, resource: ResourcePolicies, environment: Environment) -> Statement | None:
    principal = request.principal
    documents = [*principal.policies, *principal.session_policies]
    if _has_service_control(request):
        documents += [document for level in environment.service_control for document in level]
    if principal.boundary is not None:
        documents.append(principal.boundary)
    for document in documents:
        denying = find(document, request, allow=False)
        if denying is not None:
            return denying
    of_resource = [resource.policy, *(each for level in environment.resource_control for each in level)]
    for policy in (*of_resource, environment.vpc_endpoint):
        found = find_for_principal(policy, request, allow=False) if policy is not None else None
        if found is not None:
            return found[0]
    return None


def _attached(request: Request, resource: ResourcePolicies) -> Decision:
    """Identity, boundary, session and resource policies; explicit denies are out of the way."""
    principal = request.principal
    grant = find_grant(resource.grants, request)
    if grant is not None:
        return Decision(Outcome.ALLOWED, f"{grant.name} allows it")
    granted = find_for_principal(resource.policy, request, allow=True) if resource.policy is not None else None
    if isinstance(principal, Outsider):
        if granted is None:
            return _implicit(f"no statement of {_source(resource)} allows {principal.name}")
        return Decision(Outcome.ALLOWED, "the resource's policy allows it", (granted[0],))
    if principal.account != request.resource_account:
        return _cross_account(request, resource, granted)
    if granted is not None and (
        granted[1] is Named.DIRECTLY or (granted[1] is Named.BEHIND and _limits(request)[0] is None)
    ):
        return Decision(Outcome.ALLOWED, "the resource's policy allows it", (granted[0],))
    if resource.required and granted is None:
        return _implicit(f"no statement of {_source(resource)} allows it")
    decision = _identity(request)
    if decision.allowed and resource.required and granted is not None:
        return Decision(decision.outcome, decision.reason, (*decision.statements, granted[0]))
    return decision


def _cross_account(request: Request, resource: ResourcePolicies, granted: tuple[Statement, Named] | None) -> Decision:
    """Both accounts are asked: the resource's for its policy, the principal's for the rest."""
    if granted is None:
        return _implicit(f"no statement of {_source(resource)} allows account {request.principal.account}")
    decision = _identity(request)
    if not decision.allowed:
        return decision
    return Decision(Outcome.ALLOWED, "both accounts allow it", (*decision.statements, granted[0]))


def _source(resource: ResourcePolicies) -> str:
    return resource.policy.source if resource.policy is not None else "the resource's policy (there is none)"


def _identity(request: Request) -> Decision:
    principal = request.principal
    allowing: list[Statement] = []
    if not _is_root(request):
        found = next((found for each in principal.policies if (found := find(each, request, allow=True))), None)
        if found is None:
            return _implicit(f"no identity policy of {_holder(request)} allows it")
        allowing.append(found)
    limits, limiting = _limits(request)
    if limits is not None:
        return limits
    reason = "the identity's policies allow it" if allowing else "the account's root may do anything"
    return Decision(Outcome.ALLOWED, reason, (*allowing, *limiting))


def _limits(request: Request) -> tuple[Decision | None, tuple[Statement, ...]]:
    """Boundary and session policies: the refusal of the first that doesn't allow, and the statements that do."""
    principal = request.principal
    allowing: list[Statement] = []
    if principal.boundary is not None:
        found = find(principal.boundary, request, allow=True)
        if found is None:
            return _implicit(f"no statement of the permissions boundary {principal.boundary.source} allows it"), ()
        allowing.append(found)
    if principal.session_policies:
        found = next((found for each in principal.session_policies if (found := find(each, request, allow=True))), None)
        if found is None:
            sources = " or ".join(each.source for each in principal.session_policies)
            return _implicit(f"no statement of the session policy {sources} allows it"), ()
        allowing.append(found)
    elif isinstance(principal, FederatedUser):
        return _implicit(f"{principal.arn} has no session policy"), ()
    return None, tuple(allowing)


def _is_root(request: Request) -> bool:
    principal = request.principal
    user = principal.user if isinstance(principal, FederatedUser) else principal
    return isinstance(user, User) and user.is_root


def _holder(request: Request) -> str:
    principal = request.principal
    return principal.role.arn if isinstance(principal, AssumedRole) else principal.arn
