"""``python -m localcloud.simulation --seeds 10``: simulates, prints what came of it, fails if an invariant broke."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from localcloud.simulation.alone import on_a_server_of_its_own
from localcloud.simulation.run import Plan, Result
from provisioner.settings import ROOT


def main() -> int:
    parser = argparse.ArgumentParser(description="Years of a thousand customers, with every fault, in minutes.")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--jobs", type=int, default=1, help="how many seeds at once, each with processes of its own")
    parser.add_argument("--customers", type=int, default=1000)
    parser.add_argument("--days", type=int, default=730)
    parser.add_argument("--catalogue", type=Path, default=ROOT / "example" / "plans.toml")
    parser.add_argument("--json", action="store_true", help="one line of JSON a seed")
    options = parser.parse_args()
    plans = [
        Plan(seed, options.customers, options.days, arrival_days=max(1, options.days // 4))
        for seed in range(options.seed, options.seed + options.seeds)
    ]
    began, results = time.monotonic(), []
    with ProcessPoolExecutor(options.jobs, mp_context=multiprocessing.get_context("spawn")) as workers:
        for done in as_completed([workers.submit(on_a_server_of_its_own, plan, options.catalogue) for plan in plans]):
            results.append(done.result())
            _show(results[-1], as_json=options.json)
    seconds = time.monotonic() - began
    events = sum(result.events for result in results)
    if not options.json:
        print(f"all: {events} events in {seconds:.0f} s, {events / seconds * 60:,.0f} a minute")
    return 1 if any(result.violations for result in results) else 0


def _show(result: Result, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result.as_json()), flush=True)
        return
    print(
        f"seed {result.seed}: {result.customers} customers, {result.days} days, {result.events} events "
        f"({result.events_per_minute:,.0f} a minute), {result.reconciled} reconciles, {result.operations} operations, "
        f"{result.checked} looks at a tenant, {len(result.violations)} violations, digest {result.digest}",
        flush=True,
    )
    for violation in result.violations[:20]:
        print(f"  {violation}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
