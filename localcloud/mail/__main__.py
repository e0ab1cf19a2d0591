"""``python -m localcloud.mail``: runs until SIGTERM or Ctrl-C. TENANTRY_SMTP_PASSWORD is what it asks for."""

from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m localcloud.mail", description="A laptop's mail server.")
    parser.add_argument("--smtp-port", type=int, default=0, help="port on 127.0.0.1; 0: a free one")
    parser.add_argument("--port", type=int, default=0, help="of the HTTP list of messages")
    parser.add_argument("--tls", type=Path, help="directory of the certificate authority; without it, no STARTTLS")
    options = parser.parse_args()

    from localcloud.mail.mailbox import Mailbox
    from localcloud.mail.server import build, config
    from localcloud.mail.smtp import tls_context
    from localcloud.on_thread import listen

    import uvicorn  # isort: skip

    tls = None if options.tls is None else tls_context(options.tls)
    app = build(Mailbox(), os.environ["TENANTRY_SMTP_PASSWORD"], listen(options.smtp_port), tls=tls)
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again after an orderly end
        uvicorn.Server(config(app)).run(sockets=[listen(options.port)])


if __name__ == "__main__":
    main()
