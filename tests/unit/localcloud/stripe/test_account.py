"""Transactions, events and time of an account, without HTTP."""

from __future__ import annotations

import json

import pytest

from localcloud.stripe.account import EVENT_RETENTION_S, Account
from localcloud.stripe.errors import ApiError, declined
from localcloud.stripe.store import Store


class Wall:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def account(wall: Wall) -> Account:
    return Account(Store(), wall)


def listen(account: Account, *types: str, status: str = "enabled") -> str:
    identifier = f"we_{account.store.count('webhook_endpoint')}"
    account.store.add({"object": "webhook_endpoint", "id": identifier, "status": status, "enabled_events": list(types)})
    return identifier


def buy(account: Account, failure: Exception) -> None:
    """A request that changes something, announces it, and fails."""
    with account.transaction():
        account.emit("x", account.store.add({"object": "customer", "id": f"cus_{account.store.count('customer')}"}))
        raise failure


def test_an_error_undoes_everything_events_and_deliveries_included(account: Account) -> None:
    listen(account, "*")
    account.store.commit()
    sent: list[list[str]] = []
    account.on_deliveries = sent.append
    with pytest.raises(ZeroDivisionError):
        buy(account, ZeroDivisionError())
    assert (account.store.all("customer"), account.store.all("event"), sent) == ([], [], [])


def test_a_declined_payment_keeps_its_attempt_and_announces_it(account: Account) -> None:
    listen(account, "*")
    sent: list[list[str]] = []
    account.on_deliveries = sent.append
    with pytest.raises(ApiError):
        buy(account, declined(keeps_changes=True))
    assert len(account.store.all("event")) == 1
    assert sent == [[account.store.all("_delivery")[0]["id"]]]
    assert account.store.count("customer") == 1
    with pytest.raises(ApiError):
        buy(account, declined())
    assert len(account.store.all("event")) == 1


def test_deliveries_are_announced_after_the_transaction_with_the_lock_free(account: Account) -> None:
    listen(account, "*")
    seen: list[int] = []

    def look(_: list[str]) -> None:
        seen.append(account.store.count("event"))

    account.on_deliveries = look
    with account.transaction():
        account.emit("x", {"object": "customer", "id": "cus_1"})
        assert seen == []
    assert seen == [1]


def test_an_event_is_for_enabled_endpoints_that_want_its_type(account: Account) -> None:
    wanted = [listen(account, "*"), listen(account, "a.b", "c")]
    listen(account, "a")
    listen(account, "*", status="disabled")
    event = account.emit("a.b", {"object": "customer", "id": "cus_1"})
    assert [delivery["endpoint"] for delivery in account.deliveries_of(event)] == wanted
    assert account.pending_webhooks(event) == 2
    account.deliveries_of(event)[0]["state"] = "delivered"
    assert account.pending_webhooks(event) == 1


def test_an_update_that_changes_nothing_is_silent(account: Account) -> None:
    customer = account.store.add({"object": "customer", "id": "cus_1", "name": "a"})
    with account.updating(customer):
        customer["name"] = "a"
        customer["_own"] = "a field that nobody sees"
    assert account.store.all("event") == []
    with account.updating(customer):
        customer["name"] = "b"
    (event,) = account.store.all("event")
    assert event["type"] == "customer.updated"
    assert json.loads(event["_data"]) == {
        "object": {"object": "customer", "id": "cus_1", "name": "b"},
        "previous_attributes": {"name": "a"},
    }


def test_time_is_the_walls_moved_or_a_test_clocks(account: Account) -> None:
    account.set_setting("clock_offset", 100)
    account.store.add({"object": "test_helpers.test_clock", "id": "clock_1", "frozen_time": 7})
    assert account.now() == 1_800_000_100
    assert account.now("clock_1") == 7


def test_old_events_and_their_deliveries_are_forgotten(account: Account, wall: Wall) -> None:
    listen(account, "*")
    for _ in range(3):
        account.emit("x", {"object": "customer", "id": "cus_1"})
        wall.now += EVENT_RETENTION_S / 2
    account.emit("x", {"object": "customer", "id": "cus_1"})
    assert account.store.count("event") == account.store.count("_delivery") == 2
