"""What a customer has bought, as it is now: the refetch of a reconcile. Unreadable is never taken for absent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from provisioner.billing.catalogue import Catalogue
from provisioner.billing.translate import (
    SubscriptionState,
    SubscriptionStatus,
    ended_state,
    is_paid,
    subscription_state,
    tenant_of,
)
from provisioner.errors import OperatorNeeded, Quarantined


class SubscriptionUnreadable(OperatorNeeded):
    """A subscription that may be what the tenant pays for can't be understood: the tenant stays as it is."""

    code = "subscription_unreadable"


@dataclass(frozen=True)
class Bought:
    """``states``: the tenant's readable subscriptions. ``unreadable``: why others of its customer are not."""

    states: tuple[SubscriptionState, ...]
    unreadable: tuple[Quarantined, ...] = ()

    def require_readable(self) -> tuple[SubscriptionState, ...]:
        """The states, unless an unreadable subscription could change the verdict: then ``SubscriptionUnreadable``."""
        self.require_enough(any(map(is_paid, self.states)))
        return self.states

    def require_enough(self, serves: bool) -> None:
        """``SubscriptionUnreadable`` unless the readable ones give access, or are all there is: a trial that is
        refused, or a payment that was taken back, must not close a tenant that may have paid otherwise."""
        if self.unreadable and not serves:
            first = self.unreadable[0]
            raise SubscriptionUnreadable(f"nothing was changed: {first.message}", hint=first.hint)


def bought(
    tenant_id: str, documents: Iterable[Mapping[str, Any]], catalogue: Catalogue, *, expected_livemode: bool
) -> Bought:
    """``documents`` are all subscriptions of the tenant's customer; those of other tenants are left out."""
    states: list[SubscriptionState] = []
    unreadable: list[Quarantined] = []
    for document in documents:
        try:
            state = subscription_state(document, catalogue, expected_livemode=expected_livemode)
        except Quarantined as problem:
            if problem.code != "livemode_mismatch" and (ended := ended_state(document, tenant_id)) is not None:
                states.append(ended)  # it gives nothing any more, but its data is retained
            elif not _irrelevant(tenant_id, document):
                unreadable.append(problem)
            continue
        if state.tenant_id == tenant_id:
            states.append(state)
    return Bought(tuple(states), tuple(unreadable))


def _irrelevant(tenant_id: str, document: Mapping[str, Any]) -> bool:
    """Whether an unreadable subscription surely says nothing about the tenant: it gives no access, or is another's."""
    status = document.get("status")
    if status in (SubscriptionStatus.CANCELED.value, SubscriptionStatus.INCOMPLETE_EXPIRED.value):
        return True
    try:
        return tenant_of(document) != tenant_id
    except Quarantined:
        return False
