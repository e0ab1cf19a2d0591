"""Every benchmark, one after the other, each in a process of its own: ``python -m benchmarks [--json] [--quick]``.

Exit code 1 if a bar was missed, 2 if a benchmark did not end.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from typing import Any

NAMES = ("intake", "stack", "gate", "sweep", "provider", "proof", "entitlements", "limits", "metering")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    parser.add_argument("--quick", action="store_true", help="few repetitions: to see that they run, not to judge")
    arguments = parser.parse_args()
    documents: list[Any] = []
    code = 0
    for name in NAMES:
        if importlib.util.find_spec(f"benchmarks.{name}") is None:
            continue
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        command += [option for option in ("--json", "--quick") if getattr(arguments, option[2:])]
        done = subprocess.run(command, stdout=subprocess.PIPE if arguments.json else None, text=True, check=False)
        if arguments.json:
            documents.append(json.loads(done.stdout) if done.stdout else {"benchmark": name, "met": False})
        code = max(code, done.returncode if done.returncode in (0, 1) else 2)
        if done.returncode not in (0, 1):
            print(f"benchmark {name} ended with exit code {done.returncode}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(documents, indent=2))
    return code


if __name__ == "__main__":
    sys.exit(main())
