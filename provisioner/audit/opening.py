"""An auditor with all that it asks, for a command or a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from provisioner.audit.auditor import Auditor
from provisioner.audit.tagged import resources
from provisioner.inbox import Inbox
from provisioner.quotas.aws import Boto3Clients

if TYPE_CHECKING:
    from provisioner.billing.catalogue import Catalogue
    from provisioner.desired import Installation
    from provisioner.engine.state import PostgresState
    from provisioner.operate import Pool
    from provisioner.settings import Settings


def auditor(
    pool: Pool, inbox: Inbox, catalogue: Catalogue, installation: Installation, state: PostgresState
) -> Auditor:
    clients = Boto3Clients()
    return Auditor(
        pool, inbox, catalogue, installation, state, lambda regions: resources(clients, installation.name, regions)
    )


@asynccontextmanager
async def open_auditor(settings: Settings) -> AsyncIterator[Auditor]:
    """For one command."""
    from provisioner import app

    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(app.open_pool(settings))
        stripe = app.gateway(settings)
        stack.push_async_callback(stripe.close)
        state = app.state(settings)
        stack.callback(state.close)
        plans = app.catalogue(settings)
        inbox = Inbox(pool, stripe, plans, settings.cell)
        yield auditor(pool, inbox, plans, app.installation(settings), state)
