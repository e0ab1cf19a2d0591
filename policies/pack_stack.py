"""Which stack a policy pack is judging, what its configuration says, and what was asked for each resource.

The engine tells a pack in ``ConfigureStack``. pulumi-policy 1.21.0 keeps of that call the stack's tags only: name,
project and configuration reach it by environment variables, which the engine sets for packs that no language host
runs. Without this a pack would take every stack for somebody else's.

A stack policy is shown outputs. In a preview a provider that can't be configured yet, as that of a database which is
still to be made, gives its resources none at all: what was asked for is remembered from the calls of ``Analyze``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
from google.protobuf import json_format
from pulumi_policy import deserialize
from pulumi_policy.policy import _PolicyAnalyzerServicer
from pulumi_policy.proxy import unknown_checking_proxy

from policies.facts import PLATFORM, SPEC, of_config
from policies.model import Facts

_told: list[Facts] = []
_asked: dict[str, Any] = {}


def listen() -> None:
    """To the engine's call. Before the ``PolicyPack`` is constructed, which serves at once."""
    keep_tags = _PolicyAnalyzerServicer.ConfigureStack

    def configure_stack(self: Any, request: Any, context: Any) -> Any:
        _told[:] = [_of(request.stack, request.project, dict(request.config))]
        return keep_tags(self, request, context)

    analyze_one: Any = _PolicyAnalyzerServicer.Analyze  # it has no types

    def analyze(self: Any, request: Any, context: Any) -> Any:
        _asked[request.urn] = request.properties
        return analyze_one(self, request, context)

    servicer: Any = _PolicyAnalyzerServicer
    servicer.ConfigureStack = configure_stack
    servicer.Analyze = analyze


def inputs(urn: str) -> Any:
    """What the program asks of a resource, in the form in which policies are shown properties; {} if it wasn't seen."""
    asked = _asked.get(urn)
    if asked is None:
        return {}
    read: Any = deserialize.deserialize_properties
    wrap: Any = unknown_checking_proxy
    return wrap(read(json_format.MessageToDict(asked)))


def facts() -> Facts:
    """Of the stack that is judged; of an engine that makes no such call, by its environment variables."""
    if not _told:
        config = pulumi.Config("tenantry")
        known = {SPEC: config.get("spec"), PLATFORM: config.get("platform")}
        _told.append(_of(pulumi.get_stack(), pulumi.get_project(), known))
    return _told[0]


def _of(stack: str, project: str, config: Mapping[str, str | None]) -> Facts:
    return of_config(stack, project, {key: text for key in (SPEC, PLATFORM) if (text := config.get(key)) is not None})
