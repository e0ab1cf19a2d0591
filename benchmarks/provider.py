"""What the local AWS provider costs: a silo tenant through its gRPC interface, and its API calls by bare boto3.

Both run on one moto server, in turns. The provider is a process of its own, as in the local cloud, and is asked for
Check and Create of every resource, as by an engine. The baseline makes exactly the API calls that the provider makes,
for another tenant. For comparison, only those of them are made that change something: without the look-ups by which
the provider refuses what AWS would refuse.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config
from pulumi.runtime import mocks

from benchmarks.report import Report, Side, main, ratio
from components.spec import Environment
from components.tiers import Tier
from localcloud.aws.client import Aws, configure
from localcloud.aws.registry import aws_provider
from providers.base import Properties
from providers.base.testing import ProviderClient, Resource, serving
from stacks import platform, tenant
from tests.unit.components.recording import Cloud, platform_spec, run, tenant_spec

BAR = 1.5
ROUNDS = 15
QUICK_ROUNDS = 3
REGION = "eu-central-1"
SERVICES = ("kms", "s3", "iam", "ec2", "logs", "cloudwatch", "sns", "secretsmanager", "rds", "sts")
_READS = re.compile(r"Get|Describe|List|Head")
CONFIG = {"region": REGION, "accessKey": "test", "secretKey": "test"}


@dataclass
class Call:
    service: str
    operation: str  #: of the API, as ``CreateKey``
    parameters: dict[str, Any]
    answer: dict[str, Any] = field(default_factory=dict)


class Recorder:
    """The API calls of this process's cached clients, with their answers."""

    def __init__(self, aws: Aws) -> None:
        self.calls: list[Call] = []
        for service in SERVICES:
            events = aws.client(service).meta.events
            events.register(f"provide-client-params.{service}", self._begin)
            events.register(f"after-call.{service}", self._end)

    def _begin(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        service = model.service_model.endpoint_prefix
        self.calls.append(Call(_SERVICE_OF.get(service, service), model.name, dict(params)))

    def _end(self, parsed: dict[str, Any], **_: Any) -> None:
        self.calls[-1].answer = parsed


_SERVICE_OF = {"monitoring": "cloudwatch"}


class Driven(mocks.Mocks):
    """Creates the resources of a program through the provider, one after the other, and keeps what it created."""

    def __init__(self, client: ProviderClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        #: type, name and inputs as the program wrote them, and what came of them
        self.resources: list[tuple[str, str, Properties, Resource]] = []

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        if not args.typ.startswith("aws:"):
            return Cloud().new_resource(args)
        with self._lock:
            made = self._client.create(args.typ, args.name, args.inputs)
            self.resources.append((args.typ, args.name, args.inputs, made))
        return made.id, made.outputs

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        return self._client.invoke(args.token, args.args), []


class Replay:
    """Makes recorded calls again for another tenant, by clients as anybody would make them."""

    def __init__(self, endpoint: str) -> None:
        session = boto3.session.Session("test", "test", region_name=REGION)
        config = Config(s3={"addressing_style": "path"})
        self._clients = {
            service: session.client(service, endpoint_url=endpoint, config=config)  # type: ignore[call-overload]
            for service in SERVICES
        }

    def run(self, calls: list[Call], renamed: dict[str, str]) -> float:
        """Seconds that the calls took. ``renamed``: texts of the recorded calls and what stands for them now."""
        known, seconds = dict(renamed), 0.0
        for call in calls:
            client = self._clients[call.service]
            method = getattr(client, _method(client, call.operation))
            parameters = _translated(call.parameters, known)
            started = time.perf_counter()
            try:
                answer = method(**parameters)
            except client.exceptions.ClientError as error:
                answer = error.response
            seconds += time.perf_counter() - started
            if ("Error" in answer) != ("Error" in call.answer):
                raise RuntimeError(f"{call.operation} ended otherwise than it did for the provider: {answer}")
            _learn(call.answer, answer, known)
        return seconds


def create_again(client: ProviderClient, recorded: Driven, renamed: dict[str, str]) -> float:
    """Seconds that it takes to create the resources through the provider, under other names."""
    known, seconds = dict(renamed), 0.0
    for type_, name, inputs, before in recorded.resources:
        translated = _translated(inputs, known)
        started = time.perf_counter()
        made = client.create(type_, name, translated)
        seconds += time.perf_counter() - started
        _learn({**before.outputs, "id": before.id}, {**made.outputs, "id": made.id}, known)
    return seconds


def _method(client: Any, operation: str) -> str:
    return next(str(name) for name, api in client.meta.method_to_api_mapping.items() if api == operation)


def _translated(value: Any, known: dict[str, str]) -> Any:
    if isinstance(value, str):
        for old in sorted(known, key=len, reverse=True):
            value = value.replace(old, known[old])
        return value
    if isinstance(value, dict):
        return {key: _translated(item, known) for key, item in value.items()}
    if isinstance(value, list):
        return [_translated(item, known) for item in value]
    return value


_IDENTIFIERS = re.compile(r"[A-Za-z]*(?:id|Id|ID|arn|Arn|ARN)s?")


def _learn(old: Any, new: Any, known: dict[str, str], key: str = "") -> None:
    """Ids that the cloud made up: the recorded one, and the present one in its place."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in old.keys() & new.keys():
            _learn(old[name], new[name], known, name)
    elif isinstance(old, list) and isinstance(new, list):
        for before, after in zip(old, new, strict=False):
            _learn(before, after, known, key)
    elif isinstance(old, str) and isinstance(new, str) and old != new and _IDENTIFIERS.fullmatch(key):
        known[old] = new


@contextmanager
def service(module: str, *arguments: str) -> Iterator[int]:
    """A service of the local cloud as a process of its own; the port that it prints."""
    command = [sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline().rpartition(":")[2])
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def record(endpoint: str, tenant_id: str) -> tuple[Driven, list[Call]]:
    """The resources of a silo tenant's program, created on a platform of their own, and the API calls they took."""
    recorder = Recorder(configure(CONFIG, endpoint))
    with serving(aws_provider(endpoint), CONFIG) as client:
        spec = platform_spec(environment=Environment.DEVELOPMENT)
        shared = run(lambda: platform.program(spec), stack_name=spec.stack_name, cloud=Driven(client)).result
        recorder.calls.clear()
        silo = tenant_spec(Tier.SILO, environment=Environment.DEVELOPMENT, tenant_id=tenant_id)
        driven = Driven(client)
        run(lambda: tenant.program(silo, shared), stack_name=silo.stack_name, cloud=driven)
    return driven, recorder.calls


def measure(arguments: argparse.Namespace, report: Report) -> None:
    rounds = QUICK_ROUNDS if arguments.quick else ROUNDS
    samples: dict[str, list[float]] = {"provider": [], "same calls": [], "calls that change": []}
    with service("localcloud.moto") as moto:
        endpoint, recorded = f"http://127.0.0.1:{moto}", "tenant-000-a"
        resources, calls = record(endpoint, recorded)
        changing = [call for call in calls if not _READS.match(call.operation)]
        replay = Replay(endpoint)
        with service("localcloud.aws", "--endpoint", endpoint) as port:
            client = ProviderClient(port)
            client.configure(CONFIG)
            for number in range(1, rounds + 2):
                name = f"tenant-{number:03d}"
                provided = create_again(client, resources, {recorded: f"{name}-a"})
                same = replay.run(calls, {recorded: f"{name}-b"})
                fewer = replay.run(changing, {recorded: f"{name}-c"})
                if number > 1:  # botocore and moto load code on first use
                    for values, value in zip(samples.values(), (provided, same, fewer), strict=True):
                        values.append(value * 1000)
            client.close()
    provider, baseline, fewest = (Side.of(name, values, "ms") for name, values in samples.items())
    report.bars.append(ratio("a silo tenant through the provider, against the same API calls", provider, baseline, BAR))
    report.notes["AWS resources"] = len(resources.resources)
    report.notes["API calls"] = f"{len(calls)}, {len(changing)} of them change something"
    report.notes["against the calls that change something alone"] = ratio("", provider, fewest, BAR).value


if __name__ == "__main__":
    sys.exit(main("provider", __doc__, measure))
