"""KMS grants: they allow besides the key's policy, and never deny.

https://docs.aws.amazon.com/kms/latest/developerguide/grants.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from isolation.iam.naming import Named, names
from isolation.iam.principals import Service
from isolation.iam.request import Request

_PREFIX = "kms:encryptioncontext:"
#: they carry no encryption context, so a constraint doesn't speak of them
_UNCONSTRAINED = {"describekey", "retiregrant"}


@dataclass(frozen=True)
class Grant:
    """A KMS grant. The two constraints are the encryption context that a request must equal, or contain."""

    grant_id: str
    grantee: str
    operations: frozenset[str]
    context_equals: Mapping[str, str] | None = None
    context_subset: Mapping[str, str] | None = None

    @property
    def name(self) -> str:
        """For evidence."""
        return f"KMS grant {self.grant_id}"


def find_grant(grants: tuple[Grant, ...], request: Request) -> Grant | None:
    """The first grant that allows the request. Keys of constraints are compared without case, values with it."""
    service, _, operation = request.action.lower().partition(":")
    if service != "kms":
        return None
    context = {key[len(_PREFIX) :]: values[0] for key, values in request.keys.items() if key.startswith(_PREFIX)}
    return next((each for each in grants if _allows(each, operation, request, context)), None)


def _allows(grant: Grant, operation: str, request: Request, context: dict[str, str]) -> bool:
    kind = "Service" if isinstance(request.principal, Service) else "AWS"
    if grant.grantee == "*" or names(kind, grant.grantee, request.principal) < Named.BEHIND:
        return False
    if operation not in {each.lower() for each in grant.operations}:
        return False
    if operation in _UNCONSTRAINED:
        return True
    equals, subset = _lowered(grant.context_equals), _lowered(grant.context_subset)
    return (equals is None or equals == context) and (subset is None or subset.items() <= context.items())


def _lowered(context: Mapping[str, str] | None) -> dict[str, str] | None:
    return None if context is None else {key.lower(): value for key, value in context.items()}
