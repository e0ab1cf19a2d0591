"""One request: who does what to which resource, and the context keys that follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from isolation.iam.principals import AssumedRole, Principal, Service, User

#: of the principal, never of the caller's choice
_PRINCIPAL_KEYS = ("aws:principal", "aws:userid", "aws:username", "kms:calleraccount")


@dataclass(frozen=True)
class Request:
    """``resource_account`` owns the resource: bucket ARNs don't say. ``context``: keys the service would add."""

    principal: Principal
    action: str
    resource: str
    resource_account: str
    context: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        for key in self.context:
            if key.lower().startswith(_PRINCIPAL_KEYS):
                raise ValueError(f"context key {key} follows from the principal and can't be given")

    @property
    def keys(self) -> dict[str, tuple[str, ...]]:
        """Every context key, in lower case."""
        found: dict[str, tuple[str, ...]] = {
            "aws:securetransport": ("true",),
            "aws:currenttime": (self.at.strftime("%Y-%m-%dT%H:%M:%SZ"),),
            "aws:epochtime": (str(int(self.at.timestamp())),),
            "aws:resourceaccount": (self.resource_account,),
        }
        found |= {
            key.lower(): (value,) if isinstance(value, str) else tuple(value) for key, value in self.context.items()
        }
        return found | _of_principal(self.principal)


def _of_principal(principal: Principal) -> dict[str, tuple[str, ...]]:
    if isinstance(principal, Service):
        return {"aws:principalisawsservice": ("true",), "aws:principalservicename": (principal.name,)}
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
    elif isinstance(principal, User):
        found["aws:principalarn"] = (principal.arn,)
        found["aws:principaltype"] = ("Account",) if principal.is_root else ("User",)
        if not principal.is_root:
            found["aws:username"] = (principal.arn.rsplit("/", 1)[-1],)
    for key, value in principal.principal_tags.items():
        found[f"aws:principaltag/{key.lower()}"] = (value,)
    return found
