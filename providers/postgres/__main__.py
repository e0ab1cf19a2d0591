"""Serve the provider: spawned by the engine (``python -u providers/postgres <engine address>``), or attached to.

``python -m providers.postgres --serve --port 0`` stays up for many engines, which attach to it through
``PULUMI_DEBUG_PROVIDERS``; it prints ``tenantry-postgres:<port>``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# The engine runs the directory, which Python then puts on the path: the repository belongs there instead.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from providers.base import main as serve  # noqa: E402
from providers.postgres.provider import NAME, provider  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m providers.postgres", description=__doc__)
    parser.add_argument("--serve", action="store_true", help="serve many engines until a signal ends it")
    parser.add_argument("--port", type=int, default=0, help="port to serve on; 0 chooses a free one")
    parser.add_argument("engine", nargs="?", help="the engine's address, when the engine spawns the provider")
    arguments, _ = parser.parse_known_args()
    announce = NAME + ":{port}" if arguments.serve else "{port}"
    return serve(provider(), arguments.port, announce)


if __name__ == "__main__":
    sys.exit(main())
