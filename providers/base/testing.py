"""A client that speaks to a provider as the engine does, for tests and measurements of providers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2

from providers.base.errors import CheckFailed
from providers.base.handler import Provider
from providers.base.serve import start
from providers.base.values import Properties, SecretPaths, marshal, unmarshal

_SEED = bytes(range(32))


@dataclass(frozen=True)
class Resource:
    """What the engine's state has of a resource."""

    type: str
    name: str
    id: str
    inputs: Properties
    outputs: Properties
    secret_inputs: SecretPaths = frozenset()
    secret_outputs: SecretPaths = frozenset()


@dataclass(frozen=True)
class Plan:
    """The verdict of Diff: property path -> kind, as ``UPDATE_REPLACE``. Empty: nothing to do."""

    changes: Mapping[str, str] = field(default_factory=dict)
    delete_before_replace: bool = False

    @property
    def replaces(self) -> bool:
        return any(kind.endswith("_REPLACE") for kind in self.changes.values())


class RpcFailed(Exception):
    """A gRPC error: its status code, its message and, of a partial failure, the resource that stayed."""

    def __init__(self, error: grpc.RpcError) -> None:
        call: Any = error
        self.code: grpc.StatusCode = call.code()
        self.message: str = call.details()
        self.partial: provider_pb2.ErrorResourceInitFailed | None = None
        for key, value in call.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                detail = provider_pb2.ErrorResourceInitFailed()
                if status_pb2.Status.FromString(value).details[0].Unpack(detail):
                    self.partial = detail
        super().__init__(f"{self.code.name}: {self.message}")


class ProviderClient:
    """One provider resource of one engine: a connection of its own, as the engine opens it."""

    def __init__(self, port: int, project: str = "tenantry", stack: str = "test") -> None:
        # Without an own subchannel pool Python shares one connection among the channels of a process.
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])
        self.stub = provider_pb2_grpc.ResourceProviderStub(self._channel)
        self._prefix = f"urn:pulumi:{stack}::{project}::"

    def close(self) -> None:
        self._channel.close()

    def _call(self, method: str, request: Any, timeout: float = 60) -> Any:
        try:
            return getattr(self.stub, method)(request, timeout=timeout)
        except grpc.RpcError as error:
            raise RpcFailed(error) from error

    def urn(self, type: str, name: str) -> str:
        return f"{self._prefix}{type}::{name}"

    def configure(self, config: Properties | None = None) -> None:
        request = provider_pb2.ProviderHandshakeRequest(engine_address="127.0.0.1:1", configure_with_urn=True)
        self._call("Handshake", request)
        args = marshal(config or {})
        checked = self._call("CheckConfig", provider_pb2.CheckRequest(urn=self._prefix, news=args))
        _raise_failures(checked.failures)
        self._call("Configure", provider_pb2.ConfigureRequest(args=args, acceptSecrets=True))

    def check(
        self,
        type: str,
        name: str,
        news: Properties,
        olds: Properties | None = None,
        secrets: SecretPaths = frozenset(),
    ) -> tuple[Properties, SecretPaths]:
        request = provider_pb2.CheckRequest(
            urn=self.urn(type, name),
            name=name,
            type=type,
            news=marshal(news, secrets),
            olds=marshal(olds or {}),
            randomSeed=_SEED,
        )
        response = self._call("Check", request)
        _raise_failures(response.failures)
        return unmarshal(response.inputs)

    def diff(self, resource: Resource, inputs: Properties) -> Plan:
        request = provider_pb2.DiffRequest(
            id=resource.id,
            urn=self.urn(resource.type, resource.name),
            name=resource.name,
            type=resource.type,
            old_inputs=marshal(resource.inputs, resource.secret_inputs),
            olds=marshal(resource.outputs, resource.secret_outputs),
            news=marshal(inputs),
        )
        response = self._call("Diff", request)
        kinds = {path: provider_pb2.PropertyDiff.Kind.Name(d.kind) for path, d in response.detailedDiff.items()}
        assert bool(kinds) == (response.changes == provider_pb2.DiffResponse.DIFF_SOME)
        return Plan(kinds, response.deleteBeforeReplace)

    def plan(self, resource: Resource, news: Properties) -> Plan:
        """Check and Diff: what an update of the program to ``news`` would do."""
        return self.diff(resource, self.check(resource.type, resource.name, news, resource.inputs)[0])

    def create(
        self,
        type: str,
        name: str,
        news: Properties,
        *,
        preview: bool = False,
        secrets: SecretPaths = frozenset(),
    ) -> Resource:
        inputs, marked = self.check(type, name, news, secrets=secrets)
        request = provider_pb2.CreateRequest(
            urn=self.urn(type, name), name=name, type=type, properties=marshal(inputs, marked), preview=preview
        )
        response = self._call("Create", request)
        outputs, secret_outputs = unmarshal(response.properties)
        return Resource(type, name, response.id, inputs, outputs, marked, secret_outputs)

    def update(self, resource: Resource, news: Properties, *, preview: bool = False) -> Resource:
        inputs, marked = self.check(resource.type, resource.name, news, resource.inputs)
        request = provider_pb2.UpdateRequest(
            id=resource.id,
            urn=self.urn(resource.type, resource.name),
            name=resource.name,
            type=resource.type,
            olds=marshal(resource.outputs, resource.secret_outputs),
            old_inputs=marshal(resource.inputs, resource.secret_inputs),
            news=marshal(inputs, marked),
            preview=preview,
        )
        outputs, secret_outputs = unmarshal(self._call("Update", request).properties)
        return Resource(resource.type, resource.name, resource.id, inputs, outputs, marked, secret_outputs)

    def refresh(self, resource: Resource) -> Resource | None:
        request = provider_pb2.ReadRequest(
            id=resource.id,
            urn=self.urn(resource.type, resource.name),
            name=resource.name,
            type=resource.type,
            properties=marshal(resource.outputs, resource.secret_outputs),
            inputs=marshal(resource.inputs, resource.secret_inputs),
        )
        return self._read(request)

    def import_(self, type: str, name: str, id: str) -> Resource | None:
        return self._read(provider_pb2.ReadRequest(id=id, urn=self.urn(type, name), name=name, type=type))

    def _read(self, request: provider_pb2.ReadRequest) -> Resource | None:
        response = self._call("Read", request)
        if not response.id:
            return None
        inputs, secret_inputs = unmarshal(response.inputs)
        outputs, secret_outputs = unmarshal(response.properties)
        return Resource(request.type, request.name, response.id, inputs, outputs, secret_inputs, secret_outputs)

    def delete(self, resource: Resource) -> None:
        request = provider_pb2.DeleteRequest(
            id=resource.id,
            urn=self.urn(resource.type, resource.name),
            name=resource.name,
            type=resource.type,
            properties=marshal(resource.outputs, resource.secret_outputs),
            old_inputs=marshal(resource.inputs, resource.secret_inputs),
        )
        self._call("Delete", request)

    def invoke(self, token: str, args: Properties | None = None) -> Properties:
        response = self._call("Invoke", provider_pb2.InvokeRequest(tok=token, args=marshal(args or {})))
        _raise_failures(response.failures)
        return unmarshal(getattr(response, "return"))[0]

    def cancel(self) -> None:
        self._call("Cancel", empty_pb2.Empty())


def _raise_failures(failures: Any) -> None:
    if failures:
        raise CheckFailed([(failure.property, failure.reason) for failure in failures])


@contextmanager
def serving(provider: Provider[Any], config: Properties | None = None) -> Iterator[ProviderClient]:
    """``provider`` on a free port with a configured client; both end with the block."""
    server, port = start(provider)
    client = ProviderClient(port)
    try:
        client.configure(config)
        yield client
    finally:
        client.close()
        server.stop(0).wait()
