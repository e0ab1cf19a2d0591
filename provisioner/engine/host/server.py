"""``pulumi-language-python ENGINE_ADDRESS``: runs Python programs, providers and policy packs for the engine."""

import importlib.metadata
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from typing import IO, TYPE_CHECKING, Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

if TYPE_CHECKING:
    from provisioner.engine.host.children import Children
else:  # started by its path
    from children import Children

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "program.py")
#: Exit code of a program whose error the user has seen.
ALREADY_SHOWN = 32
_PARENT_POLL = 0.5


class Host(language_pb2_grpc.LanguageRuntimeServicer):
    def __init__(self, engine_address: str, children: Children) -> None:
        self._engine_address = engine_address
        self._children = children

    def Handshake(self, request: Any, context: Any) -> language_pb2.LanguageHandshakeResponse:
        self._engine_address = request.engine_address or self._engine_address
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: Any) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=importlib.metadata.version("pulumi"))

    def GetRequiredPackages(self, request: Any, context: Any) -> language_pb2.GetRequiredPackagesResponse:
        # The engine installs a plugin when the first of its resources is registered, at the version that names.
        return language_pb2.GetRequiredPackagesResponse()

    def GetRequiredPlugins(self, request: Any, context: Any) -> language_pb2.GetRequiredPluginsResponse:
        return language_pb2.GetRequiredPluginsResponse()

    def GetProgramDependencies(self, request: Any, context: Any) -> language_pb2.GetProgramDependenciesResponse:
        found = sorted({(item.name, item.version) for item in importlib.metadata.distributions()})
        return language_pb2.GetProgramDependenciesResponse(
            dependencies=[language_pb2.DependencyInfo(name=name, version=version) for name, version in found]
        )

    def InstallDependencies(self, request: Any, context: Any) -> Iterator[Any]:
        message = "The packages of this project are installed by `make setup`.\n"
        yield language_pb2.InstallDependenciesResponse(stdout=message.encode())

    def RuntimeOptionsPrompts(self, request: Any, context: Any) -> language_pb2.RuntimeOptionsResponse:
        return language_pb2.RuntimeOptionsResponse()

    def About(self, request: Any, context: Any) -> language_pb2.AboutResponse:
        return language_pb2.AboutResponse(executable=sys.executable, version=sys.version.split()[0])

    def Cancel(self, request: Any, context: Any) -> empty_pb2.Empty:
        return empty_pb2.Empty()

    def Run(self, request: Any, context: Any) -> language_pb2.RunResponse:
        settings = {
            "project": request.project,
            "stack": request.stack,
            "monitor": request.monitor_address,
            "engine": self._engine_address,
            "parallel": request.parallel,
            "dry_run": request.dryRun,
            "organization": request.organization,
            "root_directory": request.info.root_directory,
        }
        environment = {
            **os.environ,
            "PULUMI_CONFIG": json.dumps(dict(request.config)),
            "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.configSecretKeys)),
        }
        entry = os.path.join(request.info.program_directory or request.pwd, request.info.entry_point or ".")
        command = [sys.executable, "-u", PROGRAM, json.dumps(settings), entry, *request.args]
        code = 1
        for name, data in self._output(command, request.pwd, environment, context):
            if name == "exitcode":
                code = data
            else:
                stream = sys.stdout if name == "stdout" else sys.stderr
                stream.buffer.write(data)
                stream.flush()
        if code in (0, ALREADY_SHOWN):
            return language_pb2.RunResponse(bail=code == ALREADY_SHOWN)
        return language_pb2.RunResponse(error=f"the program ended with exit code {code}")

    def RunPlugin(self, request: Any, context: Any) -> Iterator[Any]:
        directory = request.info.program_directory
        environment = {**os.environ, **dict(item.split("=", 1) for item in request.env if "=" in item)}
        if request.kind == "analyzer":
            # A pack finds its rules beside it and is started in its own directory.
            command = [sys.executable, "-u", "-m", "pulumi.policy", *request.args, directory]
            cwd = directory
        else:
            command = [sys.executable, "-u", directory, *request.args]
            cwd = request.pwd
        for name, data in self._output(command, cwd, environment, context):
            yield language_pb2.RunPluginResponse(**{name: data})

    def _output(self, command: list[str], cwd: str, env: dict[str, str], context: Any) -> Iterator[tuple[str, Any]]:
        """``("stdout" | "stderr", bytes)`` as they come, then ``("exitcode", int)``. A cancelled call ends it."""
        child = self._children.start(command, cwd=cwd, env=env)
        chunks: queue.Queue[tuple[str, bytes] | None] = queue.Queue()
        over = threading.Event()

        def pump(stream: IO[bytes], name: str) -> None:
            for chunk in iter(lambda: os.read(stream.fileno(), 65536), b""):
                chunks.put((name, chunk))
            chunks.put(None)

        def cancelled() -> None:
            if not over.is_set():
                threading.Thread(target=self._children.end, args=(child,), daemon=True).start()

        assert child.stdout is not None
        assert child.stderr is not None
        for stream, name in ((child.stdout, "stdout"), (child.stderr, "stderr")):
            threading.Thread(target=pump, args=(stream, name), daemon=True).start()
        if not context.add_callback(cancelled):
            cancelled()
        try:
            ended = 0
            while ended < 2:
                chunk = chunks.get()
                if chunk is None:
                    ended += 1
                else:
                    yield chunk
            yield "exitcode", child.wait()
        finally:
            over.set()
            if child.poll() is None:
                self._children.end(child)
            self._children.ended(child)


def main() -> None:
    children = Children()
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    engine_address = next((argument for argument in reversed(sys.argv[1:]) if not argument.startswith("-")), "")
    # A pack and several providers each hold a thread for as long as they run.
    server = grpc.server(futures.ThreadPoolExecutor(64))
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(Host(engine_address, children), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    parent = os.getppid()
    while not stopping.wait(_PARENT_POLL):
        if os.getppid() != parent:  # the engine was killed
            break
    children.end_all()
    os._exit(0)  # neither threads of calls in flight nor interpreter clean-up may hold the engine up


if __name__ == "__main__":
    main()
