from __future__ import annotations

import pytest
import stripe

from provisioner.billing.errors import translate_error, translated
from provisioner.errors import ConfigurationInvalid, NotFound, OperatorNeeded, StripeUnavailable, TenantryError


def raised(kind: type[stripe.StripeError], status: int | None, code: str | None = None) -> stripe.StripeError:
    headers = {"request-id": "req_7"}
    if issubclass(kind, stripe.CardError | stripe.InvalidRequestError):
        error: stripe.StripeError = kind("said", None, code, http_status=status, headers=headers)
    else:
        error = kind("said", http_status=status, code=code, headers=headers)
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (raised(stripe.AuthenticationError, 401), ConfigurationInvalid),
        (raised(stripe.PermissionError, 403), ConfigurationInvalid),
        (raised(stripe.APIConnectionError, None), StripeUnavailable),
        (raised(stripe.RateLimitError, 429), StripeUnavailable),
        (raised(stripe.APIError, 500), StripeUnavailable),
        (raised(stripe.APIError, None), StripeUnavailable),
        (raised(stripe.InvalidRequestError, 404, "resource_missing"), NotFound),
        (raised(stripe.InvalidRequestError, 400, "resource_missing"), NotFound),
        (raised(stripe.InvalidRequestError, 400, "lock_timeout"), StripeUnavailable),
        (raised(stripe.InvalidRequestError, 400, "parameter_unknown"), OperatorNeeded),
        (raised(stripe.CardError, 402, "card_declined"), OperatorNeeded),
        (raised(stripe.IdempotencyError, 400), OperatorNeeded),
        (raised(stripe.IdempotencyError, 409), StripeUnavailable),
    ],
)
def test_an_error_of_stripes_says_what_to_do(error: stripe.StripeError, expected: type[TenantryError]) -> None:
    found = translate_error(error, "trying")
    assert type(found) is expected
    assert "while trying" in found.message
    if not isinstance(error, stripe.APIConnectionError):
        assert "req_7" in found.message


def test_the_key_is_not_repeated_not_even_redacted() -> None:
    error = stripe.AuthenticationError("Invalid API Key provided: sk_test_****1234", http_status=401)
    assert "1234" not in str(translate_error(error, "trying"))


def test_other_errors_pass_through_and_the_cause_is_kept() -> None:
    with pytest.raises(KeyError), translated("x"):
        raise KeyError("not Stripe's")
    with pytest.raises(StripeUnavailable) as found, translated("x"):
        raise raised(stripe.APIConnectionError, None)
    assert isinstance(found.value.__cause__, stripe.APIConnectionError)
