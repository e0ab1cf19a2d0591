"""Entitlements for applications that ask OpenFeature: ``api.set_provider(EntitlementProvider(sdk))``.

A boolean flag is a feature, an integer flag a limit (unlimited and a tenant that can't be told give the default). The
tenant is the context's; an evaluation context's targeting key that names another one is an error, not a way around it.
``pip install tenantry[openfeature]``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider import AbstractProvider, Metadata

from tenantry.aio import AsyncTenantry
from tenantry.client import Tenantry
from tenantry.entitlements import Entitlements
from tenantry.errors import NoTenant, TenantConflict, TenantryError, UnknownTenant

T = TypeVar("T")


class EntitlementProvider(AbstractProvider):
    """Reason ``CACHED``: it is answered from memory, ``flag_metadata`` has plan, access and staleness in seconds."""

    def __init__(self, sdk: Tenantry | AsyncTenantry) -> None:
        super().__init__()
        self._sdk = sdk

    def get_metadata(self) -> Metadata:
        return Metadata(name="Tenantry")

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        return self._resolve(default_value, evaluation_context, lambda snapshot: snapshot.entitled(flag_key))

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        def limit(snapshot: Entitlements) -> int:
            found = snapshot.limit(flag_key)
            return default_value if found is None else found

        return self._resolve(default_value, evaluation_context, limit)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        return _mismatch(default_value)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        return _mismatch(default_value)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[Any] | Mapping[str, Any],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[Any] | Mapping[str, Any]]:
        return _mismatch(default_value)

    def _resolve(
        self, default: T, context: EvaluationContext | None, answer: Callable[[Entitlements], T]
    ) -> FlagResolutionDetails[T]:
        tenant_id = context.targeting_key if context is not None and context.targeting_key else None
        try:
            snapshot = self._sdk.cached_entitlements(tenant_id)
        except TenantryError as error:
            code = ErrorCode.GENERAL
            if isinstance(error, NoTenant):
                code = ErrorCode.TARGETING_KEY_MISSING
            elif isinstance(error, TenantConflict | UnknownTenant):
                code = ErrorCode.INVALID_CONTEXT
            return FlagResolutionDetails(default, error_code=code, error_message=str(error), reason=Reason.ERROR)
        metadata: dict[str, bool | int | float | str] = {
            "plan": snapshot.plan or "",
            "access": snapshot.access,
            "staleness": snapshot.staleness,
        }
        return FlagResolutionDetails(answer(snapshot), reason=Reason.CACHED, flag_metadata=metadata)


def _mismatch(default: T) -> FlagResolutionDetails[T]:
    return FlagResolutionDetails(
        default,
        reason=Reason.ERROR,
        error_code=ErrorCode.TYPE_MISMATCH,
        error_message="a feature is a boolean flag, a limit an integer one",
    )
