from __future__ import annotations

import random

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from localcloud.stripe.delivery import DEFAULT_RETRY, retry_delay, shuffled
from localcloud.stripe.signature import sign
from provisioner.billing import webhooks


def test_retries_back_off_up_to_a_cap_and_end() -> None:
    retry = {"base_s": 0.5, "factor": 2.0, "cap_s": 3.0, "attempts": 6}
    assert [retry_delay(retry, attempts) for attempts in range(1, 7)] == [0.5, 1.0, 2.0, 3.0, 3.0, None]


def test_by_default_a_receiver_may_be_away_for_minutes() -> None:
    delays = [retry_delay(DEFAULT_RETRY, attempts) or 0.0 for attempts in range(1, 17)]
    assert sum(delays) > 240


@given(st.lists(st.text(max_size=2), max_size=6), st.integers(0, 5))
def test_a_shuffle_loses_nothing_changes_the_order_and_can_be_repeated(items: list[str], seed: int) -> None:
    result = shuffled(items, random.Random(seed))
    assert sorted(result) == sorted(items)
    assert result == shuffled(items, random.Random(seed))
    if len(set(items)) > 1:
        assert result != items


@given(
    st.binary(max_size=60),
    st.lists(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1), min_size=1, max_size=3),
)
def test_every_secret_signs(body: bytes, secrets: list[str]) -> None:
    header = sign(body, secrets, 1_800_000_000)
    for secret in secrets:
        with pytest.raises(webhooks.PayloadInvalid):  # the signature holds, so the body was read
            webhooks.verify(body, header, [secret], now=1_800_000_000)


def test_the_library_verifies_the_signature() -> None:
    body = '{"id": "evt_1", "object": "event", "data": {"object": {"object": "customer"}}}'
    header = sign(body.encode(), ["whsec_a", "whsec_b"], 1_800_000_000)
    for secret in ("whsec_a", "whsec_b"):
        assert stripe.WebhookSignature.verify_header(body, header, secret, tolerance=None)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.WebhookSignature.verify_header(body, header, "whsec_c", tolerance=None)
