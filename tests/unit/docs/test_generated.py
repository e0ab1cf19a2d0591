"""Documents that are generated say what the code says."""

from __future__ import annotations

import re
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


def headings(document: Path) -> set[str]:
    """As GitHub makes them anchors."""
    found = re.findall(r"^#+ +(.+)$", re.sub(r"^```.*?^```", "", document.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", each.lower()).strip().replace(" ", "-") for each in found}


def test_every_relative_link_leads_somewhere() -> None:
    root = DOCS.parent
    for document in [root / "README.md", *DOCS.rglob("*.md")]:
        for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]*))?\)", document.read_text()):
            there = document.parent / target if target else document
            assert there.exists(), f"{document.relative_to(root)}: {target}"
            if anchor and there.suffix == ".md":
                assert anchor in headings(there), f"{document.relative_to(root)}: {target}#{anchor}"


def test_every_decision_is_in_the_index_with_its_title() -> None:
    index = (DOCS / "decisions" / "README.md").read_text()
    for decision in DOCS.glob("decisions/0*.md"):
        title = re.sub(r"^#\s*\d+[.:]\s*", "", decision.read_text().splitlines()[0])
        assert f"- [{int(decision.name[:4])}]({decision.name}). {title}\n" in index, decision.name
