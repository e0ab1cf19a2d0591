"""Applies a plan of changes to an account of Stripe. May be run again after a crash at any point."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from provisioner.billing.gateway import Document
from provisioner.billing.stripe_catalogue.api import CatalogueApi, content_key
from provisioner.billing.stripe_catalogue.changes import Change, ChangePlan, Request
from provisioner.billing.stripe_catalogue.wanted import Ref
from provisioner.errors import ConfigurationInvalid, OperatorNeeded


def apply(
    api: CatalogueApi,
    plan: ChangePlan,
    *,
    source: str,
    fresh: str = "",
    done: Callable[[Change], None] | None = None,
) -> dict[Ref, str]:
    """Make the changes in order; returns the ids of what was there and of what was made.

    A push whose answer was lost makes nothing twice, and a price that comes back after another is new: see
    ``Request.beside``. Stripe replays failures (5xx) of a key too, for a day: ``fresh`` (any text) makes other keys.
    ``ConfigurationInvalid`` if there are conflicts; nothing is applied then.
    """
    if plan.conflicts:
        listed = "; ".join(str(conflict) for conflict in plan.conflicts)
        raise ConfigurationInvalid(
            f"the catalogue can't be pushed: {listed}", hint=f"Correct {source}, or Stripe's objects"
        )
    known = dict(plan.known)
    for change in plan.changes:
        for request in change.requests:
            answer = _send(api, request, known, fresh)
            if request.creates is not None:
                known[request.creates] = str(answer["id"])
        if done is not None:
            done(change)
    return known


def _send(api: CatalogueApi, request: Request, known: Mapping[Ref, str], fresh: str) -> Document:
    if request.method == "delete":
        return api.delete(request.path)
    params = _resolved(request.params, known)
    if request.beside is None:
        return api.post(request.path, params)
    key = content_key("catalogue", request.path, params, request.beside, fresh)
    return api.post(request.path, params, idempotency_key=key)


def _resolved(value: Any, known: Mapping[Ref, str]) -> Any:
    match value:
        case Ref():
            if value not in known:
                raise OperatorNeeded(f"{value.kind} {value.name} has no id yet", hint="This is a defect: report it")
            return known[value]
        case Mapping():
            return {key: _resolved(item, known) for key, item in value.items()}
        case list():
            return [_resolved(item, known) for item in value]
        case _:
            return value
