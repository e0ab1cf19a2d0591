"""What requests and deliveries cost, in processor time: another program on the machine changes nothing about that."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from localcloud.stripe import resources, routing
from localcloud.stripe.account import Account
from localcloud.stripe.form import parse
from localcloud.stripe.params import coerce
from localcloud.stripe.server import LocalStripe
from localcloud.stripe.store import Object, Store
from localcloud.stripe.subscriptions import schedule

assert resources.__all__
DAY = 86400
DELIVERIES = 1500

#: A receiver in a process of its own, so that its work isn't counted; it says when there were so many deliveries.
RECEIVER = """
import asyncio, sys

async def serve(reader, writer):
    while True:
        try:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
        except asyncio.IncompleteReadError:
            break
        await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\\r\\n")[0]))
        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
        global count
        count += 1
        if count == wanted:
            done.set()
    writer.close()

async def main():
    global count, wanted, done
    count, wanted, done = 0, int(sys.argv[1]), asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await done.wait()
    print("done", flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


@pytest.fixture
def receiver() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", RECEIVER, str(DELIVERIES)], stdout=subprocess.PIPE, text=True)
    yield process
    assert process.stdout is not None
    process.terminate()
    process.wait(20)
    process.stdout.close()


def test_a_delivery_costs_less_than_two_milliseconds(receiver: subprocess.Popen[str]) -> None:
    """So one processor sends more than 500 a second."""
    assert receiver.stdout is not None
    url = f"http://127.0.0.1:{receiver.stdout.readline().strip()}/"
    with LocalStripe(webhook_url=url) as local:
        with local.account.transaction() as account:
            for number in range(DELIVERIES):
                customer = {"object": "customer", "id": f"cus_{number}", "description": "x" * 3000}
                account.emit("customer.updated", customer)
            began = time.process_time()
        assert receiver.stdout.readline() == "done\n"
        spent = time.process_time() - began
    assert spent / DELIVERIES < 0.002


def call(account: Account, method: str, path: str, text: str = "") -> Object:
    found = routing.find(method, path)
    assert found is not None
    route, ids = found
    with account.transaction():
        document: Object = route.handler(account, coerce(parse(text), routing.schema_class(route.schema)), **ids)
        return document


def cost(count: int) -> tuple[float, float]:
    """Seconds of processor time a subscription: to make it beside ``count`` others, and to renew them all."""
    account = Account(Store(), wall=lambda: 1_800_000_000)
    product = call(account, "POST", "/v1/products", "name=Team")
    price = call(
        account, "POST", "/v1/prices", f"product={product['id']}&currency=usd&unit_amount=9&recurring[interval]=month"
    )
    began = time.process_time()
    for _ in range(count):
        customer = call(account, "POST", "/v1/customers", "payment_method=pm_card_visa")
        method = next(account.store.newest_first("payment_method"))["id"]
        call(
            account,
            "POST",
            "/v1/subscriptions",
            f"customer={customer['id']}&items[0][price]={price['id']}&default_payment_method={method}",
        )
    made = time.process_time()
    with account.transaction():
        steps = schedule.advance_account(account, account.now() + 32 * DAY)
    assert steps == 3 * count, "each is announced, renewed, and paid an hour later"
    return (made - began) / count, (time.process_time() - made) / count


def test_nothing_grows_with_the_number_of_subscriptions() -> None:
    few, many = cost(150), cost(1200)
    for little, much in zip(few, many, strict=True):
        assert much < 3 * little
