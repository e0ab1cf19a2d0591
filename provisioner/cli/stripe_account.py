"""What the commands about the catalogue in Stripe share: the API, its mode, and the installation's account."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from provisioner.billing.catalogue import Catalogue
    from provisioner.billing.stripe_catalogue.api import CatalogueApi

LiveOption = Annotated[bool, typer.Option("--live", help="Needed with a live mode key, and refused with another.")]
FileArgument = Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Default: TENANTRY_CATALOGUE.")]


def load(file: Path | None) -> Catalogue:
    from provisioner import settings
    from provisioner.billing import catalogue as catalogues

    return catalogues.load(file or settings.load().catalogue)


@contextlib.contextmanager
def account(*, live: bool) -> Iterator[CatalogueApi]:
    """``ConfigurationInvalid`` when the key's mode isn't the one that was asked for."""
    from provisioner import settings
    from provisioner.billing.stripe_catalogue.api import CatalogueApi, require_mode

    configured = settings.load()
    api = CatalogueApi.connect(configured.stripe_api_key.get_secret_value(), configured.stripe_api_base)
    try:
        require_mode(api, live=live)
        yield api
    finally:
        api.close()


def require_account(api: CatalogueApi, *, by: str, replace: str | None = None) -> None:
    """Record the key's account at the first time, and refuse any other afterwards."""
    from psycopg import AsyncConnection

    from provisioner.cli.registry_access import ask
    from provisioner.registry import billing_account

    account_id = api.account_id()

    async def question(connection: AsyncConnection) -> None:
        await billing_account.require(connection, account_id, livemode=api.livemode, by=by, replace=replace)

    ask(question)
