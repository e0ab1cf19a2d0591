"""The protocol: a provider served on a port, spoken to as the engine does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import grpc
import pytest

from providers.base import (
    UNKNOWN,
    AutoName,
    CheckFailed,
    Context,
    Function,
    Handler,
    InitializationFailed,
    Properties,
    Provider,
    ProviderError,
)
from providers.base.serve import start
from providers.base.server import decode_config
from providers.base.testing import ProviderClient, RpcFailed, serving

THING = "test:index:Thing"


class Thing(Handler[Properties]):
    token = THING
    inputs = frozenset({"name", "size", "password", "wait"})
    outputs = frozenset({"arn", "key"})
    required = frozenset({"size"})
    secret_outputs = frozenset({"key"})
    replace_on = frozenset({"name"})
    defaults: ClassVar[dict[str, Any]] = {"size": 1}
    auto_name = AutoName("name", 20)

    def __init__(self) -> None:
        self.waiting = threading.Event()

    def check(self, ctx: Context[Properties], inputs: Properties, old_inputs: Properties) -> Properties:
        if inputs["size"] is not UNKNOWN and inputs["size"] == 0:
            raise CheckFailed([("size", f"is 0 beside {inputs.get('password')}")])
        return inputs

    def create(self, ctx: Context[Properties], inputs: Properties) -> tuple[str, Properties]:
        if inputs.get("wait"):
            self.waiting.set()
            ctx.wait(30)
        if inputs["size"] == 13:
            raise InitializationFailed("id", {"key": "k"}, [f"no {inputs['password']}", "really"])
        if inputs["size"] == 14:
            raise ProviderError(f"no, {inputs['password']}", grpc.StatusCode.ALREADY_EXISTS)
        if inputs["size"] == 15:
            raise RuntimeError(f"bug with {inputs['password']}")
        return f"{ctx.client['region']}/{ctx.name}", {"arn": "arn:1", "key": "k"}

    def read(
        self, ctx: Context[Properties], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        return None if id == "gone" else (id, {"name": "n", "size": 2, **inputs}, {"key": "k"})

    def update(
        self, ctx: Context[Properties], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        return {}

    def delete(self, ctx: Context[Properties], id: str, state: Properties) -> None:
        if state["size"] == 14:
            raise ProviderError("can't go")


class Where(Function[Properties]):
    token = "test:index:where"

    def invoke(self, ctx: Context[Properties], args: Properties) -> Properties:
        if "nowhere" in args:
            raise CheckFailed([("nowhere", "is nowhere")])
        return {"region": ctx.client["region"], "echo": args.get("echo", "")}


def _check_config(config: Properties) -> Properties:
    if config.get("region") == "atlantis":
        raise CheckFailed([("region", "sank")])
    return config


def provider(handler: Thing | None = None) -> Provider[Properties]:
    return Provider(
        "test",
        "1.0.0",
        [handler or Thing()],
        [Where()],
        configure=dict,
        check_config=_check_config,
        replace_on_config=frozenset({"region"}),
    )


@pytest.fixture
def client() -> Iterator[ProviderClient]:
    with serving(provider(), {"region": "here"}) as found:
        yield found


def test_the_life_of_a_resource_and_its_secrets(client: ProviderClient) -> None:
    secret = frozenset({("password",)})
    made = client.create(THING, "it", {"size": 2, "password": "hunter2"}, secrets=secret)
    assert made.id == "here/it"
    assert made.secret_inputs == secret
    assert made.secret_outputs == {("password",), ("key",)}
    plain = client.update(made, {"size": 3, "password": "hunter2", "name": made.inputs["name"]})
    assert plain.secret_outputs == {("key",)}, "the new program says that it is no secret"
    read = client.refresh(made)
    assert read is not None
    assert read.secret_outputs == {("password",), ("key",)}
    client.delete(made)


def test_a_secret_that_becomes_plain_and_back_is_no_difference(client: ProviderClient) -> None:
    made = client.create(THING, "it", {"size": 2, "password": "x"}, secrets=frozenset({("password",)}))
    assert client.plan(made, {"size": 2, "password": "x"}).changes == {}
    assert client.plan(made, {"size": 2, "password": "y"}).changes == {"password": "UPDATE"}
    assert client.plan(made, {"size": 2, "password": "x", "name": "other"}).changes == {"name": "UPDATE_REPLACE"}
    assert client.plan(made, {"size": UNKNOWN, "password": "x"}).changes == {"size": "UPDATE"}


def test_a_preview_reaches_no_handler_and_an_update_no_unknown(client: ProviderClient) -> None:
    planned = client.create(THING, "it", {"size": UNKNOWN, "name": "n"}, preview=True)
    assert (planned.id, planned.outputs["arn"], planned.outputs["key"]) == ("", UNKNOWN, UNKNOWN)
    assert ("key",) in planned.secret_outputs
    with pytest.raises(RpcFailed, match="still unknown outside of a preview: password, size"):
        client.create(THING, "it", {"size": UNKNOWN, "password": {"x": [UNKNOWN]}})


def test_check_failures_name_their_property_and_hide_secrets(client: ProviderClient) -> None:
    with pytest.raises(CheckFailed) as refused:
        client.check(THING, "it", {"size": 0, "password": "hunter2"}, secrets=frozenset({("password",)}))
    assert refused.value.failures == [("size", "is 0 beside [secret]")]
    with pytest.raises(CheckFailed) as refused:
        client.check(THING, "it", {"sise": 1})
    assert [name for name, _ in refused.value.failures] == ["sise", "size"]


@pytest.mark.parametrize(
    ("size", "code", "message"),
    [
        (14, grpc.StatusCode.ALREADY_EXISTS, "no, [secret]"),
        (15, grpc.StatusCode.UNKNOWN, "RuntimeError: bug with [secret]"),
    ],
)
def test_errors_carry_their_code_and_no_secret(
    client: ProviderClient, size: int, code: grpc.StatusCode, message: str
) -> None:
    with pytest.raises(RpcFailed) as failed:
        client.create(THING, "it", {"size": size, "password": "hunter2"}, secrets=frozenset({("password",)}))
    assert (failed.value.code, failed.value.message, failed.value.partial) == (code, message, None)


def test_a_resource_that_is_half_made_keeps_its_state(client: ProviderClient) -> None:
    with pytest.raises(RpcFailed) as failed:
        client.create(THING, "it", {"size": 13, "password": "hunter2"}, secrets=frozenset({("password",)}))
    partial = failed.value.partial
    assert partial is not None
    assert (partial.id, list(partial.reasons)) == ("id", ["no [secret]", "really"])
    assert partial.properties.fields["size"].number_value == 13
    assert partial.properties.fields["key"].struct_value.fields["value"].string_value == "k"


def test_a_resource_that_is_gone_reads_as_gone_and_an_import_takes_all(client: ProviderClient) -> None:
    assert client.import_(THING, "it", "gone") is None
    found = client.import_(THING, "it", "id")
    assert found is not None
    assert found.inputs == {"name": "n", "size": 2}
    assert found.secret_outputs == {("key",)}


def test_a_delete_knows_inputs_and_outputs(client: ProviderClient) -> None:
    made = client.create(THING, "it", {"size": 2})
    broken = type(made)(THING, "it", made.id, {**made.inputs, "size": 14}, {"arn": "a"})
    with pytest.raises(RpcFailed, match="can't go"):
        client.delete(broken)


def test_types_and_functions_without_handler_are_told(client: ProviderClient) -> None:
    with pytest.raises(RpcFailed) as failed:
        client.create("test:index:Other", "it", {})
    assert failed.value.code is grpc.StatusCode.UNIMPLEMENTED
    with pytest.raises(RpcFailed, match="function test:index:other"):
        client.invoke("test:index:other")
    assert client.invoke("test:index:where", {"echo": "e"}) == {"region": "here", "echo": "e"}
    with pytest.raises(CheckFailed, match="nowhere: is nowhere"):
        client.invoke("test:index:where", {"nowhere": True})


def test_connections_of_one_server_keep_their_own_configuration() -> None:
    server, port = start(provider())
    here, there = ProviderClient(port), ProviderClient(port)
    try:
        here.configure({"region": "here"})
        there.configure({"region": "there"})
        assert here.create(THING, "it", {"size": 2}).id == "here/it"
        assert there.create(THING, "it", {"size": 2}).id == "there/it"
        stranger = ProviderClient(port)
        with pytest.raises(RpcFailed, match="does not know the configuration of this connection"):
            stranger.create(THING, "it", {"size": 2})
        stranger.close()
    finally:
        here.close()
        there.close()
        server.stop(0).wait()


def test_a_reconnected_engine_is_served_while_there_is_no_doubt(client: ProviderClient) -> None:
    client.create(THING, "it", {"size": 2})
    server, port = start(provider())
    first, again = ProviderClient(port), ProviderClient(port)
    try:
        first.configure({"region": "here"})
        assert again.create(THING, "it", {"size": 2}).id == "here/it"
    finally:
        first.close()
        again.close()
        server.stop(0).wait()


def test_a_wrong_configuration_is_refused_by_property() -> None:
    with pytest.raises(CheckFailed, match="region: sank"), serving(provider(), {"region": "atlantis"}):
        pass


def test_configuration_arrives_decoded() -> None:
    assert decode_config({"tags": '{"a": 1}', "list": "[1]", "text": "{broken", "port": "5432", "version": "1"}) == {
        **{"tags": {"a": 1}, "list": [1]},
        **{"text": "{broken", "port": "5432"},
    }


def test_cancel_ends_the_calls_of_its_own_connection_only() -> None:
    handler = Thing()
    server, port = start(provider(handler))
    mine, other = ProviderClient(port), ProviderClient(port)
    failures: list[RpcFailed] = []

    def create() -> None:
        try:
            mine.create(THING, "slow", {"size": 2, "wait": True})
        except RpcFailed as error:
            failures.append(error)

    try:
        mine.configure({"region": "here"})
        other.configure({"region": "here"})
        thread = threading.Thread(target=create)
        thread.start()
        assert handler.waiting.wait(10)
        mine.cancel()
        thread.join(10)
        assert [error.code for error in failures] == [grpc.StatusCode.CANCELLED]
        assert "slow: cancelled while waiting" in failures[0].message
        with pytest.raises(RpcFailed, match="cancelled before anything was changed"):
            mine.create(THING, "next", {"size": 2})
        assert other.create(THING, "it", {"size": 2}).id
    finally:
        mine.close()
        other.close()
        server.stop(0).wait()
