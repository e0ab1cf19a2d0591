"""What the gate adds to an operation that creates a tenant: preview, evaluation, recheck, against one bare preview."""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

from benchmarks import report
from benchmarks.cloud import open_cloud
from benchmarks.report import Bar, Report, Side, progress
from benchmarks.stack import Maker, wait_for_platform
from components.tiers import Tier
from provisioner import app, logs
from provisioner.settings import load

BEYOND_A_PREVIEW_BAR_S = 0.3


def measure(arguments: argparse.Namespace, result: Report) -> None:
    logs.configure(level=logging.WARNING)
    rounds = 2 if arguments.quick else 9
    with open_cloud(arguments.home) as cloud:
        os.environ.update(cloud.environ)
        settings = load()
        with cloud.serving(), cloud.working():
            platform = wait_for_platform(cloud)
        # The worker has ended: it would share the cores.
        app.warm_up()
        maker = Maker(settings, platform)
        admission = app.quota_admission(settings)
        admission.prepare()
        keeper = app.gatekeeper(settings, admission)
        try:
            progress("one stack to warm up")
            maker.deploy_through(keeper, maker.spec("warm", Tier.POOL))
            for tier in Tier:
                previews, bare, gated, evaluations = [], [], [], []
                for turn in range(rounds):
                    progress(f"{tier}, round {turn + 1} of {rounds}")
                    specs = [maker.spec(f"{kind}{turn}", tier) for kind in ("preview", "bare", "gated")]
                    previews.append(_timed(partial(maker.preview, specs[0])))
                    bare.append(_timed(partial(maker.deploy, specs[1])))
                    began = time.monotonic()
                    evaluations.append(maker.deploy_through(keeper, specs[2]))
                    gated.append(time.monotonic() - began)
                _record(result, tier, previews, bare, gated, evaluations)
        finally:
            maker.close()


def _record(
    result: Report, tier: Tier, previews: list[float], bare: list[float], gated: list[float], evaluations: list[float]
) -> None:
    cost = [with_gate - without for with_gate, without in zip(gated, bare, strict=True)]
    beyond = [spent - preview for spent, preview in zip(cost, previews, strict=True)]
    result.bars.append(
        Bar(
            f"{tier}: what the gate costs beyond one bare preview",
            statistics.median(beyond),
            BEYOND_A_PREVIEW_BAR_S,
            "s",
            ours=Side.of("operation with the gate less one without", cost, "s"),
            baseline=Side.of("bare preview", previews, "s"),
        )
    )
    result.notes[f"{tier}"] = {
        "with_the_gate_s": round(statistics.median(gated), 3),
        "without_s": round(statistics.median(bare), 3),
        "evaluation_and_recheck_s": round(statistics.median(evaluations), 4),
    }


def _timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--home", help="data directory of the local cloud; a fresh one by default")


if __name__ == "__main__":
    sys.exit(report.main("gate", __doc__, measure, options))
