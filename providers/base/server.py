"""The gRPC face of a :class:`Provider`: a spawned plugin or a long-running server the engine attaches to.

An attached server serves many engines, and each engine many provider resources of one package, with other
configurations. No request names its provider resource, but the engine opens one connection for each: the connection
is the key to its configuration.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

import grpc
from google.protobuf import any_pb2, empty_pb2, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from providers.base import lifecycle
from providers.base.diff import Change, Verdict
from providers.base.errors import Cancelled, CheckFailed, InitializationFailed, ProviderError, describe, scrub
from providers.base.handler import Context, Handler, Provider
from providers.base.values import (
    Properties,
    SecretPaths,
    has_unknown,
    marshal,
    render_path,
    secret_strings,
    unmarshal,
)

R = TypeVar("R")
log = logging.getLogger(__name__)

_KINDS = {
    (Change.ADD, False): provider_pb2.PropertyDiff.ADD,
    (Change.ADD, True): provider_pb2.PropertyDiff.ADD_REPLACE,
    (Change.DELETE, False): provider_pb2.PropertyDiff.DELETE,
    (Change.DELETE, True): provider_pb2.PropertyDiff.DELETE_REPLACE,
    (Change.UPDATE, False): provider_pb2.PropertyDiff.UPDATE,
    (Change.UPDATE, True): provider_pb2.PropertyDiff.UPDATE_REPLACE,
}
#: connections remembered; an engine opens a handful and closes them at its end
_CONNECTIONS = 4096


@dataclass
class _Connection:
    """One provider resource of one engine."""

    cancelled: threading.Event = field(default_factory=threading.Event)
    configuration: str | None = None  #: key into the clients, None until Configure


class Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """Maps the protocol to handlers. Thread-safe."""

    def __init__(self, provider: Provider[Any]) -> None:
        self._provider = provider
        self._lock = threading.Lock()
        self._connections: OrderedDict[str, _Connection] = OrderedDict()
        self._clients: dict[str, Any] = {}

    # -- protocol ---------------------------------------------------------------------------------------------

    def Handshake(
        self, request: provider_pb2.ProviderHandshakeRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ProviderHandshakeResponse:
        with self._lock:
            self._connections[context.peer()] = _Connection()
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True, supports_autonaming_configuration=True)

    def Attach(self, request: plugin_pb2.PluginAttach, context: grpc.ServicerContext) -> empty_pb2.Empty:
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=self._provider.version)

    def GetSchema(
        self, request: provider_pb2.GetSchemaRequest, context: grpc.ServicerContext
    ) -> provider_pb2.GetSchemaResponse:
        return provider_pb2.GetSchemaResponse(
            schema=json.dumps({"name": self._provider.name, "version": self._provider.version})
        )

    def Cancel(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> empty_pb2.Empty:
        with self._lock:
            connection = self._connections.get(context.peer())
        if connection is not None:
            connection.cancelled.set()
        return empty_pb2.Empty()

    # -- configuration ----------------------------------------------------------------------------------------

    def CheckConfig(
        self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CheckResponse:
        news, secrets = unmarshal(request.news)

        def run() -> provider_pb2.CheckResponse:
            try:
                self._provider.check_config(decode_config(news))
            except CheckFailed as failed:
                return _check_failures(failed, request.news, secret_strings(news, secrets))
            return provider_pb2.CheckResponse(inputs=request.news)

        return self._answer(context, run, news, secrets)

    def DiffConfig(self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        olds, _ = unmarshal(request.old_inputs)
        news, _ = unmarshal(request.news)
        handler = type("ProviderResource", (Handler,), {"replace_on": self._provider.replace_on_config})()
        return _diff_response(lifecycle.verdict(handler, olds, news))

    def Configure(
        self, request: provider_pb2.ConfigureRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ConfigureResponse:
        config, secrets = unmarshal(request.args)
        if not config:
            config = {key.rsplit(":", 1)[-1]: value for key, value in request.variables.items()}

        def run() -> provider_pb2.ConfigureResponse:
            known = {k: v for k, v in config.items() if k != "version"}
            key = json.dumps(known, sort_keys=True, default=repr)  # a preview may not know all of it
            with self._lock:
                if key not in self._clients:
                    self._clients[key] = self._provider.configure(decode_config(config))
                connection = self._connections.setdefault(context.peer(), _Connection())
                connection.configuration = key
                while len(self._connections) > _CONNECTIONS:
                    self._connections.popitem(last=False)
            return provider_pb2.ConfigureResponse(
                acceptSecrets=True,
                supportsPreview=True,
                supports_autonaming_configuration=True,
            )

        return self._answer(context, run, config, secrets)

    # -- resources --------------------------------------------------------------------------------------------

    def Check(self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext) -> provider_pb2.CheckResponse:
        news, secrets = unmarshal(request.news)
        olds, _ = unmarshal(request.olds)
        mode = request.autonaming.mode if request.HasField("autonaming") else None
        naming = lifecycle.Naming(
            proposed=request.autonaming.proposed_name,
            enforced=mode == provider_pb2.CheckRequest.AutonamingOptions.ENFORCE,
            disabled=mode == provider_pb2.CheckRequest.AutonamingOptions.DISABLE,
            seed=request.randomSeed,
        )

        def run() -> provider_pb2.CheckResponse:
            handler = self._handler(request)
            try:
                inputs = lifecycle.check(handler, self._context(request, context), news, olds, naming)
            except CheckFailed as failed:
                return _check_failures(failed, request.news, secret_strings(news, secrets))
            return provider_pb2.CheckResponse(inputs=marshal(inputs, secrets | _always_secret(handler, inputs)))

        return self._answer(context, run, news, secrets)

    def Diff(self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        news, secrets = unmarshal(request.news)
        olds, _ = unmarshal(request.old_inputs)
        return self._answer(
            context, lambda: _diff_response(lifecycle.verdict(self._handler(request), olds, news)), news, secrets
        )

    def Create(self, request: provider_pb2.CreateRequest, context: grpc.ServicerContext) -> provider_pb2.CreateResponse:
        inputs, secrets = unmarshal(request.properties)

        def run() -> provider_pb2.CreateResponse:
            handler = self._handler(request)
            ctx = self._context(request, context)
            if request.preview:
                id, outputs = "", lifecycle.preview_create(handler, ctx, inputs)
            else:
                _refuse_unknowns(inputs)
                id, outputs = lifecycle.create(handler, ctx, inputs)
            return provider_pb2.CreateResponse(
                id=id, properties=marshal(outputs, secrets | _always_secret(handler, outputs))
            )

        return self._answer(context, run, inputs, secrets, request)

    def Read(self, request: provider_pb2.ReadRequest, context: grpc.ServicerContext) -> provider_pb2.ReadResponse:
        inputs, input_secrets = unmarshal(request.inputs)
        state, state_secrets = unmarshal(request.properties)

        def run() -> provider_pb2.ReadResponse:
            handler = self._handler(request)
            found = lifecycle.read(handler, self._context(request, context), request.id, inputs, state)
            if found is None:
                return provider_pb2.ReadResponse()  # an empty id: the resource is gone
            id, live_inputs, outputs = found
            return provider_pb2.ReadResponse(
                id=id,
                inputs=marshal(live_inputs, input_secrets | _always_secret(handler, live_inputs)),
                properties=marshal(outputs, input_secrets | state_secrets | _always_secret(handler, outputs)),
            )

        return self._answer(context, run, {**state, **inputs}, input_secrets | state_secrets, request)

    def Update(self, request: provider_pb2.UpdateRequest, context: grpc.ServicerContext) -> provider_pb2.UpdateResponse:
        state, state_secrets = unmarshal(request.olds)
        old_inputs, _ = unmarshal(request.old_inputs)
        inputs, secrets = unmarshal(request.news)
        # Computed outputs keep the secretness they had; that of an input follows the new program.
        secrets |= frozenset(path for path in state_secrets if path[0] not in old_inputs and path[0] not in inputs)

        def run() -> provider_pb2.UpdateResponse:
            handler = self._handler(request)
            ctx = self._context(request, context)
            if request.preview:
                outputs = lifecycle.preview_update(handler, ctx, state, old_inputs, inputs)
            else:
                _refuse_unknowns(inputs)
                outputs = lifecycle.update(handler, ctx, request.id, state, old_inputs, inputs)
            return provider_pb2.UpdateResponse(properties=marshal(outputs, secrets | _always_secret(handler, outputs)))

        return self._answer(context, run, inputs, secrets, request)

    def Delete(self, request: provider_pb2.DeleteRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:
        state, secrets = unmarshal(request.properties)
        old_inputs, _ = unmarshal(request.old_inputs)

        def run() -> empty_pb2.Empty:
            # A local input (forceDestroy) of an imported or older state may be in the inputs alone.
            known = {**old_inputs, **state}
            self._handler(request).delete(self._context(request, context), request.id, known)
            return empty_pb2.Empty()

        return self._answer(context, run, state, secrets, request)

    def Invoke(self, request: provider_pb2.InvokeRequest, context: grpc.ServicerContext) -> provider_pb2.InvokeResponse:
        args, secrets = unmarshal(request.args)

        def run() -> provider_pb2.InvokeResponse:
            function = lifecycle.find_function(self._provider, request.tok)
            try:
                result = function.invoke(self._context(request, context), args)
            except CheckFailed as failed:
                return provider_pb2.InvokeResponse(
                    failures=[provider_pb2.CheckFailure(property=p, reason=r) for p, r in failed.failures]
                )
            marked = frozenset((key,) for key in result) if secrets else frozenset()
            response = provider_pb2.InvokeResponse()
            getattr(response, "return").CopyFrom(marshal(result, marked))
            return response

        return self._answer(context, run, args, secrets)

    # -- the common part --------------------------------------------------------------------------------------

    def _handler(self, request: Any) -> Handler[Any]:
        return lifecycle.find_handler(self._provider, request.type or _type_of(request.urn))

    def _context(self, request: Any, context: grpc.ServicerContext) -> Context[Any]:
        with self._lock:
            connection = self._connections.get(context.peer())
            if connection is None or connection.configuration is None:
                connection = self._adopt(context.peer())
            client = self._clients[str(connection.configuration)]
        if connection.cancelled.is_set():
            raise Cancelled()
        urn = getattr(request, "urn", "")
        return Context(
            client=client,
            urn=urn,
            name=urn.rsplit("::", 1)[-1],
            type=getattr(request, "type", ""),
            preview=getattr(request, "preview", False),
            timeout=getattr(request, "timeout", 0.0),
            cancelled=connection.cancelled,
        )

    def _adopt(self, peer: str) -> _Connection:
        """The engine reconnected (an idle connection is closed after 30 minutes) and does not configure again."""
        if len(self._clients) != 1:
            raise ProviderError(
                f"the provider {self._provider.name!r} does not know the configuration of this connection: "
                "the engine reconnected after a restart or a long pause. Run the command again"
            )
        connection = _Connection(configuration=next(iter(self._clients)))
        self._connections[peer] = connection
        return connection

    def _answer(
        self,
        context: grpc.ServicerContext,
        run: Callable[[], R],
        properties: Properties,
        secrets: SecretPaths,
        request: Any = None,
    ) -> R:
        hidden = secret_strings(properties, secrets)
        try:
            return run()
        except InitializationFailed as failed:
            _abort_partial(context, failed, hidden, secrets | _always_secret(self._handler(request), failed.outputs))
        except Exception as error:
            code, message = describe(error, hidden)
            if not isinstance(error, ProviderError):
                log.debug("%s failed: %s", getattr(request, "urn", ""), message)
            context.abort(code, message)
        raise AssertionError("abort returns never")


def decode_config(config: Properties) -> Properties:
    """Provider configuration as programs wrote it: the SDK sends every value that is no string as JSON text."""
    decoded: Properties = {}
    for key, value in config.items():
        if key == "version":
            continue
        if isinstance(value, str) and value[:1] in ("{", "["):
            try:
                value = json.loads(value)
            except ValueError:
                value = config[key]
        decoded[key] = value
    return decoded


def _type_of(urn: str) -> str:
    return urn.split("::")[2].rsplit("$", 1)[-1] if urn.count("::") >= 3 else urn


def _always_secret(handler: Handler[Any], properties: Properties) -> SecretPaths:
    return frozenset((key,) for key in handler.secret_outputs if key in properties)


def _refuse_unknowns(inputs: Properties) -> None:
    unknown = [key for key, value in inputs.items() if has_unknown(value)]
    if unknown:
        raise ProviderError(f"values are still unknown outside of a preview: {', '.join(sorted(unknown))}")


def _check_failures(
    failed: CheckFailed, inputs: struct_pb2.Struct, hidden: frozenset[str]
) -> provider_pb2.CheckResponse:
    return provider_pb2.CheckResponse(
        inputs=inputs,
        failures=[provider_pb2.CheckFailure(property=p, reason=scrub(r, hidden)) for p, r in failed.failures],
    )


def _diff_response(verdict: Verdict) -> provider_pb2.DiffResponse:
    if not verdict.differences:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)
    detailed = {
        render_path(d.path): provider_pb2.PropertyDiff(kind=_KINDS[d.change, d.replaces], inputDiff=True)
        for d in verdict.differences
    }
    return provider_pb2.DiffResponse(
        changes=provider_pb2.DiffResponse.DIFF_SOME,
        diffs=sorted({str(d.path[0]) for d in verdict.differences}),
        replaces=sorted({str(d.path[0]) for d in verdict.differences if d.replaces}),
        detailedDiff=detailed,
        hasDetailedDiff=True,
        deleteBeforeReplace=verdict.replaces and verdict.delete_before_replace,
    )


def _abort_partial(
    context: grpc.ServicerContext, failed: InitializationFailed, hidden: frozenset[str], secrets: SecretPaths
) -> NoReturn:
    reasons = [scrub(reason, hidden) for reason in failed.reasons]
    detail = provider_pb2.ErrorResourceInitFailed(
        id=failed.id, properties=marshal(failed.outputs, secrets), reasons=reasons
    )
    packed = any_pb2.Any()
    packed.Pack(detail)
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message="; ".join(reasons), details=[packed])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(grpc.StatusCode.UNKNOWN, status.message)
    raise AssertionError("abort returns never")
