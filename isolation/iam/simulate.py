"""One decision from documents and names alone, as IAM's SimulateCustomPolicy takes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from isolation.iam.decision import Decision
from isolation.iam.documents import Kind, PolicyDocument
from isolation.iam.evaluate import Environment, Levels, ResourcePolicies, authorize
from isolation.iam.grants import Grant
from isolation.iam.principals import (
    NO_TAGS,
    Anonymous,
    AssumedRole,
    FederatedUser,
    IdentityProvider,
    Principal,
    Role,
    Service,
    User,
)
from isolation.iam.request import Request

#: JSON text, the same parsed, or a document read before
Document = str | Mapping[str, Any] | PolicyDocument

_TAG = "aws:principaltag/"
_NO_TRUST = PolicyDocument.parse(
    {"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Principal": "*", "Action": "sts:*"}}, "trust policy"
)


def simulate(
    principal: str,
    action: str,
    resource: str,
    *,
    identity_policies: Iterable[Document] = (),
    permissions_boundary: Document | None = None,
    session_policies: Iterable[Document] = (),
    resource_policy: Document | None = None,
    resource_policy_required: bool | None = None,
    grants: Iterable[Grant] = (),
    service_control_policies: Iterable[Iterable[Document]] = (),
    resource_control_policies: Iterable[Iterable[Document]] = (),
    vpc_endpoint_policy: Document | None = None,
    role_arn: str | None = None,
    principal_tags: Mapping[str, str] = NO_TAGS,
    session_tags: Mapping[str, str] = NO_TAGS,
    resource_account: str | None = None,
    context: Mapping[str, str | Sequence[str]] = NO_TAGS,
    at: datetime | None = None,
) -> Decision:
    """Whether ``principal`` may do ``action`` with ``resource``.

    ``principal``: ARN of a user, of an account's root, of a role (for any session of it), of a role session, of a
    federated user, or of an identity provider; a service's name; ``*`` for a request without credentials.
    ``role_arn``: of a session's role, if it has a path. ``principal_tags`` are the user's or role's,
    ``session_tags`` the session's; ``aws:PrincipalTag/...`` in ``context`` adds to these. ``resource_account``: by
    default that of the ARN or, where it names none, the principal's. ``resource_policy_required``: by default of KMS
    keys and of roles to assume. Control policies come per level of the organization. Raises PolicyError for a document
    that AWS would refuse, ValueError for a principal that can't be understood.
    """
    session = {key[len(_TAG) :]: value for key, value in context.items() if key.lower().startswith(_TAG)}
    if not all(isinstance(value, str) for value in session.values()):
        raise ValueError("a principal's tag has one value")
    who = _principal(
        principal,
        role_arn,
        _documents(identity_policies, "identity policy"),
        None
        if permissions_boundary is None
        else _document(permissions_boundary, "permissions boundary", Kind.IDENTITY),
        _documents(session_policies, "session policy"),
        principal_tags,
        {**session, **session_tags},  # type: ignore[dict-item]  # strings, as was just made sure
    )
    request = Request(
        who,
        action,
        resource,
        resource_account or _account(resource) or who.account,
        {key: value for key, value in context.items() if not key.lower().startswith(_TAG)},
        at or datetime.now(UTC),
    )
    kind = Kind.TRUST if action.lower().startswith("sts:") else Kind.RESOURCE
    attached = ResourcePolicies(
        None if resource_policy is None else _document(resource_policy, "resource policy", kind),
        tuple(grants),
        _is_required(action, resource) if resource_policy_required is None else resource_policy_required,
    )
    environment = Environment(
        None if vpc_endpoint_policy is None else _document(vpc_endpoint_policy, "VPC endpoint policy", Kind.RESOURCE),
        _levels(service_control_policies, "service control policy"),
        _levels(resource_control_policies, "resource control policy", Kind.RESOURCE),
    )
    return authorize(request, attached, environment)


def _principal(
    name: str,
    role_arn: str | None,
    policies: tuple[PolicyDocument, ...],
    boundary: PolicyDocument | None,
    session_policies: tuple[PolicyDocument, ...],
    own_tags: Mapping[str, str],
    session_tags: Mapping[str, str],
) -> Principal:
    if name == "*":
        return Anonymous()
    if not name.startswith("arn:"):
        return Service(name) if name.endswith((".amazonaws.com", ".amazonaws.com.cn")) else IdentityProvider(name)
    _, partition, service, _, account, entity = (name.split(":", 5) + [""] * 5)[:6]
    kind, _, rest = entity.partition("/")
    iam = f"arn:{partition}:iam::{account}"
    if kind in ("oidc-provider", "saml-provider"):
        return IdentityProvider(name)
    if service == "iam" and kind in ("user", "root"):
        return User(name, policies, boundary, {**own_tags, **session_tags})
    if service == "sts" and kind == "federated-user":
        user = User(f"{iam}:user/{rest}", policies, boundary, own_tags)
        return FederatedUser(user, rest, session_tags, session_policies)
    if service == "iam" and kind == "role":
        role_arn, session_name = name, "session"
    elif service == "sts" and kind == "assumed-role" and "/" in rest:
        role_name, _, session_name = rest.partition("/")
        role_arn = role_arn or f"{iam}:role/{role_name}"
    else:
        raise ValueError(f"{name!r} is the ARN of no principal")
    role = Role(role_arn, _NO_TRUST, policies, boundary, own_tags)
    return AssumedRole(role, session_name, session_tags, session_policies=session_policies)


def _account(resource: str) -> str:
    parts = resource.split(":", 5)
    return parts[4] if len(parts) == 6 else ""


def _is_required(action: str, resource: str) -> bool:
    service, _, name = action.lower().partition(":")
    if service == "kms":
        return ":key/" in resource
    return service == "sts" and (name.startswith("assumerole") or name in ("tagsession", "setsourceidentity"))


def _documents(documents: Iterable[Document], of: str, kind: Kind = Kind.IDENTITY) -> tuple[PolicyDocument, ...]:
    return tuple(_document(each, f"{of} {number}", kind) for number, each in enumerate(documents, 1))


def _document(document: Document, source: str, kind: Kind = Kind.IDENTITY) -> PolicyDocument:
    return document if isinstance(document, PolicyDocument) else PolicyDocument.parse(document, source, kind)


def _levels(levels: Iterable[Iterable[Document]], of: str, kind: Kind = Kind.IDENTITY) -> Levels:
    return tuple(_documents(level, f"{of} of level {number},", kind) for number, level in enumerate(levels, 1))
