"""AssumeRole: whether a caller gets a session, and with which tags.

https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html
https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from isolation.iam.decision import Decision, Outcome
from isolation.iam.documents import PolicyDocument, Statement
from isolation.iam.evaluate import NOWHERE, Environment, ResourcePolicies, authorize
from isolation.iam.principals import NO_TAGS, AssumedRole, IdentityProvider, Principal, Role
from isolation.iam.request import Request

#: seconds
SHORTEST = 900
LONGEST_IN_A_CHAIN = 3600

_MOST_TAGS, _LONGEST_KEY, _LONGEST_VALUE = 50, 128, 256


def assume_role(
    role: Role,
    caller: Principal,
    *,
    session_name: str = "session",
    tags: Mapping[str, str] = NO_TAGS,
    transitive: Collection[str] = (),
    external_id: str | None = None,
    source_identity: str | None = None,
    duration: int = 3600,
    session_policies: tuple[PolicyDocument, ...] = (),
    context: Mapping[str, str | Sequence[str]] = NO_TAGS,
    environment: Environment = NOWHERE,
) -> tuple[Decision, AssumedRole | None]:
    """The decision and, if allowed, the session. ``context``: further keys, as an identity provider's claims.

    Tags that the caller's own session made transitive are inherited; asking for one of them again is refused, whatever
    its value. With any tag, ``sts:TagSession`` must be allowed as well as ``sts:AssumeRole``, and with a source
    identity ``sts:SetSourceIdentity``. What STS refuses before any policy is read is an implicit deny.
    """
    inherited = _inherited(caller)
    identity = _source_identity(caller)
    refusal = (
        _refused_tags(tags, transitive, inherited)
        or _refused_duration(role, caller, duration)
        or (
            "STS refuses to change the source identity"
            if identity is not None and source_identity not in (None, identity)
            else None
        )
    )
    if refusal is not None:
        return Decision(Outcome.IMPLICIT_DENY, refusal), None
    identity = identity or source_identity
    effective = {**inherited, **tags}
    keys = _context(role, session_name, effective, transitive, external_id, identity) | dict(context)
    actions = [_action(caller)]
    actions += ["sts:TagSession"] if effective else []
    actions += ["sts:SetSourceIdentity"] if identity is not None else []
    statements: list[Statement] = []
    for action in actions:
        request = Request(caller, action, role.arn, role.account, keys)
        decision = authorize(request, ResourcePolicies(role.trust, required=True), environment)
        if not decision.allowed:
            return Decision(decision.outcome, f"{action}: {decision.reason}", decision.statements), None
        statements += decision.statements
    kept = frozenset(transitive) | frozenset(inherited)
    session = AssumedRole(role, session_name, effective, kept, session_policies, identity)
    return Decision(Outcome.ALLOWED, "the trust policy allows it", tuple(statements)), session


def _action(caller: Principal) -> str:
    if not isinstance(caller, IdentityProvider):
        return "sts:AssumeRole"
    return "sts:AssumeRoleWithSAML" if ":saml-provider/" in caller.name else "sts:AssumeRoleWithWebIdentity"


def _inherited(caller: Principal) -> dict[str, str]:
    if not isinstance(caller, AssumedRole):
        return {}
    kept = {key.lower() for key in caller.transitive}
    return {key: value for key, value in caller.tags.items() if key.lower() in kept}


def _source_identity(caller: Principal) -> str | None:
    return caller.source_identity if isinstance(caller, AssumedRole) else None


def _refused_tags(tags: Mapping[str, str], transitive: Collection[str], inherited: Mapping[str, str]) -> str | None:
    asked = {key.lower() for key in tags}
    if len(asked) != len(tags):
        return "STS refuses a tag key that occurs twice"
    overlap = asked & {key.lower() for key in inherited}
    if overlap:
        return f"STS refuses to replace the transitive tag {sorted(overlap)[0]}"
    if not {key.lower() for key in transitive} <= asked:
        return "STS refuses a transitive key that is no tag of the request"
    if len(tags) > _MOST_TAGS:
        return f"STS refuses more than {_MOST_TAGS} session tags"
    if any(not 0 < len(key) <= _LONGEST_KEY or len(value) > _LONGEST_VALUE for key, value in tags.items()):
        return f"STS refuses tag keys of more than {_LONGEST_KEY} and values of more than {_LONGEST_VALUE} characters"
    return None


def _refused_duration(role: Role, caller: Principal, duration: int) -> str | None:
    if isinstance(caller, AssumedRole) and duration > LONGEST_IN_A_CHAIN:
        return f"STS refuses more than {LONGEST_IN_A_CHAIN} s to a session that a role's session asks for"
    if not SHORTEST <= duration <= role.max_session_duration:
        return f"STS refuses {duration} s: the role allows {SHORTEST} to {role.max_session_duration}"
    return None


def _context(
    role: Role,
    session_name: str,
    tags: Mapping[str, str],
    transitive: Collection[str],
    external_id: str | None,
    source_identity: str | None,
) -> dict[str, str | Sequence[str]]:
    context: dict[str, str | Sequence[str]] = {"sts:RoleSessionName": session_name}
    for key, value in role.tags.items():
        context |= {f"aws:ResourceTag/{key}": value, f"iam:ResourceTag/{key}": value}
    if tags:
        context["aws:TagKeys"] = tuple(tags)
        context |= {f"aws:RequestTag/{key}": value for key, value in tags.items()}
    if transitive:
        context["sts:TransitiveTagKeys"] = tuple(transitive)
    if external_id is not None:
        context["sts:ExternalId"] = external_id
    if source_identity is not None:
        context["sts:SourceIdentity"] = source_identity
    return context
