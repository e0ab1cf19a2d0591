"""Which tenant the present work is for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator

import pytest

from tenantry import NoTenant, TenantConflict, current_tenant, tenant_context
from tenantry.context import require_tenant


def test_a_block_has_its_tenant_and_the_outside_none() -> None:
    assert current_tenant() is None
    with tenant_context("acme") as tenant:
        assert (tenant, current_tenant(), require_tenant(), require_tenant("acme")) == ("acme",) * 4
    assert current_tenant() is None


def test_an_error_ends_the_block_too() -> None:
    with pytest.raises(RuntimeError), tenant_context("acme"):
        raise RuntimeError
    assert current_tenant() is None


@pytest.mark.parametrize("nothing", ["", None, 7, b"acme"])
def test_nothing_is_no_tenant(nothing: object) -> None:
    with pytest.raises(NoTenant):
        tenant_context(nothing).__enter__()  # type: ignore[arg-type]
    with pytest.raises(NoTenant):
        tenant_context("", replace=True).__enter__()
    assert current_tenant() is None


def test_another_tenant_is_a_conflict_unless_it_is_meant() -> None:
    with tenant_context("acme"):
        with pytest.raises(TenantConflict):
            tenant_context("globex").__enter__()
        with pytest.raises(TenantConflict):
            require_tenant("globex")
        assert current_tenant() == "acme"
        with tenant_context("globex", replace=True):
            assert current_tenant() == "globex"
        with tenant_context("acme"):
            assert current_tenant() == "acme"
        assert current_tenant() == "acme"


def test_threads_start_without_a_tenant() -> None:
    seen: list[str | None] = []
    with tenant_context("acme"):
        thread = threading.Thread(target=lambda: seen.append(current_tenant()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_tasks_have_their_own() -> None:
    async def one(tenant: str) -> list[str | None]:
        with tenant_context(tenant):
            await asyncio.sleep(0)
            return [current_tenant(), await asyncio.to_thread(current_tenant)]

    async def main() -> list[list[str | None]]:
        return await asyncio.gather(*(one(tenant) for tenant in ("acme", "globex") * 5))

    assert asyncio.run(main()) == [["acme", "acme"], ["globex", "globex"]] * 5


def test_leaving_in_another_context_than_entering_changes_nothing_there() -> None:
    import contextvars

    def block() -> Generator[None, None, None]:
        with tenant_context("acme"):
            yield

    generator = block()
    contextvars.copy_context().run(next, generator)
    generator.close()
    assert current_tenant() is None
