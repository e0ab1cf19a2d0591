"""A reporter in a process of its own, to be killed.

Arguments: the URLs of the database and of Stripe, and ``forever`` for one that goes on. It writes a dot to stdout
before and after each event, and a line when it has reported all that was due.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys

import structlog

from provisioner.billing.gateway_stripe import StripeGateway
from provisioner.billing.meters import MeterEvent, Receipt
from provisioner.billing.meters_stripe import StripeMeters
from provisioner.errors import RetryLater
from provisioner.metering.reporter import Reporter

KEY = "sk_test_bench"


class Announcing(StripeMeters):
    async def send(self, event: MeterEvent) -> Receipt:
        os.write(1, b".")
        try:
            return await super().send(event)
        finally:
            os.write(1, b".")


async def main(database_url: str, stripe_url: str, *, forever: bool) -> None:
    # without the library's own retries: an answer that is lost is the reporter's affair
    stripe, meters = StripeGateway(KEY, stripe_url, max_retries=0), Announcing(KEY, stripe_url, max_retries=0)
    reporter = Reporter(database_url, meters, "bench")
    try:
        while True:
            try:
                run = await reporter.run(await stripe.now())
                idle = run is not None and not run.planned and not run.sent
            except RetryLater:
                idle = True
            if idle:
                os.write(1, b"\n")
                if not forever:
                    return
                await asyncio.sleep(0.05)
    finally:
        await stripe.close()
        await meters.close()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    asyncio.run(main(sys.argv[1], sys.argv[2], forever="forever" in sys.argv[3:]))
