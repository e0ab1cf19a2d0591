"""The example in docs/iam-evaluation.md runs and says what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[4] / "docs" / "iam-evaluation.md"


def test_the_example_prints_what_the_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    example = found[1]
    exec(compile(example, PAGE.name, "exec"), {})
    assert capsys.readouterr().out.strip() == example.rsplit("# ", 1)[1].strip()
