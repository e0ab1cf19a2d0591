"""Stacks on a live local cloud, deployed as a worker's operator deploys them, and an application that uses the SDK."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
import yaml
from psycopg.types.json import Jsonb

from components.naming import Names
from components.spec import Access, InstanceSpec, PlatformOutputs, PlatformSpec, TenantOutputs, TenantSpec
from components.tiers import TIERS, Tier
from localcloud import environment, latency, lifecycle
from localcloud.aws.rds_records import Records
from localcloud.home import REPOSITORY, Home
from localcloud.services import accepts
from provisioner import app, stack_request
from provisioner.broker import Boto3Clients, Broker
from provisioner.deployer import Deployer, StackRequest
from provisioner.deployer.types import OperationResult
from provisioner.engine.runtime import prepare
from provisioner.engine.state import PostgresState
from provisioner.finder import AwsFinder
from provisioner.registry import placements
from provisioner.registry.migrate import migrate
from provisioner.registry.sources import Placements
from provisioner.settings import Settings, load
from provisioner.stack_request import StackInputs
from tenantry import Config, Tenantry
from tests.integration.tenantry.world import APPLICATION_TOKEN, serve_broker


@dataclass
class Live:
    """``deploy`` brings a tenant's stack to a spec and its placement to what came out."""

    home: Home
    settings: Settings
    deployer: Deployer
    state: PostgresState
    platform: PlatformOutputs
    sdk: Tenantry
    specs: dict[str, TenantSpec] = field(default_factory=dict)

    def spec(self, tenant_id: str, tier: Tier) -> TenantSpec:
        return TenantSpec(
            installation=self.settings.installation,
            environment=self.settings.environment,
            tenant_id=tenant_id,
            tier=tier,
            plan="enterprise",
            instance=InstanceSpec() if TIERS[tier].own_instance else None,
            app_schema_version=app.installation(self.settings).app_schema_version,
        )

    def request(self, inputs: StackInputs) -> StackRequest:
        secrets = app.secrets_provider(self.settings)
        return StackRequest(inputs.stack_name, inputs.program, config=inputs.config, secrets_provider=secrets)

    def inputs(self, spec: TenantSpec) -> StackInputs:
        return stack_request.of_tenant(spec, self.platform, self.settings.app_schema)

    def deploy(self, spec: TenantSpec, access: Access | None = None) -> OperationResult:
        """``access``: what the registry shows; by default what the stack enforces."""
        result = self.deployer.up(self.request(self.inputs(spec)))
        outputs = TenantOutputs.model_validate(result.outputs["tenant"])
        self.specs[spec.tenant_id] = spec
        self.place(outputs, access or outputs.access)
        return result

    def refresh(self, tenant_id: str) -> OperationResult:
        return self.deployer.refresh(self.request(self.inputs(self.specs[tenant_id])))

    def changes(self, tenant_id: str) -> dict[str, int]:
        """What another `up` would do, beside what stays."""
        preview = self.deployer.preview(self.request(self.inputs(self.specs[tenant_id])))
        return {op: count for op, count in preview.changes.items() if op != "same"}

    def place(self, outputs: TenantOutputs, access: Access) -> None:
        with psycopg.connect(self.settings.database_url.get_secret_value(), autocommit=True) as connection:
            connection.execute(
                "INSERT INTO registry.tenant (tenant_id, plan, tier, state, access, access_reason, access_since, spec,"
                " outputs) VALUES (%(tenant)s, 'enterprise', %(tier)s, 'ready', %(access)s, 'payment_failed',"
                " '2026-11-20', %(spec)s, %(outputs)s)"
                " ON CONFLICT (tenant_id) DO UPDATE SET access = %(access)s, spec = %(spec)s, outputs = %(outputs)s",
                {
                    "tenant": outputs.tenant_id,
                    "tier": outputs.tier,
                    "access": access,
                    "spec": Jsonb(self.specs[outputs.tenant_id].model_dump(mode="json")),
                    "outputs": Jsonb(outputs.model_dump(mode="json")),
                },
            )

        async def put() -> None:
            url = self.settings.database_url.get_secret_value()
            async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
                await placements.put(connection, outputs, self.platform, access)

        asyncio.run(put())

    def outputs(self, tenant_id: str) -> TenantOutputs:
        deployment = self.state.deployment(self.specs[tenant_id].stack_name) or {}
        (stack,) = (each for each in deployment["resources"] if each["type"] == "pulumi:pulumi:Stack")
        return TenantOutputs.model_validate(stack["outputs"]["tenant"])

    def aws(self, service: str) -> Any:
        return boto3.session.Session(region_name=self.settings.region).client(service)  # type: ignore[call-overload]

    def secret(self, arn: str) -> dict[str, Any]:
        return dict(yaml.safe_load(self.aws("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]))

    def connect(self, tenant_id: str) -> psycopg.Connection[Any]:
        """The tenant's login as its application has it, past SDK and broker."""
        outputs = self.outputs(tenant_id)
        login = self.secret(outputs.login_secret_arn)
        return psycopg.connect(
            host=outputs.database.address,
            port=outputs.database.port,
            dbname=outputs.database.name,
            user=login["username"],
            password=login["password"],
            sslmode="verify-full",
            sslrootcert=str(self.home.authority.bundle),
            connect_timeout=5,
            autocommit=True,
        )

    def instance_status(self, tenant_id: str) -> str:
        identifier = self.identifier(tenant_id)
        found = self.aws("rds").describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"][0]
        return str(found["DBInstanceStatus"])

    def identifier(self, tenant_id: str) -> str:
        return Names.of_tenant(self.specs[tenant_id]).instance

    def server_accepts(self, tenant_id: str) -> bool:
        """Whether anything listens where the instance's server is."""
        record = Records(self.home.instances).of(self.identifier(tenant_id), self.settings.region)
        assert record is not None
        return accepts(record.port)

    def delay(self, operation: str, seconds: float) -> None:
        latency.set_delay(self.home.latency, operation, seconds)


@pytest.fixture(scope="session")
def live() -> Iterator[Live]:
    directory = Path(tempfile.mkdtemp(prefix="tenantry-access-"))
    if os.geteuid() == 0:
        directory.chmod(0o711)
    home = Home(directory / "home")
    with ExitStack() as stack, pytest.MonkeyPatch.context() as monkeypatch:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        lifecycle.up(home)
        stack.callback(lifecycle.down, home)
        for name, value in environment.process_environment(
            environment.shell_environment(home, os.environ), dict(os.environ)
        ).items():
            monkeypatch.setenv(name, value)
        settings = load()
        backend = settings.pulumi_backend_url()
        migrate(settings.database_url.get_secret_value(), backend)
        engine = prepare(settings.home)
        state = app.state(settings)
        stack.callback(state.close)
        deployer = Deployer(
            pulumi=engine.pulumi,
            environment=engine.environment(backend_url=backend.replace("postgresql://", "postgres://", 1)),
            project=yaml.safe_load((REPOSITORY / "Pulumi.yaml").read_text()),
            root=REPOSITORY,
            store=state,
            finder=AwsFinder(settings.region),
        )
        installation = app.installation(settings)
        spec = PlatformSpec(
            installation=installation.name,
            environment=installation.environment,
            region=settings.region,
            app_schema_version=installation.app_schema_version,
        )
        inputs = stack_request.of_platform(spec, settings.app_schema)
        result = deployer.up(
            StackRequest(inputs.stack_name, inputs.program, inputs.config, (), app.secrets_provider(settings))
        )
        platform = PlatformOutputs.model_validate(result.outputs["platform"])
        source = Placements(settings.database_url.get_secret_value())
        source.open()
        stack.callback(source.close)
        url = stack.enter_context(serve_broker(Broker(source, Boto3Clients())))
        sdk = Tenantry(
            Config.from_env(
                database_url=settings.database_url.get_secret_value(),
                api_url=url,
                application_token=APPLICATION_TOKEN,
            )
        )
        stack.callback(sdk.close)
        yield Live(home, settings, deployer, state, platform, sdk)
