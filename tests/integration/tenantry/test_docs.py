"""docs/sdk.md, as a reader would run it: block by block, in one process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localcloud.postgres import Cluster
from tests.integration.isolation.estate import Estate, make_estate

PAGE = Path(__file__).parents[3] / "docs" / "sdk.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def estate(postgres_server: Cluster, moto_server: str, service_directory: Path) -> Iterator[Estate]:
    with make_estate(postgres_server, moto_server, service_directory, {"acme": "pool", "globex": "pool"}) as made:
        with made.server.admin(made.control) as admin:
            admin.execute(
                "UPDATE registry.tenant SET plan = 'starter', features = '{projects,files}',"
                ' limits = \'{"projects": 10, "storage_mib": 1024}\', rates = \'[{"name": "api", "amount": 600,'
                ' "seconds": 60, "soft": false}]\''
            )
        yield made


def test_every_block_of_the_page_runs(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    config = estate.config()
    for name, value in (
        ("TENANTRY_DATABASE_URL", config.database_url),
        ("TENANTRY_API_URL", config.api_url),
        ("TENANTRY_APPLICATION_TOKEN", config.application_token),
        ("TENANTRY_DATABASE_CA", str(config.database_ca)),
    ):
        monkeypatch.setenv(name, value)
    text = PAGE.read_text()
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) == text.count("```python")
    names: dict[str, Any] = {"__name__": "sdk_page"}
    for block in blocks:
        line = text[: block.start(1)].count("\n")
        # so that a traceback names the page's own line
        exec(compile("\n" * line + block.group(1), str(PAGE), "exec"), names)
    assert names["names"] == [("Apollo",)]
