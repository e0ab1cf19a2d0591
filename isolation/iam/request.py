"""One request: who does what to which resource, and the context keys that follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

from isolation.iam.principals import Anonymous, AssumedRole, FederatedUser, Outsider, Principal, Service, User

#: of the principal, never of the caller's choice; its organization is not known here, so that may be given
_PRINCIPAL_KEYS = {
    "aws:principalarn",
    "aws:principalaccount",
    "aws:principaltype",
    "aws:principalisawsservice",
    "aws:principalservicename",
    "aws:userid",
    "aws:username",
    "aws:sourceidentity",
    "kms:calleraccount",
}
_PRINCIPAL_TAG = "aws:principaltag/"


@dataclass(frozen=True)
class Request:
    """``resource_account`` owns the resource: bucket ARNs don't say. ``context``: keys the service would add.

    A key that is present in every request is there unless ``context`` says otherwise: the time ``at`` which it is
    made, TLS, the resource's account, the time the principal's session began.
    """

    principal: Principal
    action: str
    resource: str
    resource_account: str
    context: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        """Raises ValueError if ``context`` contradicts what follows from the principal."""
        claimed = {
            key: values
            for key, values in _listed(self.context).items()
            if key in _PRINCIPAL_KEYS or key.startswith(_PRINCIPAL_TAG)
        }
        own = _of_principal(self.principal) if claimed else {}
        for key, values in claimed.items():
            if own.get(key) != values:
                raise ValueError(f"context key {key} follows from the principal and can't be given another value")

    @cached_property
    def keys(self) -> dict[str, tuple[str, ...]]:
        """Every context key, in lower case."""
        now = self.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        found: dict[str, tuple[str, ...]] = {
            "aws:securetransport": ("true",),
            "aws:currenttime": (now,),
            "aws:epochtime": (str(int(self.at.timestamp())),),
            "aws:resourceaccount": (self.resource_account,),
        }
        if isinstance(self.principal, (AssumedRole, FederatedUser)):
            found["aws:tokenissuetime"] = (now,)
        return found | _listed(self.context) | _of_principal(self.principal)


def _listed(context: Mapping[str, str | Sequence[str]]) -> dict[str, tuple[str, ...]]:
    return {key.lower(): (value,) if isinstance(value, str) else tuple(value) for key, value in context.items()}


def _of_principal(principal: Principal) -> dict[str, tuple[str, ...]]:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html#principaltable"""
    if isinstance(principal, Service):
        return {"aws:principalisawsservice": ("true",), "aws:principalservicename": (principal.name,)}
    if isinstance(principal, Outsider):
        kind = {"aws:principaltype": ("Anonymous",)} if isinstance(principal, Anonymous) else {}
        return {"aws:principalisawsservice": ("false",), **kind}
    found: dict[str, tuple[str, ...]] = {
        "aws:principalisawsservice": ("false",),
        "aws:principalaccount": (principal.account,),
        "kms:calleraccount": (principal.account,),
    }
    if isinstance(principal, AssumedRole):
        found["aws:principalarn"] = (principal.role.arn,)
        found["aws:principaltype"] = ("AssumedRole",)
        found["aws:userid"] = (f"{principal.role.unique_id}:{principal.session_name}",)
        if principal.source_identity is not None:
            found["aws:sourceidentity"] = (principal.source_identity,)
    elif isinstance(principal, FederatedUser):
        found["aws:principalarn"] = (principal.arn,)
        found["aws:principaltype"] = ("FederatedUser",)
        found["aws:userid"] = (f"{principal.account}:{principal.name}",)
    elif isinstance(principal, User):
        found["aws:principalarn"] = (principal.arn,)
        found["aws:principaltype"] = ("Account",) if principal.is_root else ("User",)
        found["aws:userid"] = (principal.account if principal.is_root else principal.unique_id,)
        if not principal.is_root:
            found["aws:username"] = (principal.name,)
    for key, value in principal.principal_tags.items():
        found[f"{_PRINCIPAL_TAG}{key.lower()}"] = (value,)
    return found
