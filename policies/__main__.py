"""The policy pack, and nothing else: ``pulumi up --policy-pack policies``. Constructing it starts a server."""

import sys
from pathlib import Path

from pulumi_policy import (
    EnforcementLevel,
    PolicyPack,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
)

# The engine starts the pack by its directory, which is then sys.path[0]; the rules live in the package above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from policies.model import Rule, Severity, violations
from policies.rules import RULES


def as_policy(rule: Rule) -> ResourceValidationPolicy:
    def validate(arguments: ResourceValidationArgs, report: ReportViolation) -> None:
        for message in violations(rule, arguments.resource_type, arguments.props):
            report(message, None)

    level = EnforcementLevel.MANDATORY if rule.severity is Severity.MANDATORY else EnforcementLevel.ADVISORY
    return ResourceValidationPolicy(name=rule.id, description=rule.title, enforcement_level=level, validate=validate)


PolicyPack(name="tenantry", enforcement_level=EnforcementLevel.MANDATORY, policies=[as_policy(rule) for rule in RULES])
