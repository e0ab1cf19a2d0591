"""From settings to what offboarding is made of. Nothing connects before it is used."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from pathlib import Path

from provisioner.billing.catalogue import Catalogue
from provisioner.engine.state import PostgresState
from provisioner.offboarding.copies import Copies, Retention
from provisioner.offboarding.envelope import Envelope, archive_key
from provisioner.offboarding.exporter import Exporter
from provisioner.offboarding.leftovers import Scanner
from provisioner.offboarding.steps import Keeping, Offboarding
from provisioner.offboarding.store import open_store
from provisioner.operate import Pool
from provisioner.quotas.aws import AwsClients, Boto3Clients
from provisioner.settings import Settings


def spool(settings: Settings) -> Path:
    """Where exports lie while they are written, unencrypted: on this machine, readable for this user alone."""
    return settings.home / "spool"


def exporter(settings: Settings, clients: AwsClients | None = None) -> Exporter:
    return Exporter(settings.database_url.get_secret_value(), clients or Boto3Clients())


def copies(settings: Settings, clients: AwsClients) -> Copies:
    """Asks KMS for the archive key. Raises ConfigurationInvalid, CopyUnavailable."""
    place = {"environment": settings.environment, "region": settings.region, "clients": clients}
    store = open_store(settings.export_store, home=settings.home, **place)  # type: ignore[arg-type]
    key = archive_key(settings.archive_key, installation=settings.installation, **place)  # type: ignore[arg-type]
    return Copies(store, Envelope(key))


async def forget_customer(settings: Settings, customer_id: str) -> None:
    from provisioner.billing.forgetting import delete_customer

    await delete_customer(settings.stripe_api_key.get_secret_value(), settings.stripe_api_base, customer_id)


def offboarding(
    settings: Settings,
    pool: Pool,
    catalogue: Catalogue,
    state: PostgresState,
    billing_now: Callable[[], Awaitable[datetime]],
) -> Offboarding:
    from provisioner.proving.key import signing_key
    from provisioner.proving.product import product

    clients = Boto3Clients()
    return Offboarding(
        pool=pool,
        catalogue=catalogue,
        exporter=exporter(settings, clients),
        scanner=Scanner(clients, state),
        state=state,
        copies=partial(copies, settings, clients),
        signer=partial(signing_key, settings),
        product=product,
        billing_now=billing_now,
        forget=partial(forget_customer, settings),
        keeping=Keeping(spool(settings), settings.export_days, settings.evidence_days),
    )


def retention(settings: Settings, pool: Pool) -> Retention:
    """Periodic work: copies whose days are over."""
    clients = Boto3Clients()
    return Retention(pool, partial(copies, settings, clients), clients, spool(settings))
