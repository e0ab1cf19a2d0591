"""AWS's evaluation logic: one request against every kind of policy that has a say.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from isolation.iam.decision import Decision, Outcome
from isolation.iam.documents import PolicyDocument, Statement
from isolation.iam.principals import AssumedRole, Service, User
from isolation.iam.request import Request
from isolation.iam.statements import Named, find, find_for_principal


@dataclass(frozen=True)
class Grant:
    """A KMS grant. The two constraints are the encryption context that a request must equal, or contain."""

    grant_id: str
    grantee: str
    operations: frozenset[str]
    context_equals: Mapping[str, str] | None = None
    context_subset: Mapping[str, str] | None = None


@dataclass(frozen=True)
class ResourcePolicies:
    """What is attached to the resource. ``required``: without the policy's consent nothing is allowed (KMS, trust)."""

    policy: PolicyDocument | None = None
    grants: tuple[Grant, ...] = ()
    required: bool = False


@dataclass(frozen=True)
class Environment:
    """What lies between principal and resource; each document given must allow."""

    vpc_endpoint: PolicyDocument | None = None
    service_control: tuple[PolicyDocument, ...] = field(default_factory=tuple)


NO_POLICIES = ResourcePolicies()
NOWHERE = Environment()
_KMS_GRANTABLE = "kms:"


def authorize(
    request: Request, resource: ResourcePolicies = NO_POLICIES, environment: Environment = NOWHERE
) -> Decision:
    """The decision, with the statements that made it."""
    denying = _explicit_deny(request, resource, environment)
    if denying is not None:
        return Decision(Outcome.EXPLICIT_DENY, "a statement denies it", (denying,))
    between: list[Statement] = []
    for kind, document in _between(request, environment):
        found = find_for_principal(document, request, allow=True) if kind == "VPC endpoint policy" else None
        statement = (
            found[0] if found else find(document, request, allow=True) if kind != "VPC endpoint policy" else None
        )
        if statement is None:
            return _implicit(f"no statement of the {kind} {document.source} allows it")
        between.append(statement)
    decision = _attached(request, resource)
    if not decision.allowed:
        return decision
    return Decision(decision.outcome, decision.reason, (*between, *decision.statements))


def _between(request: Request, environment: Environment) -> list[tuple[str, PolicyDocument]]:
    documents = [("service control policy", each) for each in environment.service_control]
    if isinstance(request.principal, Service):
        documents = []
    if environment.vpc_endpoint is not None:
        documents.append(("VPC endpoint policy", environment.vpc_endpoint))
    return documents


def _implicit(reason: str) -> Decision:
    return Decision(Outcome.IMPLICIT_DENY, reason)


def _explicit_deny(request: Request, resource: ResourcePolicies, environment: Environment) -> Statement | None:
    principal = request.principal
    documents = [*principal.policies, *principal.session_policies, *environment.service_control]
    if principal.boundary is not None:
        documents.append(principal.boundary)
    for document in documents:
        denying = find(document, request, allow=False)
        if denying is not None:
            return denying
    for policy in (resource.policy, environment.vpc_endpoint):
        found = find_for_principal(policy, request, allow=False) if policy is not None else None
        if found is not None:
            return found[0]
    return None


def _attached(request: Request, resource: ResourcePolicies) -> Decision:
    """Identity, boundary, session and resource policies; explicit denies are out of the way."""
    principal = request.principal
    granted = find_for_principal(resource.policy, request, allow=True) if resource.policy is not None else None
    if isinstance(principal, Service):
        if granted is None:
            return _implicit(f"no policy of {request.resource} allows service {principal.name}")
        return Decision(Outcome.ALLOWED, "the resource's policy allows the service", (granted[0],))
    if principal.account != request.resource_account:
        return _cross_account(request, resource, granted)
    grant = _grant(request, resource)
    if grant is not None:
        limited = _limited(request, Named.ROLE)
        if limited is None:
            return Decision(Outcome.ALLOWED, f"KMS grant {grant.grant_id} allows it")
        return limited
    if granted is not None and granted[1] >= Named.ROLE:
        limited = _limited(request, granted[1])
        if limited is None:
            return Decision(Outcome.ALLOWED, "the resource's policy allows it", (granted[0],))
    if resource.required and granted is None:
        return _implicit(f"no statement of {_source(resource)} allows it")
    decision = _identity(request)
    if decision.allowed and resource.required and granted is not None:
        return Decision(decision.outcome, decision.reason, (*decision.statements, granted[0]))
    return decision


def _cross_account(request: Request, resource: ResourcePolicies, granted: tuple[Statement, Named] | None) -> Decision:
    grant = _grant(request, resource)
    if granted is None and grant is None:
        return _implicit(f"no statement of {_source(resource)} allows account {request.principal.account}")
    decision = _identity(request)
    if not decision.allowed:
        return decision
    statements = decision.statements if granted is None else (*decision.statements, granted[0])
    return Decision(Outcome.ALLOWED, "both accounts allow it", statements)


def _source(resource: ResourcePolicies) -> str:
    return resource.policy.source if resource.policy is not None else "the resource's policy (there is none)"


def _identity(request: Request) -> Decision:
    principal = request.principal
    if isinstance(principal, User) and principal.is_root:
        return Decision(Outcome.ALLOWED, "the account's root may do anything")
    allowing = next(
        (found for each in principal.policies if (found := find(each, request, allow=True)) is not None), None
    )
    if allowing is None:
        return _implicit(f"no identity policy of {_holder(request)} allows it")
    limits, limiting = _limits(request)
    if limits is not None:
        return limits
    return Decision(Outcome.ALLOWED, "the identity's policies allow it", (allowing, *limiting))


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
        in_session = [find(each, request, allow=True) for each in principal.session_policies]
        chosen = next((each for each in in_session if each is not None), None)
        if chosen is None:
            return _implicit("no session policy allows it"), ()
        allowing.append(chosen)
    return None, tuple(allowing)


def _limited(request: Request, how: Named) -> Decision | None:
    """Why a grant by the resource's policy falls short, if it does: only one to the role is limited by a boundary."""
    if how is Named.ROLE and isinstance(request.principal, AssumedRole):
        return _limits(request)[0]
    return None


def _holder(request: Request) -> str:
    principal = request.principal
    return principal.role.arn if isinstance(principal, AssumedRole) else principal.arn


def _grant(request: Request, resource: ResourcePolicies) -> Grant | None:
    if not request.action.lower().startswith(_KMS_GRANTABLE):
        return None
    principal = request.principal
    names = {principal.arn, principal.role.arn} if isinstance(principal, AssumedRole) else {principal.arn}
    prefix = "kms:encryptioncontext:"
    context = {key[len(prefix) :]: values[0] for key, values in request.keys.items() if key.startswith(prefix)}
    operation = request.action.split(":", 1)[1].lower()
    for grant in resource.grants:
        if grant.grantee not in names or operation not in {each.lower() for each in grant.operations}:
            continue
        equals, subset = _lowered(grant.context_equals), _lowered(grant.context_subset)
        if equals is not None and equals != context:
            continue
        if subset is not None and not subset.items() <= context.items():
            continue
        return grant
    return None


def _lowered(context: Mapping[str, str] | None) -> dict[str, str] | None:
    return None if context is None else {key.lower(): value for key, value in context.items()}
