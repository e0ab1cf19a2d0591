"""AWS's policy evaluation, over documents as the cloud returns them. No I/O but in ``collect``."""

from isolation.iam.decision import Decision, Effect, Outcome
from isolation.iam.documents import PolicyDocument, Statement
from isolation.iam.elements import PolicyError
from isolation.iam.evaluate import Environment, Grant, ResourcePolicies, authorize
from isolation.iam.principals import AssumedRole, Principal, Role, Service, User
from isolation.iam.request import Request
from isolation.iam.sts import assume_role

__all__ = [
    "AssumedRole",
    "Decision",
    "Effect",
    "Environment",
    "Grant",
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
]
