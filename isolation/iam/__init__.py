"""AWS's policy evaluation, over documents as the cloud returns them. No I/O but in ``collect``.

``simulate`` decides one request from documents and ARNs; ``authorize`` does so for a principal with its policies.
"""

from isolation.iam.decision import Decision, Effect, Outcome
from isolation.iam.documents import Kind, PolicyDocument, Statement
from isolation.iam.elements import PolicyError
from isolation.iam.evaluate import Environment, ResourcePolicies, authorize
from isolation.iam.grants import Grant
from isolation.iam.principals import (
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
from isolation.iam.simulate import simulate
from isolation.iam.sts import assume_role

__all__ = [
    "Anonymous",
    "AssumedRole",
    "Decision",
    "Effect",
    "Environment",
    "FederatedUser",
    "Grant",
    "IdentityProvider",
    "Kind",
    "Outcome",
    "PolicyDocument",
    "PolicyError",
    "Principal",
    "Request",
    "ResourcePolicies",
    "Role",
    "Service",
    "Statement",
    "User",
    "assume_role",
    "authorize",
    "simulate",
]
