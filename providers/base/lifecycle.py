"""The life of a resource in plain values: what the gRPC service and the mocks of unit tests have in common."""

from __future__ import annotations

import hashlib
import secrets as random_source
from dataclasses import dataclass
from typing import Any

import grpc

from providers.base.diff import DEFAULTED, Verdict, diff, drifted_inputs
from providers.base.errors import CheckFailed, InitializationFailed, ProviderError
from providers.base.handler import AutoName, Context, Function, Handler, Provider
from providers.base.values import UNKNOWN, Properties


@dataclass(frozen=True)
class Naming:
    """The engine's wish for an automatic name: its proposal, whether it is binding, or whether there may be none."""

    proposed: str = ""
    enforced: bool = False
    disabled: bool = False
    seed: bytes = b""


def find_handler(provider: Provider[Any], token: str) -> Handler[Any]:
    handler = provider.handlers.get(token)
    if handler is None:
        raise ProviderError(_not_implemented(provider, "resource type", token), grpc.StatusCode.UNIMPLEMENTED)
    return handler


def find_function(provider: Provider[Any], token: str) -> Function[Any]:
    function = provider.functions.get(token)
    if function is None:
        raise ProviderError(_not_implemented(provider, "function", token), grpc.StatusCode.UNIMPLEMENTED)
    return function


def _not_implemented(provider: Provider[Any], kind: str, token: str) -> str:
    known = provider.handlers if kind == "resource type" else provider.functions
    service = token.split("/", 1)[0]
    near = sorted(t for t in known if t.split("/", 1)[0] == service) or sorted(known)
    hint = f" {provider.unsupported_hint}" if provider.unsupported_hint else ""
    return (
        f"the provider {provider.name!r} {provider.version} does not implement the {kind} {token}.{hint} "
        f"Implemented: {', '.join(near)}"
    )


def check(
    handler: Handler[Any], ctx: Context[Any], news: Properties, olds: Properties, naming: Naming | None = None
) -> Properties:
    """Checked, named inputs; raises :class:`CheckFailed` with every failure that can be told at once."""
    inputs = {k: v for k, v in news.items() if k != DEFAULTED and k not in handler.derived_inputs}
    failures = [
        (key, f"is not supported for {handler.token}. Supported: {', '.join(sorted(handler.inputs))}")
        for key in inputs
        if key not in handler.inputs and not key.startswith("__")
    ]
    failures += [(key, "is required") for key in sorted(handler.required) if key not in inputs]
    if failures:
        raise CheckFailed(failures)
    if handler.auto_name is not None:
        inputs = _named(handler.auto_name, ctx.name, inputs, olds, naming or Naming())
    return handler.check(ctx, inputs, olds)


def _named(spec: AutoName, name: str, inputs: Properties, olds: Properties, naming: Naming) -> Properties:
    if spec.property in inputs:
        return inputs
    if olds.get(spec.property) is not None and spec.property in olds.get(DEFAULTED, ()):
        return {**inputs, spec.property: olds[spec.property], DEFAULTED: [spec.property]}
    prefix = inputs.get(spec.prefix_property) if spec.prefix_property else None
    if prefix is UNKNOWN:
        return {**inputs, spec.property: UNKNOWN, DEFAULTED: [spec.property]}
    if naming.disabled and prefix is None:
        raise CheckFailed([(spec.property, "is required: automatic naming is disabled for this resource")])
    if naming.enforced or (naming.proposed and prefix is None and len(naming.proposed) <= spec.max_length):
        chosen = naming.proposed if naming.enforced else _legal(spec, naming.proposed)
    else:
        chosen = _random_name(spec, prefix if prefix is not None else name + spec.separator, naming.seed)
    return {**inputs, spec.property: chosen, DEFAULTED: [spec.property]}


def _legal(spec: AutoName, text: str) -> str:
    text = text.lower() if spec.lower else text
    return "".join(c if c in spec.allowed else "-" for c in text)


def _random_name(spec: AutoName, prefix: str, seed: bytes) -> str:
    suffix = (hashlib.sha256(seed).hexdigest() if seed else random_source.token_hex(8))[:7]
    return _legal(spec, prefix)[: spec.max_length - len(suffix) - len(spec.suffix)] + suffix + spec.suffix


def preview_create(handler: Handler[Any], ctx: Context[Any], inputs: Properties) -> Properties:
    unknown = dict.fromkeys(handler.outputs - inputs.keys(), UNKNOWN)
    return _outputs(handler, inputs, {**unknown, **handler.planned(ctx, inputs, None)})


def create(handler: Handler[Any], ctx: Context[Any], inputs: Properties) -> tuple[str, Properties]:
    try:
        id, outputs = handler.create(ctx, inputs)
    except InitializationFailed as failed:
        raise InitializationFailed(failed.id, _outputs(handler, inputs, failed.outputs), failed.reasons) from failed
    return id, _outputs(handler, inputs, outputs)


def preview_update(
    handler: Handler[Any], ctx: Context[Any], state: Properties, old_inputs: Properties, inputs: Properties
) -> Properties:
    kept = _kept(state, old_inputs, inputs)
    unknown = dict.fromkeys(handler.changed_by_update - inputs.keys(), UNKNOWN)
    return _outputs(handler, inputs, {**kept, **unknown, **handler.planned(ctx, inputs, state)})


def update(
    handler: Handler[Any],
    ctx: Context[Any],
    id: str,
    state: Properties,
    old_inputs: Properties,
    inputs: Properties,
) -> Properties:
    kept = _kept(state, old_inputs, inputs)
    try:
        outputs = handler.update(ctx, id, state, old_inputs, inputs)
    except InitializationFailed as failed:
        merged = _outputs(handler, inputs, {**kept, **failed.outputs})
        raise InitializationFailed(failed.id or id, merged, failed.reasons) from failed
    return _outputs(handler, inputs, {**kept, **outputs})


def _kept(state: Properties, old_inputs: Properties, inputs: Properties) -> Properties:
    """The computed outputs. What the old program set and the new one does not is no output any more."""
    return {key: value for key, value in state.items() if key not in old_inputs and key not in inputs}


def read(
    handler: Handler[Any], ctx: Context[Any], id: str, inputs: Properties, state: Properties
) -> tuple[str, Properties, Properties] | None:
    """(id, inputs, outputs) of the live resource, or None. The inputs keep the program's spelling where they can."""
    live = handler.read(ctx, id, inputs, state)
    if live is None:
        return None
    live_id, live_inputs, outputs = live
    recorded = drifted_inputs(handler, inputs, {k: v for k, v in live_inputs.items() if v is not None})
    return live_id, recorded, _outputs(handler, {**live_inputs, **recorded}, outputs)


def verdict(handler: Handler[Any], old_inputs: Properties, inputs: Properties) -> Verdict:
    return diff(handler, old_inputs, inputs)


def _outputs(handler: Handler[Any], inputs: Properties, outputs: Properties) -> Properties:
    merged = {key: value for key, value in handler.defaults.items() if value is not None}
    merged.update((key, value) for key, value in inputs.items() if not key.startswith("__"))
    merged.update(outputs)
    return merged
