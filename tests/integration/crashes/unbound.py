"""In place of ``provisioner/engine/launch.py``: the engine outlives the worker, as where no kernel ends it."""

from __future__ import annotations

import os
import sys


def main() -> None:
    # The worker's pipes go with it, and an engine that writes to a broken pipe ends.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.execvp(sys.argv[3], sys.argv[3:])


if __name__ == "__main__":
    main()
