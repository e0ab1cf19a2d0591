"""Which tenant the present work is for. Follows threads' and asyncio tasks' own contexts; holds no resources."""

from __future__ import annotations

import contextlib
from contextvars import ContextVar, Token
from types import TracebackType

from tenantry.errors import NoTenant, TenantConflict

_tenant: ContextVar[str | None] = ContextVar("tenantry_tenant", default=None)


def current_tenant() -> str | None:
    """The tenant of the present context, or None outside of any."""
    return _tenant.get()


def require_tenant(tenant_id: str | None = None) -> str:
    """``tenant_id``, or the context's if it is None. Raises NoTenant or, if they differ, TenantConflict."""
    inner = _tenant.get()
    if tenant_id is None:
        if inner is None:
            raise NoTenant("no tenant is named and none is in the context", hint="use `with tenant_context(...)`")
        return inner
    if not isinstance(tenant_id, str) or not tenant_id:
        raise NoTenant(f"{tenant_id!r} names no tenant", hint="pass a tenant's id")
    if inner is not None and inner != tenant_id:
        raise TenantConflict(
            f"tenant {tenant_id!r} was asked for inside the context of {inner!r}",
            hint="leave that context first, or say tenant_context(..., replace=True) where one job serves several",
        )
    return tenant_id


class tenant_context:
    """``with tenant_context("acme"):`` makes acme the tenant of the block, in sync and async code alike.

    Inside another tenant's block it raises TenantConflict, unless ``replace`` says that it is meant.
    """

    def __init__(self, tenant_id: str, *, replace: bool = False) -> None:
        self._tenant_id = tenant_id
        self._replace = replace
        self._tokens: list[Token[str | None]] = []

    def __enter__(self) -> str:
        if self._replace:
            if not self._tenant_id:
                raise NoTenant("the tenant's id is empty", hint="pass a tenant's id")
        else:
            require_tenant(self._tenant_id)
        self._tokens.append(_tenant.set(self._tenant_id))
        return self._tenant_id

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Left in another context than it was entered in (a generator closed by the garbage collector, a
        # framework that runs set-up and tear-down in different threads): that context was never changed.
        token = self._tokens.pop()
        with contextlib.suppress(ValueError):
            _tenant.reset(token)
