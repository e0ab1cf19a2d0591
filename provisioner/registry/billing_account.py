"""The account of Stripe that this installation bills through: recorded once, and no other is taken for it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row

from provisioner.errors import ConfigurationInvalid
from provisioner.registry.queries import load

_sql = functools.partial(dict.__getitem__, load("billing_account"))


@dataclass(frozen=True)
class BillingAccount:
    account_id: str
    livemode: bool
    recorded_at: datetime
    recorded_by: str

    @property
    def mode(self) -> str:
        return "live" if self.livemode else "test"


async def get(connection: AsyncConnection) -> BillingAccount | None:
    async with connection.cursor(row_factory=class_row(BillingAccount)) as cursor:
        await cursor.execute(_sql("get"))
        return await cursor.fetchone()


async def require(
    connection: AsyncConnection, account_id: str, *, livemode: bool, by: str, replace: str | None = None
) -> None:
    """Record the account at the first time; afterwards ``ConfigurationInvalid`` for any other, or another mode.

    ``replace``: the id of the account that is to be recorded in place of another; it must be the key's.
    """
    parameters = {"account_id": account_id, "livemode": livemode, "by": by}
    if replace is not None:
        if replace != account_id:
            raise ConfigurationInvalid(
                f"--account names {replace}, and the key belongs to {account_id}",
                hint="Use a key of the account that is to be recorded",
            )
        await connection.execute(_sql("replace"), parameters)
        return
    await connection.execute(_sql("record"), parameters)
    found = await get(connection)
    assert found is not None
    if (found.account_id, found.livemode) != (account_id, livemode):
        mode = "live" if livemode else "test"
        raise ConfigurationInvalid(
            f"this installation bills through {found.account_id} in {found.mode} mode, and the key is for {account_id} "
            f"in {mode} mode",
            hint="Use a key of that account and mode; if the installation is to bill through the other one from now "
            f"on: tenantry catalogue push --account {account_id}",
        )
