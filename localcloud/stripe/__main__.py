"""``python -m localcloud.stripe``: prints one JSON line with its URL once it serves; runs until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m localcloud.stripe", description="A laptop's Stripe.")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0: a free one")
    parser.add_argument("--data", type=Path, help="file that keeps the state; without it, memory only")
    parser.add_argument("--webhook-url", help="where every event is delivered")
    parser.add_argument(
        "--webhook-secret",
        action="append",
        default=[],
        help="signing secret of that endpoint; may be repeated during a rotation",
    )
    options = parser.parse_args()

    from localcloud.on_thread import listen
    from localcloud.stripe.server import build, config, open_account

    import uvicorn  # isort: skip

    listener = listen(options.port)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    account = open_account(options.data, options.webhook_url, options.webhook_secret)

    def ready() -> None:
        print(json.dumps({"url": url, "pid": os.getpid()}), flush=True)

    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again after an orderly end
        uvicorn.Server(config(build(account, ready))).run(sockets=[listener])


if __name__ == "__main__":
    main()
