"""OpenFeature answers what the SDK does, for the context's tenant and no other."""

from __future__ import annotations

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

from tenantry import Config, Entitlements, Tenantry, tenant_context
from tenantry.openfeature import EntitlementProvider


def provider() -> EntitlementProvider:
    default = Entitlements("any", plan="team", features=frozenset({"reports"}), limits={"projects": 3})
    nowhere = Config(
        database_url="host=127.0.0.1 port=1",
        api_url="none",
        application_token="none",
        listen=False,
        entitlements_default=default,
    )
    return EntitlementProvider(Tenantry(nowhere))


def test_features_are_booleans_and_limits_integers() -> None:
    asked = provider()
    with tenant_context("acme"):
        found = asked.resolve_boolean_details("reports", False)
        assert (found.value, found.reason) == (True, Reason.CACHED)
        assert found.flag_metadata["plan"] == "team"
        assert asked.resolve_boolean_details("sso", True).value is False
        assert asked.resolve_integer_details("projects", 9).value == 3
        assert asked.resolve_integer_details("unlimited", 9).value == 9
        assert asked.resolve_string_details("reports", "x").error_code is ErrorCode.TYPE_MISMATCH


def test_a_targeting_key_may_not_name_another_tenant_than_the_context() -> None:
    asked = provider()
    assert asked.resolve_boolean_details("reports", False).error_code is ErrorCode.TARGETING_KEY_MISSING
    assert asked.resolve_boolean_details("reports", False, EvaluationContext("acme")).value is True
    with tenant_context("acme"):
        other = asked.resolve_boolean_details("reports", False, EvaluationContext("globex"))
        assert (other.value, other.error_code) == (False, ErrorCode.INVALID_CONTEXT)
    strange = asked.resolve_boolean_details("reports", False, EvaluationContext("../acme"))
    assert (strange.value, strange.error_code) == (False, ErrorCode.INVALID_CONTEXT)
