"""The server as a process: its arguments, its end, and what survives a restart."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.localcloud.stripe.receiver import Receiver
from tests.integration.localcloud.stripe.world import DAY, ROOT, START, Shop, StripeProcess, client_of, close, control


@pytest.mark.parametrize("kill", [False, True], ids=["terminated", "killed"])
def test_everything_survives_a_restart(tmp_path: Path, kill: bool) -> None:
    process = StripeProcess(["--data", str(tmp_path / "stripe.state")]).start()
    client = client_of(process.url)
    shop = Shop(process.url, client)
    clock = shop.clock()
    customer = shop.customer(clock)
    subscription = shop.subscribe(customer.id, trial_period_days=3, metadata={"tenant_id": "acme"})
    shop.control("POST", "/_local/clock/advance", {"seconds": 5 * DAY})
    shop.control("POST", "/_local/faults", {"duplicate": 1})
    shown = shop.subscription(subscription.id).to_dict()
    types = shop.types(customer.id)
    key = client.v1.customers.create({"name": "once"}, {"idempotency_key": "one"}).id
    close(client)
    process.stop(kill=kill)

    with StripeProcess(["--data", str(tmp_path / "stripe.state")]) as again:
        client = client_of(again.url)
        try:
            shop.url, shop.client, shop.v1 = again.url, client, client.v1
            assert shop.subscription(subscription.id).to_dict() == shown
            assert shop.types(customer.id) == types
            assert control(again.url, "GET", "/_local/faults")["duplicate"] == 1
            assert control(again.url, "GET", "/_local/clock")["offset"] == 5 * DAY
            assert client.v1.customers.create({"name": "once"}, {"idempotency_key": "one"}).id == key
            shop.advance(clock, to=START + 4 * DAY)
            assert shop.subscription(subscription.id).status == "active"
        finally:
            close(client)


def test_deliveries_that_were_pending_are_sent_after_a_restart(tmp_path: Path, receiver: Receiver) -> None:
    arguments = ["--data", str(tmp_path / "s"), "--webhook-url", receiver.url, "--webhook-secret", "whsec_a"]
    receiver.answer = lambda body: 500
    process = StripeProcess(arguments).start()
    control(process.url, "POST", "/_local/settings", {"retry": {"base_s": 300, "cap_s": 300}})
    client = client_of(process.url)
    client.v1.customers.create({})
    close(client)
    receiver.wait(lambda arrived: len(arrived) == 1, "the first attempt never came")
    process.stop()
    receiver.answer = lambda body: 200
    with StripeProcess(arguments):
        assert receiver.wait_for("customer.created")[0].id == receiver.deliveries[0].id


def test_the_endpoint_of_the_command_line_is_one_and_moves(tmp_path: Path, receiver: Receiver) -> None:
    data = ["--data", str(tmp_path / "s")]
    first = ["--webhook-url", "http://127.0.0.1:9/gone", "--webhook-secret", "whsec_a"]
    StripeProcess([*data, *first]).start().stop()
    second = ["--webhook-url", receiver.url, "--webhook-secret", "whsec_b", "--webhook-secret", "whsec_a"]
    with StripeProcess([*data, *second]) as process:
        client = client_of(process.url)
        assert [endpoint.url for endpoint in client.v1.webhook_endpoints.list()] == [receiver.url]
        client.v1.customers.create({})
        close(client)
        (delivery,) = receiver.wait_for("customer.created")
        assert delivery.signature.count("v1=") == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 0)])
def test_it_ends_quietly_and_soon(tmp_path: Path, number: signal.Signals, code: int) -> None:
    process = StripeProcess(["--data", str(tmp_path / "s")], stderr=subprocess.PIPE).start()
    assert process.process is not None
    client = client_of(process.url)  # a connection that stays open must not hold it
    client.v1.customers.create({})
    process.process.send_signal(number)
    _, errors = process.process.communicate(timeout=20)
    assert (process.process.returncode, errors) == (code, "")
    close(client)


@pytest.mark.parametrize("secrets", [[], ["--webhook-secret", ""], ["--webhook-secret", "a", "--webhook-secret", ""]])
def test_a_webhook_url_without_a_secret_is_refused(secrets: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "localcloud.stripe", "--webhook-url", "http://127.0.0.1:9/", *secrets],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "signing secret" in done.stderr
