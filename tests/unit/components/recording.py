"""Runs a program without an engine and records what it asked the engine for."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pulumi
from pulumi.runtime import mocks, rpc, stack

from components.account import Account
from components.spec import Access, Environment, InstanceSpec, PlatformOutputs, PlatformSpec, TenantSpec
from components.tiers import TIERS, Tier

ACCOUNT = Account("123456789012", "eu-central-1")
BROKER = "arn:aws:iam::123456789012:role/broker"

T = TypeVar("T")


@dataclass
class Recorded:
    """One resource as the program registered it, and the outputs that the cloud answered."""

    type: str
    name: str
    urn: str
    parent: str
    inputs: dict[str, Any]
    custom: bool
    protect: bool
    provider: str
    dependencies: frozenset[str]
    property_dependencies: dict[str, frozenset[str]]
    deleted_with: str
    ignore_changes: tuple[str, ...]
    outputs: dict[str, Any] = field(default_factory=dict)

    def policy(self, key: str = "policy") -> dict[str, Any]:
        """The JSON document in input ``key``."""
        loaded: dict[str, Any] = json.loads(self.inputs[key])
        return loaded


class Cloud(mocks.Mocks):
    """Answers what the cloud computes: ARNs, ids, addresses."""

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        answers: dict[str, dict[str, Any]] = {
            "aws:index/getCallerIdentity:getCallerIdentity": {"accountId": ACCOUNT.id, "arn": BROKER, "userId": "U"},
            "aws:index/getAvailabilityZones:getAvailabilityZones": {
                "names": ["eu-central-1c", "eu-central-1a", "eu-central-1b"]
            },
        }
        return answers[args.token], []

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        inputs = dict(args.inputs)
        name = str(
            inputs.get("name")
            or inputs.get("bucket")
            or inputs.get("identifier")
            or inputs.get("tenantId")
            or args.name
        )
        digest = hashlib.sha256(f"{args.typ}{args.name}".encode()).hexdigest()
        answers: dict[str, dict[str, Any]] = {
            "aws:kms/key:Key": {"arn": ACCOUNT.arn("kms", f"key/{digest[:36]}"), "keyId": digest[:36]},
            "aws:s3/bucket:Bucket": {"arn": ACCOUNT.bucket_arn(name)},
            "aws:ec2/securityGroup:SecurityGroup": {"arn": ACCOUNT.arn("ec2", f"security-group/id-{digest[:12]}")},
            "aws:iam/role:Role": {"arn": ACCOUNT.role_arn(str(inputs.get("path")), name)},
            "aws:iam/policy:Policy": {"arn": f"arn:aws:iam::{ACCOUNT.id}:policy/tenantry/{name}"},
            "aws:secretsmanager/secret:Secret": {"arn": ACCOUNT.arn("secretsmanager", f"secret:{name}-{digest[:6]}")},
            "aws:cloudwatch/eventRule:EventRule": {"arn": ACCOUNT.arn("events", f"rule/{name}")},
            "aws:sns/topic:Topic": {"arn": ACCOUNT.arn("sns", name)},
            "aws:cloudwatch/logGroup:LogGroup": {"arn": ACCOUNT.arn("logs", f"log-group:{name}")},
            "aws:ec2/vpcEndpoint:VpcEndpoint": {"prefixListId": "pl-0123456789abcdef0"},
            "aws:rds/instance:Instance": {
                "address": f"{name}.abc.eu-central-1.rds.amazonaws.com",
                "port": 5432,
                "masterUserSecrets": [{"secretArn": ACCOUNT.arn("secretsmanager", f"secret:rds!db-{digest[:12]}")}],
            },
            "tenantry-postgres:index:AppSchema": {"version": len(inputs.get("migrations", ()))},
            "tenantry-postgres:index:Role": {"secretVersionId": "v1"},
        }
        return (name if args.typ == "aws:s3/bucket:Bucket" else f"id-{digest[:12]}"), {
            **inputs,
            **answers.get(args.typ, {}),
        }


class PreviewedCloud(Cloud):
    """Answers as a preview of a stack's creation does: with what the program asked for, and nothing more."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        return "", dict(args.inputs)


class _Monitor(mocks.MockMonitor):
    def __init__(self, cloud: mocks.Mocks) -> None:
        super().__init__(cloud)
        self.recorded: list[Recorded] = []
        self.registered_outputs: dict[str, dict[str, Any]] = {}

    def RegisterResource(self, request: Any) -> Any:
        response = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        if request.type != "pulumi:pulumi:Stack":
            dependencies = set(request.dependencies)
            for each in request.propertyDependencies.values():
                dependencies.update(each.urns)
            self.recorded.append(
                Recorded(
                    type=request.type,
                    name=request.name,
                    urn=response.urn,
                    parent=request.parent,
                    inputs=rpc.deserialize_properties(request.object),
                    custom=request.custom,
                    protect=request.protect,
                    provider=request.provider or dict(request.providers).get(request.type.split(":")[0], ""),
                    dependencies=frozenset(dependencies),
                    property_dependencies={
                        name: frozenset(each.urns) for name, each in request.propertyDependencies.items() if each.urns
                    },
                    deleted_with=request.deletedWith,
                    ignore_changes=tuple(request.ignoreChanges),
                    outputs=dict(self.resources[response.urn].state),
                )
            )
        return response

    def RegisterResourceOutputs(self, request: Any) -> Any:
        self.registered_outputs[request.urn] = rpc.deserialize_properties(request.outputs)
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]


@dataclass
class Run:
    """What a program did. ``result`` is what it returned, with an Output's value taken out."""

    resources: list[Recorded]
    outputs: dict[str, dict[str, Any]]
    result: Any

    @property
    def exports(self) -> dict[str, Any]:
        (root,) = [urn for urn in self.outputs if "::pulumi:pulumi:Stack::" in urn]
        return self.outputs[root]

    @property
    def custom(self) -> list[Recorded]:
        return [each for each in self.resources if each.custom and not each.type.startswith("pulumi:providers:")]

    def of_type(self, type_: str) -> list[Recorded]:
        """By full token, or by its last part: ``Bucket`` of ``aws:s3/bucket:Bucket``."""
        return [each for each in self.custom if each.type == type_ or each.type.split(":")[-1] == type_]

    def one(self, type_: str) -> Recorded:
        found = self.of_type(type_)
        assert len(found) == 1, f"{type_}: {[each.name for each in found]}"
        return found[0]

    def all_dependencies(self, resource: Recorded) -> set[str]:
        """URNs of all that must stand before ``resource``, over any number of steps."""
        by_urn = {each.urn: each for each in self.resources}
        found: set[str] = set()
        waiting = set(resource.dependencies)
        while waiting:
            urn = waiting.pop()
            if urn in found or urn not in by_urn:
                continue
            found.add(urn)
            waiting |= by_urn[urn].dependencies
        return found


def run(
    program: Callable[[], Any],
    *,
    stack_name: str = "acme",
    config: dict[str, str] | None = None,
    cloud: mocks.Mocks | None = None,
    preview: bool = False,
) -> Run:
    """Run ``program`` as the program of a stack; raises what it raises. ``cloud`` answers instead of :class:`Cloud`.

    In a ``preview`` inputs that the update alone will tell are :class:`pulumi.output.Unknown`.
    """
    cloud = cloud or (PreviewedCloud() if preview else Cloud())
    return copy_context().run(_run, program, stack_name, config or {}, cloud, preview)


def _run(program: Callable[[], Any], stack_name: str, config: dict[str, str], cloud: mocks.Mocks, preview: bool) -> Run:
    monitor = _Monitor(cloud)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    # The SDK's mocks give every thread they run in an event loop and close none.
    loops: list[asyncio.AbstractEventLoop] = []

    def with_loop() -> None:
        loops.append(asyncio.new_event_loop())
        asyncio.set_event_loop(loops[-1])

    executor = ThreadPoolExecutor(2, initializer=with_loop)
    loop.set_default_executor(executor)
    result: list[Any] = []
    try:
        pulumi.runtime.reset_options()
        pulumi.runtime.set_all_config(config)
        features = set(monitor.GetDeploymentInfo(None).supportedFeatures)  # type: ignore[no-untyped-call]
        pulumi.runtime.configure(
            mocks.MockSettings(  # type: ignore[no-untyped-call]
                monitor=monitor,
                monitor_features=features,
                engine=mocks.MockEngine(None),
                project="tenantry",
                stack=stack_name,
                dry_run=preview,
                organization="organization",
            )
        )
        loop.run_until_complete(stack.run_in_stack(lambda: result.append(program())))
        value = result[0]
        outputs = getattr(value, "outputs", None)
        if isinstance(outputs, pulumi.Output):
            value = loop.run_until_complete(outputs.future())
    finally:
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        executor.shutdown()
        for each in [loop, *loops]:
            each.close()
        asyncio.set_event_loop(None)
    return Run(monitor.recorded, monitor.registered_outputs, value)


def tenant_spec(tier: Tier | str = Tier.SILO, **changes: Any) -> TenantSpec:
    tier = Tier(tier)
    defaults: dict[str, Any] = {
        "installation": "demo",
        "environment": Environment.PRODUCTION,
        "tenant_id": "acme",
        "tier": tier,
        "plan": "enterprise",
        "instance": InstanceSpec() if TIERS[tier].own_instance else None,
        "access": Access.FULL,
    }
    return TenantSpec.model_validate({**defaults, **changes})


def platform_spec(**changes: Any) -> PlatformSpec:
    return PlatformSpec.model_validate(
        {"installation": "demo", "environment": Environment.PRODUCTION, "region": ACCOUNT.region, **changes}
    )


PLATFORM = PlatformOutputs.model_validate(
    {
        "cell": "default",
        "account_id": ACCOUNT.id,
        "region": ACCOUNT.region,
        "vpc_id": "vpc-1",
        "private_subnet_ids": ["subnet-1", "subnet-2"],
        "db_subnet_group": "tenantry-platform-0",
        "db_parameter_group": "tenantry-platform-0-postgres18",
        "app_security_group_id": "sg-app",
        "shared_instance_identifier": "tenantry-platform-0",
        "shared_database": {"address": "shared.example", "port": 5432, "name": "tenantry"},
        "shared_master_secret_arn": ACCOUNT.arn("secretsmanager", "secret:rds!db-shared"),
        "pool_login": "pool_app",
        "pool_login_secret_arn": ACCOUNT.arn("secretsmanager", "secret:pool-login"),
        "pool_token_secret_arn": ACCOUNT.arn("secretsmanager", "secret:pool-token"),
        "shared_bucket": "tenantry-platform-0",
        "platform_key_arn": ACCOUNT.arn("kms", "key/platform"),
        "shared_role_arn": ACCOUNT.role_arn("/tenantry/", "tenantry-platform-0"),
        "permissions_boundary_arn": f"arn:aws:iam::{ACCOUNT.id}:policy/tenantry/boundary",
        "alarm_topic_arn": ACCOUNT.arn("sns", "alarms"),
        "tampering_rule_arn": ACCOUNT.arn("events", "rule/tenantry-platform-0-tampering"),
        "broker_principal_arns": [BROKER],
        "app_schema_version": 3,
    }
)
