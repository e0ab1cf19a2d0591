"""Schemathesis over the routes for applications that sell: no request makes the service fail."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import CHECKS
from schemathesis.generation.modes import GenerationMode

from localcloud.stripe.server import LocalStripe
from provisioner.web import make_web
from tests.integration.provisioner.selling.conftest import PAGES, TOKEN, open_shop, shop_settings
from tests.integration.provisioner.service.test_web import served

AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
EXAMPLES = 30


# Hypothesis looks at the process's random state around every example; the service's threads beside it draw from that.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning")
def test_no_request_makes_selling_fail(registry: str, stripe: LocalStripe, plans: Path) -> None:
    async def begin() -> None:
        async with open_shop(registry, stripe, plans) as shop:
            await shop.sign_up(plan="team", seats=3)

    asyncio.run(begin())
    configured = shop_settings(registry, stripe, plans)
    app: FastAPI = make_web(configured)
    schema = schemathesis.openapi.from_dict(app.openapi())
    schema.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE], max_examples=EXAMPLES)
    checks = CHECKS.get_by_names(["not_a_server_error", "response_schema_conformance", "status_code_conformance"])
    statuses: dict[int, int] = {}
    with served(configured) as client:
        for result in schema.include(path_regex="^/v1/billing/").get_all_operations():
            operation: Any = result.ok()  # type: ignore[union-attr]

            @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy())
            def try_operation(case: Any) -> None:
                if isinstance(case.body, dict) and "success_url" in case.body:  # else nothing gets past the URLs
                    case.body |= PAGES
                answer = case.call(base_url=str(client.base_url), headers=AUTHORIZED)
                statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
                case.validate_response(answer, checks=checks)

            try_operation()
        assert (
            client.post("/v1/billing/subscription", json={"tenant_id": "acme"}, headers=AUTHORIZED).status_code == 200
        )
    assert sum(statuses.values()) > 150
    assert statuses[422] > 20, "malformed ones"
    assert statuses.get(404, 0) + statuses.get(200, 0) > 20, "and well-formed ones"


def test_a_service_without_stripe_says_what_is_missing(registry: str, stripe: LocalStripe, plans: Path) -> None:
    from pydantic import SecretStr

    for changes, variable in (
        ({"stripe_api_key": SecretStr("")}, "TENANTRY_STRIPE_API_KEY"),
        ({"return_urls": ()}, "TENANTRY_RETURN_URLS"),
    ):
        with served(shop_settings(registry, stripe, plans, **changes)) as client:
            body = {"tenant_id": "acme", "return_url": "https://app.example.com"}
            answer: httpx.Response = client.post("/v1/billing/portal", json=body, headers=AUTHORIZED)
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (503, "configuration_invalid")
            assert variable in error["message"]
            assert client.get("/readyz").status_code == 200, "everything else is served"
