from __future__ import annotations

from collections.abc import Iterator

import pytest
import stripe

from tests.integration.localcloud.stripe.receiver import Receiver
from tests.integration.localcloud.stripe.world import Shop, StripeProcess, client_of, close


@pytest.fixture(scope="session")
def stripe_url() -> Iterator[str]:
    """A local Stripe for this worker's tests. It is shared: look only at objects of your own."""
    with StripeProcess() as process:
        yield process.url


@pytest.fixture(scope="session")
def client(stripe_url: str) -> Iterator[stripe.StripeClient]:
    client = client_of(stripe_url)
    yield client
    close(client)


@pytest.fixture(scope="session")
def shop(stripe_url: str, client: stripe.StripeClient) -> Shop:
    return Shop(stripe_url, client)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def own_shop() -> Iterator[Shop]:
    """A local Stripe for one test: its account clock, faults and endpoints are the test's own."""
    with StripeProcess() as process:
        client = client_of(process.url)
        yield Shop(process.url, client)
        close(client)
