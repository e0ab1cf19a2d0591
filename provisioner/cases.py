"""Disputes and refunds as Stripe has them now: loaded one by one for an event, or all of a time for the audit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass

from provisioner.billing import taken_back
from provisioner.billing.gateway import BillingGateway, Document
from provisioner.billing.translate import ReconcileHint, Refetch
from provisioner.errors import NotFound, Quarantined, TenantryError
from provisioner.registry.payment_cases import PaymentCase


@dataclass(frozen=True)
class Unreadable:
    """A dispute, or a charge, that can't be told of: it must not hide the others."""

    case_id: str
    problem: TenantryError


@dataclass(frozen=True)
class Cases:
    gateway: BillingGateway

    async def load(self, hint: ReconcileHint) -> PaymentCase | None:
        """Of what an event names; None when no customer of ours is concerned. ``NotFound``, ``Quarantined``."""
        assert hint.object_id is not None
        if hint.refetch is Refetch.DISPUTE:
            return await self._of_dispute(await self.gateway.dispute(hint.object_id))
        return await self._of_charge(await self.gateway.charge(hint.object_id))

    async def since(self, since: int) -> AsyncIterator[PaymentCase | Unreadable]:
        """Of every dispute and refund created at ``since`` (Unix seconds) or later."""
        async for dispute in self.gateway.disputes(since=since):
            if (case := await self._told(str(dispute.get("id")), self._of_dispute(dispute))) is not None:
                yield case
        seen: set[str] = set()
        async for refund in self.gateway.refunds(since=since):
            charge = refund.get("charge")
            if isinstance(charge, str) and charge not in seen:
                seen.add(charge)
                found = self.load(ReconcileHint(Refetch.CHARGE, charge))
                if (case := await self._told(charge, found)) is not None:
                    yield case

    async def _told(self, case_id: str, found: Awaitable[PaymentCase | None]) -> PaymentCase | Unreadable | None:
        try:
            return await found
        except (NotFound, Quarantined) as problem:
            return Unreadable(case_id, problem)

    async def _of_dispute(self, document: Document) -> PaymentCase | None:
        return taken_back.of_dispute(document, await self._invoice_of(document))

    async def _of_charge(self, document: Document) -> PaymentCase | None:
        now = await self.gateway.now()
        return taken_back.of_charge(document, await self._invoice_of(document), int(now.timestamp()))

    async def _invoice_of(self, document: Document) -> Document | None:
        payment = taken_back.payment_intent_of(document)
        return None if payment is None else await self.gateway.invoice_of_payment(payment)
