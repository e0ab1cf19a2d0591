"""A resource provider whose cloud is a directory: `fake:index:Thing` is a file `<name>.json`.

Inputs: `name`, `value`, `delay` (seconds that a create takes after the file appears), `fail` (message of a refusal).
Serves as a plugin (`python <this directory>`) and attached. `FAKE_CLOUD` is the directory; calls are lines in `log`.
"""

import json
import os
import signal
import threading
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

CLOUD = Path(os.environ["FAKE_CLOUD"])
#: One event a call in flight: attached, the provider serves later engines as well, which no earlier Cancel may touch.
IN_FLIGHT: set[threading.Event] = set()


def cancelled_within(seconds: float) -> bool:
    cancelled = threading.Event()
    IN_FLIGHT.add(cancelled)
    try:
        return cancelled.wait(seconds)
    finally:
        IN_FLIGHT.discard(cancelled)


def note(line: str) -> None:
    with (CLOUD / "log").open("a") as log:
        log.write(line + "\n")


def plain(struct: Any) -> dict[str, Any]:
    return dict(struct.items())


def as_struct(values: dict[str, Any]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(values)
    return struct


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    def Attach(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version="1.0.0")

    def GetSchema(self, request: Any, context: Any) -> Any:
        return provider_pb2.GetSchemaResponse(schema=json.dumps({"name": "fake", "version": "1.0.0"}))

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: Any) -> Any:
        return provider_pb2.ConfigureResponse(acceptSecrets=False, supportsPreview=True)

    def Check(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def Diff(self, request: Any, context: Any) -> Any:
        olds, news = plain(request.olds), plain(request.news)
        changed = [key for key in news if news[key] != olds.get(key)]
        kind = provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(changes=kind, diffs=changed, replaces=[k for k in changed if k == "name"])

    def Create(self, request: Any, context: Any) -> Any:
        inputs = plain(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(id="", properties=request.properties)
        if inputs.get("fail"):
            context.abort(grpc.StatusCode.UNKNOWN, inputs["fail"])
        path = CLOUD / f"{inputs['name']}.json"
        note(f"create {inputs['name']}")
        if path.exists():
            context.abort(grpc.StatusCode.ALREADY_EXISTS, f"{inputs['name']} exists already")
        path.write_text(json.dumps(inputs))
        if cancelled_within(float(inputs.get("delay") or 0)):
            if path.exists() and json.loads(path.read_text()) == inputs:
                path.unlink()
            context.abort(grpc.StatusCode.CANCELLED, "cancelled")
        return provider_pb2.CreateResponse(
            id=inputs["name"], properties=as_struct({**inputs, "url": f"fake://{inputs['name']}"})
        )

    def Read(self, request: Any, context: Any) -> Any:
        path = CLOUD / f"{request.id}.json"
        note(f"read {request.id}")
        if not path.exists():
            return provider_pb2.ReadResponse()
        inputs = json.loads(path.read_text())
        return provider_pb2.ReadResponse(
            id=request.id, inputs=as_struct(inputs), properties=as_struct({**inputs, "url": f"fake://{request.id}"})
        )

    def Update(self, request: Any, context: Any) -> Any:
        inputs = plain(request.news)
        if request.preview:
            return provider_pb2.UpdateResponse(properties=request.news)
        note(f"update {request.id}")
        if inputs.get("fail"):
            context.abort(grpc.StatusCode.UNKNOWN, inputs["fail"])
        (CLOUD / f"{request.id}.json").write_text(json.dumps(inputs))
        cancelled_within(float(inputs.get("delay") or 0))
        return provider_pb2.UpdateResponse(properties=as_struct({**inputs, "url": f"fake://{request.id}"}))

    def Delete(self, request: Any, context: Any) -> Any:
        note(f"delete {request.id}")
        (CLOUD / f"{request.id}.json").unlink(missing_ok=True)
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: Any) -> Any:
        if not os.environ.get("FAKE_IGNORES_CANCEL"):
            for call in list(IN_FLIGHT):
                call.set()
        return empty_pb2.Empty()


def main() -> None:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    server = grpc.server(futures.ThreadPoolExecutor(16))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    stop.wait()
    os._exit(0)  # creates in flight wait for their delay


if __name__ == "__main__":
    main()
