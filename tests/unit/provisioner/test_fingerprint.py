"""What decides a stack's update, or its judgement, is part of the fingerprint."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner import fingerprint


@pytest.mark.parametrize("name", ["policies/costs.py", "policies/prices.toml", "policies/PulumiPolicy.yaml"])
def test_a_change_of_rules_or_prices_is_another_policy(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True)
    file.write_text("before")
    monkeypatch.setattr(fingerprint, "_ROOT", tmp_path)
    before = fingerprint.policy_version.__wrapped__()
    file.write_text("after")
    assert fingerprint.policy_version.__wrapped__() != before
