"""AssumeRole: whether a caller gets a session, and with which tags.

https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from isolation.iam.decision import Decision, Outcome
from isolation.iam.documents import PolicyDocument, Statement
from isolation.iam.evaluate import NOWHERE, Environment, ResourcePolicies, authorize
from isolation.iam.principals import NO_TAGS, AssumedRole, Principal, Role
from isolation.iam.request import Request


def assume_role(
    role: Role,
    caller: Principal,
    *,
    session_name: str = "session",
    tags: Mapping[str, str] = NO_TAGS,
    transitive: Collection[str] = (),
    external_id: str | None = None,
    session_policies: tuple[PolicyDocument, ...] = (),
    environment: Environment = NOWHERE,
) -> tuple[Decision, AssumedRole | None]:
    """The decision and, if allowed, the session.

    Tags that the caller's own session made transitive are inherited; asking for one of them again is refused, whatever
    its value. With any tag, ``sts:TagSession`` must be allowed as well as ``sts:AssumeRole``.
    """
    inherited: dict[str, str] = {}
    if isinstance(caller, AssumedRole):
        kept = {key.lower() for key in caller.transitive}
        inherited = {key: value for key, value in caller.tags.items() if key.lower() in kept}
    asked = {key.lower() for key in tags}
    if len(asked) != len(tags):
        return Decision(Outcome.IMPLICIT_DENY, "STS refuses a tag key that occurs twice"), None
    overlap = asked & {key.lower() for key in inherited}
    if overlap:
        return Decision(Outcome.IMPLICIT_DENY, f"STS refuses to replace the transitive tag {sorted(overlap)[0]}"), None
    if not {key.lower() for key in transitive} <= asked:
        return Decision(Outcome.IMPLICIT_DENY, "STS refuses a transitive key that is no tag of the request"), None
    effective = {**inherited, **tags}
    context: dict[str, str | tuple[str, ...]] = {"sts:RoleSessionName": session_name}
    if effective:
        context["aws:TagKeys"] = tuple(effective)
        context |= {f"aws:RequestTag/{key}": value for key, value in effective.items()}
    if transitive:
        context["sts:TransitiveTagKeys"] = tuple(transitive)
    if external_id is not None:
        context["sts:ExternalId"] = external_id
    statements: list[Statement] = []
    for action in ("sts:AssumeRole", "sts:TagSession") if effective else ("sts:AssumeRole",):
        request = Request(caller, action, role.arn, role.account, context)
        decision = authorize(request, ResourcePolicies(role.trust, required=True), environment)
        if not decision.allowed:
            return Decision(decision.outcome, f"{action}: {decision.reason}", decision.statements), None
        statements += decision.statements
    session = AssumedRole(
        role,
        session_name,
        effective,
        frozenset(transitive) | frozenset(inherited),
        session_policies,
        caller.source_identity if isinstance(caller, AssumedRole) else None,
    )
    return Decision(Outcome.ALLOWED, "the trust policy allows it", tuple(statements)), session
