"""Running a provider: spawned by the engine, or as a server that engines attach to."""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent import futures
from typing import Any

import grpc
from pulumi.runtime.proto import provider_pb2_grpc

from providers.base.handler import Provider
from providers.base.server import Servicer

#: operations at once; each may wait minutes for the cloud, and Cancel needs a thread as well
_THREADS = 128
_MESSAGE_BYTES = 400 * 1024 * 1024  #: the engine's own limit


def start(provider: Provider[Any], port: int = 0) -> tuple[grpc.Server, int]:
    """Serve ``provider`` on 127.0.0.1; returns the server and its port (a free one for 0)."""
    server = grpc.server(
        futures.ThreadPoolExecutor(_THREADS, thread_name_prefix=provider.name),
        options=[
            ("grpc.max_receive_message_length", _MESSAGE_BYTES),
            ("grpc.max_send_message_length", _MESSAGE_BYTES),
            ("grpc.so_reuseport", 0),  # a second server on the same port must fail, not share it
        ],
    )
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Servicer(provider), server)
    return _listen(server, port)


def _listen(server: grpc.Server, port: int) -> tuple[grpc.Server, int]:
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, bound


def main(provider: Provider[Any], port: int = 0, announce: str = "{port}") -> int:
    """Serve until SIGINT or SIGTERM; prints ``announce`` once ready. The engine reads the port from a line."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    # grpc and libraries must not write to stdout: the engine reads the port from it.
    server, bound = start(provider, port)
    print(announce.format(port=bound), flush=True)
    stop.wait()
    server.stop(grace=0.2).wait(1)
    # Threads that wait for the cloud would hold the exit back.
    sys.stdout.flush()
    os._exit(0)
