"""A proof's attempts as a document."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from components.spec import TenantOutputs
from isolation.attempts import Attempt
from isolation.evidence.assumptions import ASSUMPTIONS
from isolation.evidence.document import (
    SCHEMA,
    AttemptRecord,
    Database,
    Document,
    LeftOut,
    Placed,
    Product,
    Scope,
    Tenant,
    Twin,
    counts,
    result,
)

_LIMIT = 4000
#: Control characters, halves of surrogate pairs, and marks that turn the direction in which text is read.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True)
class Circumstances:
    """Where a proof ran, what was asked for, and when (UTC)."""

    installation: str
    environment: str
    product: Product
    scope: Scope
    started_at: datetime
    ended_at: datetime
    others: int = 0
    left_out: Sequence[LeftOut] = ()
    proof_id: str = field(default_factory=lambda: str(uuid.uuid4()))


def compose(circumstances: Circumstances, tenants: Iterable[TenantOutputs], attempts: Iterable[Attempt]) -> Document:
    """The document, counted and judged; not signed yet."""
    records = [record(each) for each in attempts]
    return Document(
        schema_version=SCHEMA,
        proof_id=circumstances.proof_id,
        installation=circumstances.installation,
        environment=circumstances.environment,
        product=circumstances.product,
        scope=circumstances.scope,
        started_at=circumstances.started_at,
        ended_at=circumstances.ended_at,
        tenants=[_tenant(each) for each in tenants],
        others=circumstances.others,
        left_out=list(circumstances.left_out),
        assumptions=list(ASSUMPTIONS),
        attempts=records,
        counts=counts(records),
        result=result(records),
    )


def record(attempt: Attempt) -> AttemptRecord:
    """``attempt`` as it goes into a document: what could steer a terminal, or end it, is replaced."""
    values: dict[str, Any] = {"severity": "breach"}
    values |= {name: _clean(value) for name, value in attempt.as_dict().items()}
    twin = {name: _clean(value) for name, value in values.pop("allow").items()}
    known = {name: values[name] for name in AttemptRecord.model_fields if name in values}
    return AttemptRecord(**known, allow=Twin(**{name: twin[name] for name in Twin.model_fields}))


def _clean(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    return text if len(text) <= _LIMIT else text[: _LIMIT - 3] + "..."


def _tenant(outputs: TenantOutputs) -> Tenant:
    database = outputs.database
    return Tenant(
        tenant_id=outputs.tenant_id,
        generation=outputs.generation,
        cell=outputs.cell,
        tier=outputs.tier.value,
        epoch=outputs.epoch,
        placement=Placed(
            database=Database(address=database.address, port=database.port, name=database.name),
            db_schema=outputs.db_schema,
            login=outputs.login,
            login_secret_arn=outputs.login_secret_arn,
            bucket=outputs.bucket,
            prefix=outputs.prefix,
            kms_key_arn=outputs.kms_key_arn,
            role_arn=outputs.role_arn,
        ),
    )
