"""What goes wrong is answered as Stripe answers it, and the library raises what it raises for Stripe."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import stripe

from tests.integration.localcloud.stripe.world import API_KEY, FAILING, Shop


def ask(url: str, method: str, path: str, **more: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {API_KEY}", **more.pop("headers", {})}
    return httpx.request(method, url + path, headers=headers, trust_env=False, **more)


def error_of(response: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["error"]
    return error


def test_an_unknown_object_is_404_in_a_path_and_400_in_a_parameter(shop: Shop) -> None:
    with pytest.raises(stripe.InvalidRequestError) as path:
        shop.v1.subscriptions.retrieve("sub_none")
    assert (path.value.http_status, path.value.code, path.value.param) == (404, "resource_missing", "id")
    assert path.value.user_message == "No such subscription: 'sub_none'"
    with pytest.raises(stripe.InvalidRequestError) as parameter:
        shop.v1.subscriptions.create({"customer": "cus_none"})
    assert (parameter.value.http_status, parameter.value.param) == (400, "customer")
    with pytest.raises(stripe.InvalidRequestError) as filtered:
        shop.v1.subscriptions.list({"customer": "cus_none"})
    assert (filtered.value.http_status, filtered.value.code) == (400, "resource_missing")


@pytest.mark.parametrize(
    ("call", "code", "param"),
    [
        (lambda v1: v1.customers.create({"nme": "x"}), "parameter_unknown", "nme"),
        (lambda v1: v1.products.create({}), "parameter_missing", "name"),
        (lambda v1: v1.customers.create({"email": ""}), "parameter_invalid_empty", "email"),
        (lambda v1: v1.customers.list({"limit": 101}), "parameter_invalid_integer", "limit"),
        (lambda v1: v1.customers.list({"limit": "x"}), "parameter_invalid_integer", "limit"),
        (lambda v1: v1.customers.list({"starting_after": "cus_none"}), "resource_missing", "starting_after"),
        (lambda v1: v1.subscriptions.list({"status": "lively"}), None, "status"),
        (lambda v1: v1.customers.create({"metadata": {"k" * 41: "v"}}), None, "metadata"),
        (lambda v1: v1.customers.create({"metadata": {"k": "v" * 501}}), None, "metadata[k]"),
        (lambda v1: v1.customers.create({"name": "n" * 5001}), "parameter_invalid_string_length", "name"),
        (lambda v1: v1.customers.create({"address": {"city": ["x"]}}), None, "address[city]"),
        (lambda v1: v1.customers.create({"balance": "1.5"}), "parameter_invalid_integer", "balance"),
        (lambda v1: v1.customers.create({"test_clock": "clock_none"}), "resource_missing", "test_clock"),
        (lambda v1: v1.customers.create({"tax": {"ip_address": "1::2"}}), "parameter_unsupported", "tax[ip_address]"),
        (lambda v1: v1.subscriptions.create({"items": []}), "parameter_missing", "customer"),
    ],
)  # fmt: skip
def test_a_bad_parameter_is_named(shop: Shop, call: Callable[[Any], Any], code: str | None, param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        call(shop.v1)
    assert (refused.value.http_status, refused.value.code, refused.value.param) == (400, code, param)


def test_an_enumeration_names_its_values(shop: Shop) -> None:
    params: Any = {"customer": "c", "payment_behavior": "hope"}
    with pytest.raises(
        stripe.InvalidRequestError, match="Invalid payment_behavior: hope; must be one of allow_incomplete"
    ):
        shop.v1.subscriptions.create(params)


@pytest.mark.parametrize(
    "key", ["sk_live_abcdefghijklmnop", "pk_test_abcdefghijklmnop", "hunter2-hunter2-hunter2-hunter2", "x"]
)
def test_another_key_than_a_secret_test_key_is_401_and_not_repeated(stripe_url: str, key: str) -> None:
    response = httpx.get(stripe_url + "/v1/customers", headers={"Authorization": f"Bearer {key}"}, trust_env=False)
    assert response.status_code == 401
    assert error_of(response)["type"] == "invalid_request_error"
    assert len(key) < 2 or key[:-4] not in response.text


def test_no_key_is_401_and_basic_authentication_works(stripe_url: str) -> None:
    assert httpx.get(stripe_url + "/v1/customers", trust_env=False).status_code == 401
    for text, status in ((f"{API_KEY}:", 200), ("nobody:", 401)):
        token = base64.b64encode(text.encode()).decode()
        response = httpx.get(stripe_url + "/v1/customers", headers={"Authorization": f"Basic {token}"}, trust_env=False)
        assert response.status_code == status
    broken = httpx.get(stripe_url + "/v1/customers", headers={"Authorization": "Basic %%%"}, trust_env=False)
    assert broken.status_code == 401


def test_the_library_raises_authentication_errors(stripe_url: str) -> None:
    client = stripe.StripeClient("sk_wrong", base_addresses={"api": stripe_url}, max_network_retries=0)
    with pytest.raises(stripe.AuthenticationError):
        client.v1.customers.list()
    transport: Any = client._requestor._client
    transport.close()


def test_another_api_version_is_refused(stripe_url: str) -> None:
    response = ask(stripe_url, "GET", "/v1/customers", headers={"Stripe-Version": "2024-06-20"})
    assert (response.status_code, error_of(response)["code"]) == (400, "api_version_unsupported")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/nothing"), ("DELETE", "/v1/subscriptions"), ("PUT", "/v1/customers"), ("GET", "/")],
)
def test_what_is_no_operation_is_404(stripe_url: str, method: str, path: str) -> None:
    response = ask(stripe_url, method, path)
    assert response.status_code == 404
    assert "Unrecognized request URL" in error_of(response)["message"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"name": "x"}', "application/json"),
        (b"name[=x", "application/x-www-form-urlencoded"),
        (b"name=x&name[y]=z", "application/x-www-form-urlencoded"),
        (b"a" + b"[b]" * 40 + b"=1", "application/x-www-form-urlencoded"),
        (b"\xff\xfe", "application/x-www-form-urlencoded"),
        (b"name=%ff", "application/x-www-form-urlencoded"),
        (b"&".join(b"metadata[k%d]=v" % number for number in range(3000)), "application/x-www-form-urlencoded"),
        (b"name=" + b"x" * 1_000_001, "application/x-www-form-urlencoded"),
    ],
    ids=["json", "bracket", "both", "deep", "binary", "latin", "many", "large"],
)
def test_a_malformed_body_is_400(stripe_url: str, content: bytes, kind: str) -> None:
    response = ask(stripe_url, "POST", "/v1/customers", content=content, headers={"Content-Type": kind})
    assert response.status_code == 400
    assert error_of(response)["type"] == "invalid_request_error"


def test_answers_carry_stripes_headers(stripe_url: str) -> None:
    response = ask(stripe_url, "POST", "/v1/customers", headers={"Idempotency-Key": "k-" + uuid.uuid4().hex})
    assert response.headers["request-id"].startswith("req_")
    assert response.headers["stripe-version"] == "2026-10-28.endive"
    assert response.headers["idempotency-key"].startswith("k-")


def test_an_idempotency_key_gives_the_first_answer_again(shop: Shop) -> None:
    key: Any = {"idempotency_key": uuid.uuid4().hex}
    first = shop.v1.customers.create({"name": "once"}, key)
    again = shop.v1.customers.create({"name": "once"}, key)
    assert again.id == first.id
    assert again.last_response is not None
    assert again.last_response.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.last_response.headers  # type: ignore[union-attr]
    event = shop.events(first.id, "customer.created")[0]
    assert event["request"]["idempotency_key"] == key["idempotency_key"]


def test_an_idempotency_key_is_for_one_request_only(shop: Shop) -> None:
    key: Any = {"idempotency_key": uuid.uuid4().hex}
    shop.v1.customers.create({"name": "once"}, key)
    with pytest.raises(stripe.IdempotencyError, match="same parameters"):
        shop.v1.customers.create({"name": "other"}, key)
    with pytest.raises(stripe.IdempotencyError):
        shop.v1.products.create({"name": "once"}, key)
    long: Any = {"idempotency_key": "k" * 256}
    with pytest.raises(stripe.InvalidRequestError, match="255 characters"):
        shop.v1.customers.create({}, long)


def test_a_request_that_never_began_does_not_use_its_key_up(shop: Shop) -> None:
    key: Any = {"idempotency_key": uuid.uuid4().hex}
    wrong: Any = {"nme": "x"}
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.customers.create(wrong, key)
    assert shop.v1.customers.create({"name": "x"}, key).name == "x"


def test_a_declined_card_is_declined_again_under_its_key(shop: Shop) -> None:
    customer = shop.customer(card=FAILING)
    key: Any = {"idempotency_key": uuid.uuid4().hex}
    create: Any = {
        "customer": customer.id,
        "items": [{"price": shop.monthly}],
        "payment_behavior": "error_if_incomplete",
    }
    for _ in range(2):
        with pytest.raises(stripe.CardError) as declined:
            shop.v1.subscriptions.create(create, key)
        assert declined.value.http_status == 402
    assert declined.value.headers["idempotent-replayed"] == "true"  # type: ignore[index]
    assert (declined.value.code, declined.value.json_body["error"]["decline_code"]) == (  # type: ignore[index]
        "card_declined",
        "generic_decline",
    )


@pytest.mark.parametrize("body", [b"[]", b"{", b"\xff", b'"x"', b"[" * 100_000])
def test_the_control_paths_take_json_objects(stripe_url: str, body: bytes) -> None:
    assert ask(stripe_url, "POST", "/_local/faults", content=body).status_code == 400


@pytest.mark.parametrize(
    "faults",
    [{"duplicates": 1}, {"duplicate": -1}, {"duplicate": 1.5}, {"reorder": 1}, {"delay_s": "1"}, {"drop_next": True}],
)
def test_a_fault_that_is_none_is_refused(stripe_url: str, faults: dict[str, Any]) -> None:
    response = ask(stripe_url, "POST", "/_local/faults", json=faults)
    assert (response.status_code, error_of(response)["type"]) == (400, "invalid_request_error")


def test_the_control_paths_need_the_key_and_the_health_check_does_not(stripe_url: str) -> None:
    assert httpx.get(stripe_url + "/_local/faults", trust_env=False).status_code == 401
    assert httpx.get(stripe_url + "/_local/health", trust_env=False).json() == {"ok": True}
