"""Serves an inline program and receives the engine's events, on one loopback port for one operation.

The SDK's own ``LanguageServer`` leaves an event loop and its threads behind whenever an update fails, which a process
that lives for months can't afford.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import grpc
import pulumi
from google.protobuf import empty_pb2
from pulumi import log
from pulumi.runtime import reset_options, run_in_stack, set_all_config
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import events_pb2_grpc, language_pb2, language_pb2_grpc, plugin_pb2

from provisioner.deployer.types import Program


class Preview(Protocol):
    """What listens to the preview with which an update begins, and lets the update begin or not."""

    def listen(self) -> None:
        """Called in the program's thread before it runs."""

    def handle(self, event: str) -> None: ...

    def decide(self) -> str | None:
        """Called when the preview has ended; a text keeps the update from changing anything, and is its error."""


class _Events(events_pb2_grpc.EventsServicer):
    """An update that is previewed first sends two streams, one after the other."""

    def __init__(self, handle: Callable[[str], None], preview: Preview | None) -> None:
        self._handlers = [] if preview is None else [preview.handle]
        self._handle = handle
        self._ended = threading.Event()
        self._ended.set()

    def StreamEvents(self, request_iterator: Iterator[Any], context: grpc.ServicerContext) -> empty_pb2.Empty:
        self._ended.clear()
        handle = self._handlers.pop(0) if self._handlers else self._handle
        try:
            for request in request_iterator:
                handle(request.event)
        except grpc.RpcError:  # the engine was killed
            pass
        finally:
            self._ended.set()
        return empty_pb2.Empty()

    def drain(self) -> None:
        """Wait until what the engine, now ended, had sent is handled."""
        self._ended.wait(10)


class _Language(language_pb2_grpc.LanguageRuntimeServicer):
    """Runs ``program`` when the engine asks for it: in a preview, and in the update that ``preview`` lets begin."""

    def __init__(self, program: Program, preview: Preview | None) -> None:
        self._program = program
        self._preview = preview

    def Handshake(self, request: Any, context: Any) -> language_pb2.LanguageHandshakeResponse:
        return language_pb2.LanguageHandshakeResponse()

    def About(self, request: Any, context: Any) -> language_pb2.AboutResponse:
        return language_pb2.AboutResponse(executable=sys.executable, version=sys.version.split()[0])

    def GetPluginInfo(self, request: Any, context: Any) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo()

    def GetRequiredPlugins(self, request: Any, context: Any) -> language_pb2.GetRequiredPluginsResponse:
        return language_pb2.GetRequiredPluginsResponse()

    def GetRequiredPackages(self, request: Any, context: Any) -> language_pb2.GetRequiredPackagesResponse:
        return language_pb2.GetRequiredPackagesResponse()

    def Run(self, request: Any, context: Any) -> language_pb2.RunResponse:
        if self._preview is not None and not request.dryRun:
            # The program has registered nothing yet, and the engine deletes nothing before it has run.
            refused = self._preview.decide()
            if refused is not None:
                return language_pb2.RunResponse(error=refused)
        # The SDK keeps its settings in context variables: this operation's die with the copy.
        error = contextvars.copy_context().run(self._run, request)
        return language_pb2.RunResponse(error=error or "")

    def _run(self, request: Any) -> str | None:
        reset_options(
            project=request.project,
            monitor_address=request.monitor_address,
            engine_address=request.args[0] if request.args else "",
            stack=request.stack,
            parallel=request.parallel,
            preview=request.dryRun,
            organization=request.organization or "organization",
        )
        if request.config:
            set_all_config(dict(request.config), list(request.configSecretKeys) or None)
        if self._preview is not None and request.dryRun:
            self._preview.listen()
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # tasks that fail with the update are no news
        loop = asyncio.new_event_loop()
        loop.set_default_executor(futures.ThreadPoolExecutor(max(request.parallel, 1) * 4))
        loop.set_exception_handler(_stop_when_the_engine_is_gone)
        try:
            loop.run_until_complete(run_in_stack(self._program))
        except pulumi.RunError as error:
            # What the SDK makes of a monitor that is gone: the engine is ending and knows why.
            return None if _unavailable(error.__context__) else _report(str(error))
        except grpc.RpcError as error:
            return None if _unavailable(error) else _report(f"RPC error: {error.details()}")
        except BaseException as error:
            return _report(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
        finally:
            _close(loop)
        return None


def _report(message: str) -> str:
    with suppress(grpc.RpcError):  # the engine ended meanwhile
        log.error(message)
    return message


def _unavailable(error: BaseException | None) -> bool:
    return isinstance(error, grpc.Call) and error.code() == grpc.StatusCode.UNAVAILABLE


def _stop_when_the_engine_is_gone(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if isinstance(context.get("exception"), grpc.RpcError):
        loop.stop()
    else:
        loop.default_exception_handler(context)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what is left, whatever it raises, and free the loop's threads and sockets."""
    pending = asyncio.all_tasks(loop)
    for task in pending:
        task.cancel()
    loop.set_exception_handler(lambda *_: None)
    try:
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    except RuntimeError:  # stopped by a handler that ran late
        pass
    finally:
        loop.close()


@contextmanager
def serve(program: Program | None, handle: Callable[[str], None], preview: Preview | None = None) -> Iterator[str]:
    """Yields the address ``127.0.0.1:<port>``; every event that the engine sent has been handled on exit.

    ``preview``: for an update that is previewed first, in the same command.
    """
    threads = futures.ThreadPoolExecutor(max_workers=4)
    server = grpc.server(threads, options=_GRPC_CHANNEL_OPTIONS)
    events = _Events(handle, preview)
    events_pb2_grpc.add_EventsServicer_to_server(events, server)
    if program is not None:
        language_pb2_grpc.add_LanguageRuntimeServicer_to_server(_Language(program, preview), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
        events.drain()
    finally:
        server.stop(grace=None).wait()
        threads.shutdown(wait=False)  # gRPC leaves that to the garbage collector, and the threads wait for it
