"""Serves an inline program and receives the engine's events, on one loopback port for one operation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.automation._server import LanguageServer
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import events_pb2_grpc, language_pb2_grpc

from provisioner.deployer.types import Program


class _Events(events_pb2_grpc.EventsServicer):
    def __init__(self, handle: Callable[[str], None]) -> None:
        self._handle = handle

    def StreamEvents(self, request_iterator: Iterator[Any], context: grpc.ServicerContext) -> empty_pb2.Empty:
        for request in request_iterator:
            self._handle(request.event)
        return empty_pb2.Empty()


@contextmanager
def serve(program: Program | None, handle: Callable[[str], None]) -> Iterator[str]:
    """Yields the address ``127.0.0.1:<port>``; every event that the engine sent has been handled on exit."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4), options=_GRPC_CHANNEL_OPTIONS)
    events_pb2_grpc.add_EventsServicer_to_server(_Events(handle), server)
    if program is not None:
        language_pb2_grpc.add_LanguageRuntimeServicer_to_server(LanguageServer(program), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(grace=None).wait()
