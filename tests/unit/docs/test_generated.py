"""Documents that are generated say what the code says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from provisioner import lifecycle_document, settings
from provisioner.quotas import document as quotas

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("lifecycle.md", lifecycle_document.as_markdown),
        ("configuration.md", settings.as_markdown),
        ("quotas.md", quotas.as_markdown),
    ],
)
def test_generated_documents_are_up_to_date(name: str, content: Callable[[], str]) -> None:
    assert (DOCS / name).read_text() == content(), f"regenerate docs/{name}"


def test_every_relative_link_leads_somewhere() -> None:
    import re

    root = DOCS.parent
    for document in [root / "README.md", *DOCS.rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.relative_to(root)}: {target}"
