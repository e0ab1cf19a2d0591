"""A ``Seller`` for a process: connections of its own, and Stripe and the catalogue once they are needed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from pydantic import SecretStr

from provisioner.billing import catalogue as catalogues
from provisioner.billing.sales import StripeSales
from provisioner.operate import Pool
from provisioner.registry import storefront
from provisioner.selling.return_urls import ReturnUrls
from provisioner.selling.seller import UNTOLD_AFTER, Seller
from provisioner.settings import Settings

CONNECTIONS = 8  #: as many changes at once: each holds one while Stripe is asked


class SellerSource:
    """``async with`` it, then call it. A service whose Stripe key or catalogue is not set serves everything else."""

    def __init__(
        self,
        database_url: str,
        api_key: SecretStr,
        api_base: str | None,
        catalogue: Path,
        return_urls: ReturnUrls,
        *,
        connections: int = CONNECTIONS,
    ) -> None:
        self._pool: Pool = AsyncConnectionPool(
            database_url,
            kwargs={"autocommit": True, "application_name": "tenantry-selling"},
            min_size=0,
            max_size=connections,
            timeout=5,
            open=False,
            reset=_unlocked,
        )
        self._api_key = api_key
        self._api_base = api_base
        self._catalogue = catalogue
        self._return_urls = return_urls
        self._seller: Seller | None = None

    def __call__(self) -> Seller:
        """``ConfigurationInvalid`` for a missing key or an invalid catalogue."""
        if self._seller is None:
            plans = catalogues.load(self._catalogue)
            sales = StripeSales(self._api_key.get_secret_value(), self._api_base)
            self._seller = Seller(lambda: self._pool, sales, plans, self._return_urls)
        return self._seller

    async def __aenter__(self) -> SellerSource:
        await self._pool.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._seller is not None:
            await self._seller.close()
        await self._pool.close()


async def _unlocked(connection: AsyncConnection) -> None:
    """What was cancelled between a lock and its release holds nothing up."""
    await connection.execute("SELECT pg_advisory_unlock_all()")


@dataclass(frozen=True)
class UntoldChanges:
    """Periodic work: what ``Seller.run_due`` does, with a seller only while there is something to do."""

    pool: Pool
    settings: Settings

    async def run_due(self, now: datetime) -> None:
        async with self.pool.connection() as connection:
            if not await storefront.untold_changes(connection, older=UNTOLD_AFTER):
                return
        async with of_settings(self.settings, connections=1) as source:
            await source().run_due(now)


def of_settings(settings: Settings, *, connections: int = CONNECTIONS) -> SellerSource:
    """``ConfigurationInvalid`` for return URLs that are no origins."""
    return SellerSource(
        settings.database_url.get_secret_value(),
        settings.stripe_api_key,
        settings.stripe_api_base,
        settings.catalogue,
        ReturnUrls(settings.return_urls),
        connections=connections,
    )
