"""What the benchmarks compute from what they measure."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.provider_clock import busy
from benchmarks.report import Bar, Report, Side, percentile, ratio


@pytest.mark.parametrize(("percent", "expected"), [(1, 1), (50, 50), (99, 99), (100, 100)])
def test_a_percentile_is_the_nearest_rank(percent: float, expected: float) -> None:
    assert percentile(list(range(100, 0, -1)), percent) == expected
    assert percentile([7.0], percent) == 7.0


def test_a_ratio_is_the_median_of_the_pairs_ratios() -> None:
    ours, baseline = Side.of("ours", [1.0, 10.0, 3.0], "s"), Side.of("theirs", [2.0, 20.0, 4.0], "s")
    assert ratio("r", ours, baseline, 0.5).value == 0.5
    assert ratio("r", ours, Side("theirs", 6.0, "s"), 0.5).value == 0.5


@pytest.mark.parametrize(("at_least", "value", "met"), [(False, 1.0, True), (False, 1.1, False), (True, 0.9, False)])
def test_one_missed_bar_fails_the_report(at_least: bool, value: float, met: bool) -> None:
    report = Report("b", [Bar("fine", 0.0, 1.0, "s"), Bar("judged", value, 1.0, "s", at_least)])
    assert report.met is met
    assert report.document()["bars"][1]["met"] is met
    assert ("MISSED" in report.text()) is not met


def test_overlapping_calls_count_once_and_only_inside_the_operation(tmp_path: Path) -> None:
    file = tmp_path / "calls.txt"
    file.write_text("0 2\n5 7\n6 9\n6.5 6.6\n20 30\n")
    assert busy(file, 1.0, 8.0) == pytest.approx(1.0 + 3.0)
    assert busy(file, 10.0, 15.0) == 0.0
