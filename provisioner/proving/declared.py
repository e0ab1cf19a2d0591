"""Policy documents as stacks asked for them: from their checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from components.spec import TenantOutputs
from isolation.state.declared import Declared, Holds
from provisioner.engine.state import PostgresState
from provisioner.settings import Settings
from provisioner.urns import split_urn

Reads = Callable[[Mapping[str, Any], Mapping[str, Any]], tuple[str, Any]]

#: type token: where its document is attached, and the name and the document, from inputs and outputs
_DOCUMENTS: dict[str, tuple[Holds, Reads]] = {
    "aws:kms/key:Key": (Holds.KEY, lambda inputs, outputs: (outputs["arn"], inputs["policy"])),
    "aws:s3/bucketPolicy:BucketPolicy": (Holds.BUCKET, lambda inputs, _: (inputs["bucket"], inputs["policy"])),
    "aws:iam/role:Role": (Holds.TRUST, lambda inputs, outputs: (outputs["name"], inputs["assumeRolePolicy"])),
    "aws:iam/rolePolicy:RolePolicy": (
        Holds.ROLE,
        lambda inputs, outputs: (f"{inputs['role']}/{outputs['name']}", inputs["policy"]),
    ),
    "aws:iam/policy:Policy": (Holds.MANAGED, lambda inputs, outputs: (outputs["arn"], inputs["policy"])),
    "aws:sns/topic:Topic": (Holds.TOPIC, lambda inputs, outputs: (outputs["arn"], inputs.get("policy"))),
    "aws:cloudwatch/logResourcePolicy:LogResourcePolicy": (
        Holds.LOGS,
        lambda inputs, _: (inputs["policyName"], inputs["policyDocument"]),
    ),
    "aws:ec2/vpcEndpoint:VpcEndpoint": (Holds.ENDPOINT, lambda inputs, outputs: (outputs["id"], inputs.get("policy"))),
}


def declared_by(deployment: Mapping[str, Any]) -> Iterator[Declared]:
    """Of a stack's deployment (``pulumi stack export``)."""
    for resource in deployment.get("resources") or ():
        kind, _ = split_urn(resource["urn"])
        if kind not in _DOCUMENTS or resource.get("delete"):
            continue
        holds, read = _DOCUMENTS[kind]
        outputs = {"id": resource.get("id"), **(resource.get("outputs") or {})}
        name, document = read(resource.get("inputs") or {}, outputs)
        if isinstance(document, str) and document:
            yield Declared(holds, str(name), document, str(outputs.get("region") or "us-east-1"))


class Declarations:
    """Of every stack that is asked about, read once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[str, tuple[Declared, ...]] = {}

    def __call__(self, tenant: TenantOutputs, own: bool) -> tuple[Declared, ...]:
        """``own``: of the tenant's stack, otherwise of its cell's platform."""
        name = tenant.tenant_id if tenant.generation == 1 else f"{tenant.tenant_id}.{tenant.generation}"
        if not own:
            name = "platform" if tenant.cell == "default" else f"platform.{tenant.cell}"
        if name not in self._known:
            state = PostgresState(self._settings.pulumi_backend_url(), _PROJECT)
            try:
                self._known[name] = tuple(declared_by(state.deployment(name) or {}))
            finally:
                state.close()
        return self._known[name]


_PROJECT = "tenantry"
