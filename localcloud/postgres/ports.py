"""TCP ports of servers that keep theirs over restarts."""

from __future__ import annotations

import random
import socket

#: Below every common range of ephemeral ports: no outgoing connection takes the port of a server that is restarting.
RANGE = range(20000, 32000)
_ATTEMPTS = 200


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on. Another process may still take it before you do."""
    choose = random.SystemRandom()
    for _ in range(_ATTEMPTS):
        port = choose.choice(RANGE)
        if is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As a server binds: connections in TIME_WAIT don't count, listeners do.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
