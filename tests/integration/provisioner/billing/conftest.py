from __future__ import annotations

from collections.abc import Iterator

import pytest

from localcloud.stripe.server import LocalStripe
from tests.integration.provisioner.billing import stripe_mock


@pytest.fixture(scope="session")
def stripe_mock_url() -> Iterator[str]:
    with stripe_mock.running() as url:
        yield url


@pytest.fixture
def local_stripe() -> Iterator[LocalStripe]:
    """A local Stripe for one test, on a thread of this process."""
    with LocalStripe() as running:
        yield running
