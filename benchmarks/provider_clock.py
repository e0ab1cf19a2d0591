"""Stands between engines and providers, and notes when a provider was working: ``python -m benchmarks.provider_clock``.

Arguments: ``<file> <name>:<port> ...``, as in ``PULUMI_DEBUG_PROVIDERS``; prints the same with ports of its own. Every
call is passed on as bytes, on one upstream connection for each of the engine's, since a provider tells engines apart by
their connections. Appends ``<begin> <end>`` (``CLOCK_MONOTONIC``, seconds) to ``<file>`` for each call.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import grpc

if TYPE_CHECKING:
    _Handler = grpc.GenericRpcHandler[bytes, bytes]
else:  # generic for the type checker alone
    _Handler = grpc.GenericRpcHandler

_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
_ALONE = [*_OPTIONS, ("grpc.use_local_subchannel_pool", 1)]


class Relay(_Handler):
    def __init__(self, target: str, file: TextIO) -> None:
        self._target = target
        self._file = file
        self._lock = threading.Lock()
        self._channels: dict[str, grpc.Channel] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method = handler_call_details.method
        return grpc.unary_unary_rpc_method_handler(self._passing(method))

    def _passing(self, method: str) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        def pass_on(request: bytes, context: grpc.ServicerContext) -> bytes:
            with self._lock:
                peer = context.peer()
                if peer not in self._channels:
                    self._channels[peer] = grpc.insecure_channel(self._target, options=_ALONE)
                call = self._channels[peer].unary_unary(method, None, None)
            began = time.monotonic()
            try:
                answer: bytes = call(request, metadata=_own(context.invocation_metadata()))
            except grpc.RpcError as error:
                failed: Any = error  # a call as well, which its type does not say
                context.set_trailing_metadata(failed.trailing_metadata())
                context.abort(failed.code(), failed.details() or "")
            finally:
                self._note(began, time.monotonic())
            return answer

        return pass_on

    def _note(self, began: float, ended: float) -> None:
        with self._lock:
            self._file.write(f"{began:.6f} {ended:.6f}\n")
            self._file.flush()


def _own(metadata: Iterable[Any]) -> tuple[tuple[str, str | bytes], ...]:
    """The engine's metadata; the transport makes its own again."""
    return tuple((key, value) for key, value in metadata if key not in ("user-agent", "te", "content-type"))


def busy(file: Path, began: float, ended: float) -> float:
    """Seconds between ``began`` and ``ended`` in which at least one provider was working."""
    spans = []
    for line in file.read_text().splitlines():
        low, high = (float(part) for part in line.split())
        if high > began and low < ended:
            spans.append((max(low, began), min(high, ended)))
    return _covered(sorted(spans))


def _covered(spans: Sequence[tuple[float, float]]) -> float:
    total, reached = 0.0, 0.0
    for low, high in spans:
        total += max(0.0, high - max(low, reached))
        reached = max(reached, high)
    return total


def main(arguments: list[str]) -> None:
    path, *providers = arguments
    ports = []
    servers = []
    with Path(path).open("a") as file:
        for provider in providers:
            name, _, port = provider.partition(":")
            server = grpc.server(futures.ThreadPoolExecutor(64), options=_OPTIONS)
            server.add_generic_rpc_handlers((Relay(f"127.0.0.1:{port}", file),))
            ports.append(f"{name}:{server.add_insecure_port('127.0.0.1:0')}")
            server.start()
            servers.append(server)
        print(",".join(ports), flush=True)
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        stop.wait()
        for server in servers:
            server.stop(grace=0)


if __name__ == "__main__":
    main(sys.argv[1:])
