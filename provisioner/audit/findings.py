"""What an audit can find, and what can be done about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FindingKind(StrEnum):
    PAID_NOT_PROVISIONED = "paid_not_provisioned"
    PROVISIONED_NOT_PAID = "provisioned_not_paid"
    ENTITLEMENT_DRIFT = "entitlement_drift"
    ACCESS_DRIFT = "access_drift"
    STACK_BEHIND = "stack_behind"
    UNKNOWN_SUBSCRIPTION = "unknown_subscription"
    SHARED_CUSTOMER = "shared_customer"
    TWO_SUBSCRIPTIONS = "two_subscriptions"
    CUSTOMER_MISSING = "customer_missing"
    SUBSCRIPTION_UNREADABLE = "subscription_unreadable"
    ORPHANED_STACK = "orphaned_stack"
    ORPHANED_RESOURCE = "orphaned_resource"
    PAYMENT_CASE_UNKNOWN = "payment_case_unknown"
    EVENT_STUCK = "event_stuck"
    EVENT_QUARANTINED = "event_quarantined"
    NOT_AUDITED = "not_audited"


MEANING: dict[FindingKind, str] = {
    FindingKind.PAID_NOT_PROVISIONED: "a subscription pays for access, and the tenant does not have it",
    FindingKind.PROVISIONED_NOT_PAID: "a tenant has more access, or stands for longer, than anybody pays for",
    FindingKind.ENTITLEMENT_DRIFT: "plan, features, quotas or dates in the registry are not what Stripe's facts give",
    FindingKind.ACCESS_DRIFT: "registry, placement and stack do not agree on what the tenant may do",
    FindingKind.STACK_BEHIND: "the stack is not what the registry asks for, and nothing is under way",
    FindingKind.UNKNOWN_SUBSCRIPTION: "a subscription that pays belongs to no tenant we know",
    FindingKind.SHARED_CUSTOMER: "a customer's subscriptions name several tenants, or one of another customer",
    FindingKind.TWO_SUBSCRIPTIONS: "a tenant pays for two subscriptions at once",
    FindingKind.CUSTOMER_MISSING: "Stripe does not know the tenant's customer",
    FindingKind.SUBSCRIPTION_UNREADABLE: "a subscription of the tenant can't be understood",
    FindingKind.ORPHANED_STACK: "a stack whose tenant the registry does not know, or knows as destroyed",
    FindingKind.ORPHANED_RESOURCE: "an AWS resource with the tags of a tenant that does not stand",
    FindingKind.PAYMENT_CASE_UNKNOWN: "a dispute or refund that no event has told us of, or has changed since",
    FindingKind.EVENT_STUCK: "an event that has waited for longer than its bound",
    FindingKind.EVENT_QUARANTINED: "an event that waits for an operator",
    FindingKind.NOT_AUDITED: "a part of the audit could not be done",
}


class Remedy(StrEnum):
    """What ``--fix`` does by itself; nothing of it destroys."""

    RECONCILE = "reconcile"  #: queue a look at the tenant
    ADOPT = "adopt"  #: bind the subscription's tenant, then reconcile it
    RECORD_CASE = "record_case"  #: write the dispute or refund down, then reconcile
    REQUEUE_EVENT = "requeue_event"
    NONE = "none"  #: an operator decides


@dataclass(frozen=True)
class Finding:
    """``subject``: the id of what it is about. ``fix``: what to do, a command where there is one."""

    kind: FindingKind
    subject: str
    what: str
    fix: str
    remedy: Remedy = Remedy.NONE
    tenant_id: str | None = None

    @property
    def fixable(self) -> bool:
        return self.remedy is not Remedy.NONE
