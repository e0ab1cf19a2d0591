"""``docs/quotas.md``, from the tables: ``python -m provisioner.quotas.document``."""

from __future__ import annotations

import json
from pathlib import Path

from provisioner.quotas.decision import FAR_S, FRESH_S, HEADROOM_PERCENT, LIMIT_S, NEAR_S, SHORT_LIMIT_S
from provisioner.quotas.limits import ACTIONS
from provisioner.quotas.needs import CONSUMPTION, SMALLEST_INSTANCE_GIB
from provisioner.quotas.table import NOT_COUNTED, QUOTAS, SOURCES, Quota, Scope
from provisioner.quotas.usage import READINGS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "quotas.md"


def as_markdown() -> str:
    lines = [
        "# AWS quotas",
        "",
        "Generated from `provisioner/quotas` by `python -m provisioner.quotas.document`; a test compares.",
        "",
        "Before an operation creates anything, the worker compares what its preview is going to create with what",
        "the account may have and what it uses, whoever uses it. What would not fit parks the operation, before",
        "anything was changed, with the quota's name and code and the number to ask AWS for: what the operation takes",
        f"it to and {HEADROOM_PERCENT} % more, rounded up to tens. `tenantry explain` shows the command that asks for",
        "it. Once there is room, the operation is tried again by itself. `tenantry quotas` shows all at any time.",
        "",
        "| quota | Service Quotas | AWS's default | consumed by | present use |",
        "|---|---|---|---|---|",
        *(_row(quota) for quota in QUOTAS.values()),
        "",
        f"Of an instance whose size only a snapshot tells, {SMALLEST_INSTANCE_GIB} GiB are counted. A key or secret",
        "goes on counting until AWS has deleted it. A deletion makes no room for what the same operation creates.",
        "",
        "## The limit",
        "Service Quotas is asked for the account's value, or its default; quotas that all Regions share are asked in",
        "the partition's home Region. Where it does not tell (no permission, throttled), the service's own account",
        "attributes do, and at last AWS's documented default; the message says which. A default that is too small",
        "while Service Quotas is throttled parks nothing: the operation is tried again.",
        "",
        "Use is never guessed: without the permission to read it the operation is parked and names the permission;",
        "when AWS does not answer it is tried again.",
        "",
        "## What is kept",
        f"A limit is believed for {LIMIT_S / 3600:.0f} hours. Use is believed for {FAR_S / 60:.0f} minutes while an",
        f"operation leaves half of a quota free, {NEAR_S:.0f} s while it leaves a tenth, else {FRESH_S:.0f} s; what",
        "this process's own operations took since is added. Only use as fresh as that, and a limit younger than",
        f"{SHORT_LIMIT_S:.0f} s, park an operation. Workers don't see each other's operations until AWS counts them:",
        "two that begin within the same seconds may both take the last place, and AWS refuses the second.",
        "",
        "## Not counted",
        "| type | why |",
        "|---|---|",
        *(f"| `{type_}` | {why} |" for type_, why in sorted(NOT_COUNTED.items())),
        "",
        "Any other AWS type that an operation creates is reported as unchecked.",
        "",
        "## Permissions of the worker's role",
        "```json",
        json.dumps(policy(), indent=2),
        "```",
        "",
        "Codes and defaults are from AWS's pages:",
        *(f"<{source}>" for source in SOURCES),
    ]
    return "\n".join(lines) + "\n"


def policy() -> dict[str, object]:
    """The IAM policy that the preflight takes; none of the actions can be confined to a resource."""
    actions = sorted({*ACTIONS, "sts:GetCallerIdentity", *(reading.action for reading in READINGS.values())})
    return {
        "Version": "2012-10-17",
        "Statement": [{"Sid": "QuotaPreflight", "Effect": "Allow", "Action": actions, "Resource": "*"}],
    }


def _row(quota: Quota) -> str:
    by = ", ".join(f"`{type_}`" for type_, uses in CONSUMPTION.items() if any(used is quota for used, _ in uses))
    where = "the account" if quota.scope is Scope.ACCOUNT else "each Region"
    unit = f" {quota.unit}" if quota.unit else ""
    others = "".join(f"; {region}: {value:,}" for region, value in quota.exceptions.items())
    default = f"{quota.default:,}{unit} for {where}{others}"
    return f"| {quota.name} | `{quota.service}` `{quota.code}` | {default} | {by} | {READINGS[quota.counter].how} |"


if __name__ == "__main__":
    DOCUMENT.write_text(as_markdown())
