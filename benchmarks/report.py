"""Figures, their bars, and how they are printed. Exit code 1: a bar was missed."""

from __future__ import annotations

import argparse
import json
import math
import signal
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Side:
    """One of two things that were compared: ``value`` is the median of ``samples``."""

    name: str
    value: float
    unit: str
    samples: tuple[float, ...] = ()

    @classmethod
    def of(cls, name: str, samples: Sequence[float], unit: str) -> Side:
        return cls(name, statistics.median(samples), unit, tuple(round(sample, 6) for sample in samples))

    def __str__(self) -> str:
        return f"{self.name}: {number(self.value)} {self.unit}"


@dataclass(frozen=True)
class Bar:
    """A figure and its limit, in ``unit`` (``x`` for a ratio of ``ours`` to ``baseline``)."""

    name: str
    value: float
    limit: float
    unit: str
    at_least: bool = False  #: whether the limit is a minimum
    ours: Side | None = None
    baseline: Side | None = None

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def line(self) -> str:
        sign = ">=" if self.at_least else "<="
        sides = "; ".join(str(side) for side in (self.ours, self.baseline) if side is not None)
        verdict = "ok    " if self.met else "MISSED"
        return (
            f"{verdict} {self.name}: {number(self.value)} {self.unit} (bar {sign} {number(self.limit)} {self.unit})"
            + (f"\n         {sides}" if sides else "")
        )


def ratio(name: str, ours: Side, baseline: Side, limit: float, *, at_least: bool = False) -> Bar:
    """``ours`` over ``baseline``. Samples taken in turns are compared pair by pair, so that a slow minute of the
    machine weighs on both sides."""
    if ours.samples and len(ours.samples) == len(baseline.samples):
        pairs = [mine / theirs for mine, theirs in zip(ours.samples, baseline.samples, strict=True)]
        value = statistics.median(pairs)
    else:
        value = ours.value / baseline.value
    return Bar(name, value, limit, "x", at_least, ours, baseline)


@dataclass
class Report:
    benchmark: str
    bars: list[Bar] = field(default_factory=list)
    #: what helps to read the figures and is no bar
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        return all(bar.met for bar in self.bars)

    def document(self) -> dict[str, Any]:
        bars = [{**asdict(bar), "met": bar.met} for bar in self.bars]
        return {"benchmark": self.benchmark, "met": self.met, "bars": bars, "notes": self.notes}

    def text(self) -> str:
        lines = [f"{self.benchmark}:", *(f"  {bar.line()}".replace("\n", "\n  ") for bar in self.bars)]
        lines += [f"  note   {name}: {_shown(value)}" for name, value in self.notes.items()]
        return "\n".join(lines)


def main(name: str, doc: str | None, measure: Callable[[argparse.Namespace, Report], None], *options: Any) -> int:
    """Parse the command line, measure, print, and return the exit code. ``options`` extend the parser."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=doc)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    parser.add_argument("--quick", action="store_true", help="few repetitions: to see that it runs, not to judge")
    for option in options:
        option(parser)
    arguments = parser.parse_args()
    report = Report(name)
    # So that what was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    measure(arguments, report)
    if arguments.json:
        json.dump(report.document(), sys.stdout, indent=2)
        print()
    else:
        print(report.text())
    return 0 if report.met else 1


def progress(text: str) -> None:
    """What is being done, on stderr: stdout is the result's."""
    print(f"... {text}", file=sys.stderr, flush=True)


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest rank."""
    rank = math.ceil(len(values) * percent / 100)
    return sorted(values)[max(rank, 1) - 1]


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _shown(value: Any) -> str:
    return number(value) if isinstance(value, float) else json.dumps(value) if isinstance(value, dict) else str(value)
