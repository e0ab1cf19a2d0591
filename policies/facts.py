"""What a stack's configuration tells of whose it is."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from components.spec import PlatformOutputs, PlatformSpec, TenantSpec
from policies.model import Facts

SPEC = "tenantry:spec"
PLATFORM = "tenantry:platform"


class UnreadableSpec(ValueError):
    """The stack says that it is Tenantry's, and what it says can't be read: no rule can be judged."""


def of_config(stack_name: str, project: str, config: Mapping[str, str]) -> Facts:
    """``config``: the stack's configuration, key to text. A stack without ``tenantry:spec`` is somebody else's."""
    text = config.get(SPEC)
    if not text:
        return Facts(stack_name, project)
    shared = stack_name == "platform" or stack_name.startswith("platform.")
    try:
        spec = PlatformSpec.model_validate_json(text) if shared else TenantSpec.model_validate_json(text)
        outputs = config.get(PLATFORM)
        platform = PlatformOutputs.model_validate_json(outputs) if outputs else None
    except ValidationError as error:
        where = "; ".join(".".join(map(str, each["loc"])) + ": " + each["msg"] for each in error.errors()[:3])
        raise UnreadableSpec(
            f"stack {stack_name}: its configuration {SPEC} or {PLATFORM} can't be read ({where}); "
            "`tenantry pulumi` writes it from the registry"
        ) from None
    return Facts(stack_name, project, spec, platform)
