"""The server for one operation: runs the program against an engine's monitor, hands events over, leaves nothing."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
import pulumi
import pytest
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import (
    engine_pb2,
    engine_pb2_grpc,
    events_pb2,
    events_pb2_grpc,
    language_pb2,
    language_pb2_grpc,
    resource_pb2,
    resource_pb2_grpc,
)

from provisioner.deployer.inline import serve


class Monitor(resource_pb2_grpc.ResourceMonitorServicer):
    """An engine's side: registers everything, and remembers it."""

    def __init__(self) -> None:
        self.registered: list[str] = []
        self.outputs: dict[str, Any] = {}
        self.gone = False

    def GetDeploymentInfo(self, request: Any, context: Any) -> Any:
        features = [resource_pb2.RESOURCE_MONITOR_FEATURE_SECRETS]
        return resource_pb2.DeploymentInfo(supportedFeatures=features)

    def RegisterResource(self, request: Any, context: Any) -> Any:
        if self.gone:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the engine is ending")
        self.registered.append(request.type)
        return resource_pb2.RegisterResourceResponse(
            urn=f"urn:pulumi:acme::tenantry::{request.type}::{request.name}", object=struct_pb2.Struct()
        )

    def RegisterResourceOutputs(self, request: Any, context: Any) -> Any:
        self.outputs = dict(request.outputs.items())
        return empty_pb2.Empty()

    def SignalAndWaitForShutdown(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()


class Engine(engine_pb2_grpc.EngineServicer):
    def __init__(self) -> None:
        self.logged: list[str] = []

    def Log(self, request: Any, context: Any) -> Any:
        if request.severity == engine_pb2.ERROR:
            self.logged.append(request.message)
        return empty_pb2.Empty()

    def GetRootResource(self, request: Any, context: Any) -> Any:
        return engine_pb2.GetRootResourceResponse()

    def SetRootResource(self, request: Any, context: Any) -> Any:
        return engine_pb2.SetRootResourceResponse()


class Peer:
    """Stands for the engine process: monitor and engine on one port, and a client of the server under test."""

    def __init__(self) -> None:
        self.monitor, self.engine = Monitor(), Engine()
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        resource_pb2_grpc.add_ResourceMonitorServicer_to_server(self.monitor, self._server)
        engine_pb2_grpc.add_EngineServicer_to_server(self.engine, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def close(self) -> None:
        self._server.stop(0).wait()

    def run(self, address: str, **fields: Any) -> Any:
        request = language_pb2.RunRequest(
            project="tenantry",
            stack="acme",
            parallel=4,
            organization="organization",
            monitor_address=self.address,
            args=[self.address],
            **fields,
        )
        with grpc.insecure_channel(address) as channel:
            return language_pb2_grpc.LanguageRuntimeStub(channel).Run(request, timeout=30)


@pytest.fixture
def peer() -> Iterator[Peer]:
    found = Peer()
    yield found
    found.close()


def ignore(event: str) -> None:
    raise AssertionError(f"no event was sent, got {event}")


def test_a_program_registers_its_stack_and_outputs_and_reads_its_configuration(peer: Peer) -> None:
    def program() -> None:
        pulumi.export("stack", pulumi.get_stack())
        pulumi.export("tier", pulumi.Config("tenantry").require("tier"))
        pulumi.export("dry", pulumi.runtime.is_dry_run())

    with serve(program, ignore) as address:
        response = peer.run(address, config={"tenantry:tier": "silo"}, dryRun=True)
    assert response.error == ""
    assert peer.monitor.registered == ["pulumi:pulumi:Stack"]
    assert peer.monitor.outputs == {"stack": "acme", "tier": "silo", "dry": True}
    assert peer.engine.logged == []


def test_a_coroutine_is_a_program(peer: Peer) -> None:
    async def program() -> None:
        pulumi.export("waited", "yes")

    with serve(program, ignore) as address:
        assert peer.run(address).error == ""
    assert peer.monitor.outputs == {"waited": "yes"}


def test_a_program_that_raises_is_told_once_with_its_traceback(peer: Peer) -> None:
    def program() -> None:
        raise ValueError("no such tier: gold")

    with serve(program, ignore) as address:
        response = peer.run(address)
    assert response.error.startswith("ValueError: no such tier: gold\nTraceback")
    assert peer.engine.logged == [response.error]


def test_a_run_errors_message_needs_no_traceback(peer: Peer) -> None:
    def program() -> None:
        raise pulumi.RunError("stack acme has no config tenantry:spec")

    with serve(program, ignore) as address:
        response = peer.run(address)
    assert response.error == "stack acme has no config tenantry:spec"
    assert peer.engine.logged == [response.error]


def test_an_engine_that_ends_is_no_error_of_the_program(peer: Peer) -> None:
    peer.monitor.gone = True
    with serve(lambda: pulumi.export("a", 1), ignore) as address:
        assert peer.run(address).error == ""
    assert peer.engine.logged == []


def test_one_operations_settings_do_not_reach_the_next(peer: Peer) -> None:
    seen: list[str | None] = []

    def program() -> None:
        seen.append(pulumi.Config("tenantry").get("tier"))

    for config in ({"tenantry:tier": "silo"}, {"tenantry:other": "x"}):
        with serve(program, ignore) as address:
            assert peer.run(address, config=config).error == ""
    assert seen == ["silo", None]


def test_without_a_program_nothing_can_be_run(peer: Peer) -> None:
    with serve(None, ignore) as address, pytest.raises(grpc.RpcError) as refused:
        peer.run(address)
    error: Any = refused.value
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


@contextmanager
def stream(address: str) -> Iterator[Any]:
    with grpc.insecure_channel(address) as channel:
        yield events_pb2_grpc.EventsStub(channel).StreamEvents


def test_every_event_is_handled_in_order_before_the_server_ends() -> None:
    handled: list[int] = []
    sent = [events_pb2.EventRequest(event=json.dumps({"sequence": number})) for number in range(500)]

    def handle(event: str) -> None:
        handled.append(json.loads(event)["sequence"])

    with serve(None, handle) as address, stream(address) as send:
        send(iter(sent), timeout=30)
    assert handled == list(range(500))


def test_events_in_flight_are_waited_for() -> None:
    """The engine has ended, its last event is being handled still."""
    handling, release, handled = threading.Event(), threading.Event(), []

    def handle(event: str) -> None:
        handling.set()
        assert release.wait(10)
        handled.append(event)

    with serve(None, handle) as address, stream(address) as send:
        call = send.future(iter([events_pb2.EventRequest(event="{}")]), timeout=30)
        assert handling.wait(10)
        threading.Timer(0.05, release.set).start()
        assert not handled
    assert call.done()
    assert handled == ["{}"]


def test_an_engine_that_was_killed_ends_its_stream() -> None:
    begun = threading.Event()

    def events() -> Iterator[Any]:
        yield events_pb2.EventRequest(event="{}")
        begun.wait(10)
        raise RuntimeError("killed")

    handled: list[str] = []

    def handle(event: str) -> None:
        handled.append(event)
        begun.set()

    with serve(None, handle) as address, stream(address) as send, pytest.raises(grpc.RpcError):
        send(events(), timeout=30)
    assert handled == ["{}"]


def test_a_hundred_operations_leave_no_thread_behind(peer: Peer) -> None:
    def program() -> None:
        raise ValueError("as when an update fails")

    with serve(program, ignore) as address:  # what the SDK starts once stays
        peer.run(address)
    before = threading.active_count()
    for _ in range(100):
        with serve(program, ignore) as address:
            peer.run(address)
    deadline = time.monotonic() + 20
    while threading.active_count() > before + 2:  # gRPC's own threads end a moment after their server
        assert time.monotonic() < deadline, threading.enumerate()
        time.sleep(0.05)
