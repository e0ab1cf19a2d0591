"""What stands, judged by the policy rules: stacks of the installation, or an export of any stack."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policies.checked import CheckedStack
from policies.configuration import Configuration
from policies.evaluate import evaluate
from policies.facts import UnreadableSpec, of_config
from policies.model import Facts, Rule
from provisioner.errors import ConfigurationInvalid, NotFound, Reject
from provisioner.gate.configured import PROJECT, facts_of
from provisioner.gate.standing import as_it_stands

if TYPE_CHECKING:
    from psycopg import AsyncConnection


def judged(
    deployment: Mapping[str, Any], facts: Facts, rules: Sequence[Rule], configuration: Configuration, source: str
) -> CheckedStack:
    inputs, outputs = as_it_stands(deployment)
    return CheckedStack(facts.stack_name, evaluate(rules, inputs, outputs, facts, configuration), source)


def of_registry(stack_name: str | None, rules: Sequence[Rule], configuration: Configuration) -> list[CheckedStack]:
    """One stack, or with None all that stand, in the order of their names. NotFound if there is nothing of it."""
    from provisioner import app, settings
    from provisioner.cli.registry_access import ask

    configured = settings.load()
    state = app.state(configured)
    try:
        names = sorted(state.stack_names()) if stack_name is None else [stack_name]
        deployments = {name: state.deployment(name) for name in names}
    finally:
        state.close()
    standing = {name: found for name, found in deployments.items() if found and found.get("resources")}
    if stack_name is not None and not standing:
        raise NotFound(f"no stack {stack_name} stands", hint="`tenantry tenants list` shows all tenants")

    async def load(connection: AsyncConnection) -> dict[str, Facts | None]:
        return {name: await facts_of(connection, name) for name in standing}

    facts = ask(load, configured)
    return [
        judged(found, facts[name] or Facts(name, PROJECT), rules, configuration, f"Pulumi.{name}.yaml")
        for name, found in standing.items()
    ]


def of_file(path: Path, stack_config: Path | None, rules: Sequence[Rule], configuration: Configuration) -> CheckedStack:
    """``path``: what ``pulumi stack export`` printed. Raises Reject for a file that is none."""
    exported = _read(path)
    deployment = exported.get("deployment")
    if not isinstance(deployment, dict) or exported.get("version") != 3:
        raise Reject(f"{path} is no export of a stack", hint="write one: pulumi stack export --file FILE")
    resources = deployment.get("resources") or []
    if not all(isinstance(each, dict) and str(each.get("urn", "")).count("::") >= 3 for each in resources):
        raise Reject(f"{path}: a resource in it has no URN", hint="write it again: pulumi stack export --file FILE")
    # urn:pulumi:STACK::PROJECT::TYPE::NAME
    stack_name, project = resources[0]["urn"].split("::")[:2] if resources else (path.stem, "")
    stack_name = stack_name.removeprefix("urn:pulumi:")
    facts = Facts(stack_name, project)
    if stack_config is not None:
        try:
            facts = of_config(stack_name, project, _config(stack_config))
        except UnreadableSpec as error:
            raise ConfigurationInvalid(str(error)) from None
    try:
        as_it_stands(deployment)
    except (AttributeError, TypeError, ValueError, RecursionError):
        raise Reject(
            f"{path}: its resources are not in the form of an export",
            hint="write it again: pulumi stack export --file FILE",
        ) from None
    return judged(deployment, facts, rules, configuration, path.as_posix())


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_no_duplicates)
    except OSError as error:
        raise Reject(f"{path} can't be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Reject(f"{path} is no export of a stack", hint="write one: pulumi stack export --file FILE")
    return found


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _config(path: Path) -> dict[str, str]:
    """The plain values of a ``Pulumi.<stack>.yaml``; secrets, and what isn't text, can't be the specification."""
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Reject(f"{path} can't be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        found = None
    config = found.get("config") if isinstance(found, dict) else None
    if not isinstance(config, dict):
        raise Reject(f"{path} is no configuration of a stack: it has no `config`", hint="want Pulumi.STACK.yaml")
    return {str(key): value for key, value in config.items() if isinstance(value, str)}
