"""Where faults are put into AWS: an installation that the engine made, its checkpoints, and the attacks on it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import boto3
import psycopg

from components.spec import PlatformOutputs, TenantOutputs
from isolation.attempts import Answer, Attempt, Layer
from isolation.documents import Documents
from isolation.iam.collect import Cloud
from isolation.run import Run
from isolation.state.holder import of_shared, of_tenant
from localcloud.aws.client import Aws
from localcloud.aws.registry import aws_provider
from policies.evaluate import evaluate
from policies.model import Facts
from policies.rules import RULES
from providers.base import Context, lifecycle
from provisioner import app, settings
from provisioner.gate.configured import facts_of
from provisioner.gate.standing import as_it_stands, stacks_of
from provisioner.proving import record
from provisioner.proving.declared import declared_by
from provisioner.proving.means import installation_of
from provisioner.proving.prover import sdk_config
from provisioner.urns import split_urn
from tenantry import Tenantry
from tests.integration.mutations.aws_reading import Reading

ACME, GLOBEX, BRIDGE, SILO = "acme", "globex", "initech", "hooli"
PLANS = {ACME: "starter", GLOBEX: "starter", BRIDGE: "team", SILO: "enterprise"}
PLATFORM = "platform"
STACKS = (PLATFORM, SILO, BRIDGE, ACME)
#: who lives in what a stack holds, and whom a fault in it helps against whom
RESIDENT = {PLATFORM: ACME, SILO: SILO, BRIDGE: BRIDGE, ACME: ACME}
BORDERS = {
    PLATFORM: ((ACME, GLOBEX), (SILO, ACME)),
    SILO: ((ACME, SILO), (SILO, ACME)),
    BRIDGE: ((ACME, BRIDGE),),
    ACME: ((GLOBEX, ACME),),
}
_AWS = {Layer.IAM, Layer.FILES, Layer.NETWORK}
_PROVIDER = aws_provider()
State = dict[str, Any]  #: a resource of a checkpoint
#: told only by a provider that runs the servers behind the instances
_NOT_READ = ("engineVersionActual",)


@dataclass
class Installation:
    """What stands, as its stacks' checkpoints and the registry have it. ``deployments`` say what the cloud says."""

    sdk: Tenantry
    tenants: dict[str, TenantOutputs]
    platform: PlatformOutputs
    means: Any
    facts: dict[str, Facts]
    deployments: dict[str, dict[str, Any]]
    client: Aws
    aws: Reading = field(default_factory=lambda: Reading(boto3.session.Session(region_name="us-east-1")))

    # -- what the cloud holds ----------------------------------------------------------------------------------------

    def resources(self, stack: str) -> Iterator[State]:
        """Those of AWS, in an order that no engine's timing changes."""
        for each in sorted(self.deployments[stack]["resources"], key=lambda state: split_urn(state["urn"])):
            if split_urn(each["urn"])[0].startswith("aws:"):
                yield each

    def read_back(self, state: State) -> State | None:
        """As ``pulumi refresh`` would record it; None if it is gone."""
        handler, context = self.handler(state)
        found = lifecycle.read(handler, context, state["id"], state["inputs"], state["outputs"])
        if found is None:
            return None
        _, inputs, outputs = found
        kept = {name: state["outputs"][name] for name in _NOT_READ if name in state["outputs"]}
        return {**state, "inputs": inputs, "outputs": {**kept, **outputs}}

    def handler(self, state: State) -> tuple[Any, Context[Aws]]:
        kind, name = split_urn(state["urn"])
        return lifecycle.find_handler(_PROVIDER, kind), Context(self.client, state["urn"], name, kind)

    def refresh(self) -> None:
        """Take over what the cloud says of every resource, once."""
        for deployment in self.deployments.values():
            deployment["resources"] = [
                (self.read_back(each) or each) if split_urn(each["urn"])[0].startswith("aws:") else each
                for each in deployment["resources"]
            ]

    # -- who judges --------------------------------------------------------------------------------------------------

    def rules(self, stack: str, changed: Mapping[str, State | None], *, preview: bool = False) -> list[str]:
        """Ids of the rules that would stop an operation on the stack if ``changed`` stood (by URN; None: is gone)."""
        known = self.deployments[stack]["resources"]
        kept = [changed.get(each["urn"], each) for each in known]
        more = [state for urn, state in changed.items() if urn not in {each["urn"] for each in known}]
        deployment = {"resources": [each for each in (*kept, *more) if each is not None]}
        stacks = stacks_of(deployment) if preview else as_it_stands(deployment)
        return [each.rule.id for each in evaluate(RULES, *stacks, self.facts[stack]).blocking]

    def attempts(self, stack: str) -> list[Attempt]:
        """What the proof tries in AWS about the resident of a stack, and at its borders."""
        run = Run(sdk=self.sdk, aws=self.aws, installation=self.means, fast=False, layers=_AWS)
        known = self.tenants
        with run:
            found = list(run.holders([known[RESIDENT[stack]]], list(known.values())))
            for attacker, victim in BORDERS[stack]:
                found += run.pairs([(known[attacker], known[victim])])
            found += run.clean_up()
        return found

    def stolen(self, stack: str) -> Answer:
        """Whether an outsider, or a principal of the account that IAM allows everything, reads a resident's object.

        S3 has to let it in, and KMS to decrypt.
        """
        tenant = self.tenants[RESIDENT[stack]]
        holder = of_tenant(tenant, self.platform) or of_shared((tenant,), self.platform)
        documents = Documents(holder, tenant.tenant_id, Cloud(self.aws))
        refused = ""
        for who, principal in (
            ("anybody", documents.nobody()),
            ("another account", documents.foreigner()),
            ("an administrator of the account", documents.administrator()),
        ):
            reads = documents.on_bucket(principal, "GetObject")
            opens = documents.on_key(principal, "Decrypt", documents.through_s3())
            if reads.allowed and opens.allowed:
                return Answer("ok", f"{who} reads an object")
            by = [each for each in (reads, opens) if not each.allowed]
            refused = refused or " and ".join(
                "; ".join(statement.name for statement in each.statements) or each.reason for each in by
            )
        return Answer("refused", "", refused)

    def words(self, text: str) -> str:
        """Without what differs from run to run, and with what the names mean."""
        for tenant, outputs in self.tenants.items():
            own = "the platform's" if outputs.role_arn == self.platform.shared_role_arn else f"{tenant}'s"
            for arn, what in ((outputs.kms_key_arn, "key"), (outputs.login_secret_arn, "login secret")):
                text = text.replace(arn, f"{own} {what}").replace(arn.rsplit("/", 1)[-1], f"{own} {what}")
            text = text.replace(outputs.bucket, f"{own} bucket").replace(
                outputs.role_arn.rsplit("/", 1)[-1], f"{own} role"
            )
        text = re.sub(r"\b(sg|sgr|vpc|subnet|rtb|igw)-[0-9a-f]{8,}", r"\1-N", text)
        return re.sub(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22,}\b", "N", text)


@contextlib.contextmanager
def standing() -> Iterator[Installation]:
    """Of the environment: ``eval "$(tenantry local env)"`` points at it."""
    configured = settings.load()
    known = asyncio.run(record.load(configured))
    tenants = {each.tenant_id: TenantOutputs.model_validate(each.outputs) for each in known.tenants}
    (platform,) = known.platforms
    state = app.state(configured)
    try:
        deployments = {stack: deepcopy(state.deployment(stack) or {}) for stack in STACKS}
    finally:
        state.close()
    facts = asyncio.run(_facts(configured))
    client = Aws(endpoint=_endpoint(), default_tags={})
    with Tenantry(sdk_config(configured)) as sdk:
        means = installation_of(list(tenants.values()), known.platforms, configured.app_schema, sdk, fast=True)
        asked = {stack: tuple(declared_by(deployment)) for stack, deployment in deployments.items()}
        means = replace(means, declared=lambda tenant, own: asked[tenant.tenant_id if own else PLATFORM])
        made = Installation(sdk, tenants, platform, means, facts, deployments, client)
        made.refresh()
        yield made


def _endpoint() -> str:
    return os.environ["AWS_ENDPOINT_URL"]


async def _facts(configured: settings.Settings) -> dict[str, Facts]:
    url = configured.database_url.get_secret_value()
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        found = {stack: await facts_of(connection, stack) for stack in STACKS}
    return {stack: facts for stack, facts in found.items() if facts is not None}
