"""The end of a checkout session that nobody completed."""

from __future__ import annotations

from localcloud.stripe.account import Account
from localcloud.stripe.store import Object


def expire(account: Account, session: Object) -> None:
    """``expires_at`` has come, or the shop has ended it."""
    account.store.edit(session).update(status="expired", url=None)
    account.emit("checkout.session.expired", session)
