"""The AWS provider without an engine: `pulumi.runtime.set_mocks(AwsMocks())` in tests of components.

Every resource of a program is checked and created by the handlers of the local cloud, in moto: what AWS would refuse
fails the test, and boto3 shows afterwards what a program made.
"""

from __future__ import annotations

import itertools
from typing import Any

from pulumi.runtime import mocks, rpc

from localcloud.aws.client import Aws, check_config, configure
from localcloud.aws.registry import aws_provider
from providers.base import Context, Properties, lifecycle
from providers.base.server import decode_config

_PROVIDER = "pulumi:providers:aws"


class AwsMocks(mocks.Mocks):
    """Answers for the package ``aws``; ``others`` answers for the rest.

    Use it inside of ``moto.mock_aws()``, or give it the ``endpoint`` of a moto server. Nothing else is accepted: it
    would create resources in a real account. RDS instances are moto's records, without a server behind them.

    :raises RuntimeError: when neither is there.
    """

    def __init__(
        self, region: str = "us-east-1", *, endpoint: str | None = None, others: mocks.Mocks | None = None
    ) -> None:
        if endpoint is None and not _moto_is_on():
            raise RuntimeError(
                "AwsMocks needs moto: enter moto.mock_aws() first, or give the endpoint of a moto server"
            )
        self._package = aws_provider(endpoint)
        self._endpoint = endpoint
        self._others = others
        self._default = configure({"region": region}, endpoint)
        self._clients: dict[str, Aws] = {}
        self._numbers = itertools.count(1)

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        """Check and create; for a resource that is imported or read, read it.

        :raises CheckFailed: what AWS would refuse, by property.
        """
        inputs = _plain(args.inputs)
        if args.typ == _PROVIDER:
            return self._provider(args.name, inputs)
        if not args.typ.startswith("aws:"):
            return self._others.new_resource(args) if self._others else ("", args.inputs)
        handler = lifecycle.find_handler(self._package, args.typ)
        ctx: Context[Aws] = Context(client=self._client(args.provider), name=args.name, type=args.typ)
        if args.resource_id:
            found = lifecycle.read(handler, ctx, args.resource_id, {}, {})
            if found is None:
                raise LookupError(f"{args.typ} {args.name}: there is no {args.resource_id}")
            return found[0], found[2]
        return lifecycle.create(handler, ctx, lifecycle.check(handler, ctx, inputs, {}))

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        if not args.token.startswith("aws:"):
            return self._others.call(args) if self._others else ({}, None)
        function = lifecycle.find_function(self._package, args.token)
        ctx: Context[Aws] = Context(client=self._client(args.provider))
        return function.invoke(ctx, _plain(args.args)), []

    def _provider(self, name: str, inputs: Properties) -> tuple[str, Properties]:
        id = f"{name}-{next(self._numbers)}"
        self._clients[id] = configure(check_config(decode_config(inputs)), self._endpoint)
        return id, inputs

    def _client(self, reference: str | None) -> Aws:
        """The provider that ``<urn>::<id>`` names; without one the default, which a real program may not have."""
        return self._clients[reference.rpartition("::")[2]] if reference else self._default


def _moto_is_on() -> bool:
    from moto.core.models import botocore_stubber

    return bool(botocore_stubber.enabled)


def _plain(value: Any) -> Any:
    """Without the marks of secrets and without nulls, numbers as the handlers know them."""
    value = rpc.unwrap_rpc_secret(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
