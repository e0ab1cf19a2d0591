"""``tenantry policy ...``: the rules, and what stands judged by them."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provisioner.cli.output import JsonOption, out, print_columns, print_json, reports_errors, styled

if TYPE_CHECKING:
    from policies.checked import CheckedStack
    from policies.configuration import Configuration
    from policies.evaluate import Finding
    from policies.model import Rule

policy = typer.Typer(no_args_is_help=True, help="Policy rules: what every stack must keep to.")

_COLOUR = {"mandatory": "red", "advisory": "yellow", "disabled": None}


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    SARIF = "sarif"
    JUNIT = "junit"


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", help="policy configuration file; by default that of TENANTRY_POLICY_CONFIG", metavar="FILE"
    ),
]


def register(app: typer.Typer) -> None:
    app.add_typer(policy, name="policy")


@policy.command()
@reports_errors
def check(
    stack: Annotated[
        str | None, typer.Argument(metavar="[STACK]", help="platform, platform.CELL or a tenant's")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="every stack of the installation")] = False,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="what `pulumi stack export` printed, of any stack")
    ] = None,
    stack_config: Annotated[
        Path | None, typer.Option("--stack-config", metavar="FILE", help="with --file: its Pulumi.STACK.yaml")
    ] = None,
    config: ConfigOption = None,
    format_: Annotated[Format, typer.Option("--format", help="how findings are shown")] = Format.TABLE,
    output: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="write there, not to stdout")] = None,
) -> None:
    """Judge what stands. Exit code 1 if a mandatory rule is violated or can't be judged."""
    from datetime import UTC, datetime

    from policies.exemptions import expired
    from policies.rules import RULES
    from provisioner.cli.policy_check import of_file, of_registry

    if [stack is not None, every, file is not None].count(True) != 1:
        raise typer.BadParameter("say what to check: STACK, --all or --file FILE")
    if stack_config is not None and file is None:
        raise typer.BadParameter("--stack-config goes with --file")
    settings = _configuration(config)
    if file is not None:
        checked = [of_file(file, stack_config, RULES, settings)]
    else:
        checked = of_registry(stack, RULES, settings)
    advice = expired(RULES, settings, [each.report for each in checked], datetime.now(UTC).date())
    # An export may hold what no encoding has: half of a surrogate pair.
    text = _rendered(format_, checked, advice).encode(errors="replace").decode()
    if output is not None:
        _write(output, text)
    else:
        sys.stdout.write(text)
    if any(each.blocking for each in checked):
        raise typer.Exit(1)


@policy.command("list")
@reports_errors
def list_(config: ConfigOption = None, json_output: JsonOption = False) -> None:
    """All rules, with the level that they have here."""
    from policies.rules import RULES

    settings = _configuration(config)
    if json_output:
        print_json([_described(rule, settings) for rule in RULES])
        return
    levels = [settings.level(rule).value for rule in RULES]
    rows = [(rule.id, level, rule.severity.value, rule.title) for rule, level in zip(RULES, levels, strict=True)]
    print_columns(("rule", "level", "severity", "what it asks for"), rows, [_COLOUR[level] for level in levels])


@policy.command()
@reports_errors
def explain(
    rule_id: Annotated[str, typer.Argument(metavar="RULE", help="the rule's id")],
    config: ConfigOption = None,
    json_output: JsonOption = False,
) -> None:
    """One rule: what it asks for, why, what to do, what can be set."""
    from difflib import get_close_matches

    from policies.rules import RULES
    from provisioner.errors import NotFound

    known = {rule.id: rule for rule in RULES}
    if rule_id not in known:
        close = get_close_matches(rule_id, known, 1)
        hint = f"did you mean {close[0]}?" if close else "`tenantry policy list` shows them"
        raise NotFound(f"there is no policy rule {rule_id}", hint=hint)
    settings = _configuration(config)
    described = _described(known[rule_id], settings)
    if json_output:
        print_json(described)
        return
    for line in _told(described):
        out.print(line, soft_wrap=True, markup=False)


@policy.command()
@reports_errors
def validate(config: ConfigOption = None) -> None:
    """Check the policy configuration file alone. An exemption that has expired is an error."""
    from datetime import UTC, datetime

    from provisioner.errors import ConfigurationInvalid

    settings = _configuration(config, required=True)
    exemptions = [(rule, each) for rule, found in settings.rules.items() for each in found.exemptions]
    today = datetime.now(UTC).date()
    expired = [
        f"{rule}: the exemption of {each.resource} that {each.owner} answers for expired on {each.expires}"
        for rule, each in exemptions
        if not each.holds(today)
    ]
    if expired:
        raise ConfigurationInvalid(
            "; ".join(expired), hint="mend what it was for, or have somebody answer for it until another day"
        )
    out.print(f"The policy configuration is valid. Rules set: {len(settings.rules)}; exemptions: {len(exemptions)}.")


def _write(path: Path, text: str) -> None:
    from provisioner.errors import Reject

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Reject(f"{path} can't be written: {error.strerror}", hint="name another file: --output FILE") from None


def _configuration(path: Path | None, *, required: bool = False) -> Configuration:
    import os

    from policies.rules import RULES
    from provisioner.errors import ConfigurationInvalid
    from provisioner.gate.configured import configuration
    from provisioner.settings import policy_config

    path = path or policy_config(os.environ)
    if required and path is None:
        raise ConfigurationInvalid("there is no policy configuration", hint="name one: --config FILE")
    return configuration(path, RULES)


def _described(rule: Rule, settings: Configuration) -> dict[str, Any]:
    parameters = settings.parameters(rule)
    return {
        "id": rule.id,
        "title": rule.title,
        "level": settings.level(rule).value,
        "severity": rule.severity.value,
        "scope": rule.scope.value,
        "remediation": rule.remediation,
        "types": sorted(rule.types),
        "references": [
            {"framework": each.framework, "control": each.control, "url": each.url} for each in rule.references
        ],
        "parameters": [
            {"name": each.name, "value": parameters[each.name], "default": each.default, "schema": each.schema}
            for each in rule.parameters
        ],
        "exemptions": len(settings.of(rule).exemptions),
    }


def _told(rule: dict[str, Any]) -> list[str]:
    lines = [
        f"{rule['id']} ({rule['level']}, severity {rule['severity']})",
        f"{rule['title']}.",
        f"What to do: {rule['remediation']}.",
        "Judged by "
        + (
            "a whole stack, by outputs and by what values depend on"
            if rule["scope"] == "stack"
            else f"the inputs of {', '.join(rule['types'])}"
        ),
    ]
    lines += [f"Asked for by {each['framework']} {each['control']}: {each['url']}" for each in rule["references"]]
    for each in rule["parameters"]:
        lines.append(f"Parameter {each['name']} = {each['value']!r}: {each['schema']['description']}")
    if rule["exemptions"]:
        lines.append(f"{rule['exemptions']} exemption{'s' if rule['exemptions'] > 1 else ''} of it")
    return lines


def _rendered(format_: Format, checked: list[CheckedStack], advice: list[Finding]) -> str:
    import json

    from policies.checked import as_dict
    from policies.formats import junit, sarif
    from policies.rules import RULES
    from provisioner.settings import version

    match format_:
        case Format.JSON:
            document = {
                "passed": not any(each.blocking for each in checked),
                "stacks": [each.as_dict() for each in checked],
                "advice": [as_dict(each) for each in advice],
            }
            return json.dumps(document, indent=2) + "\n"
        case Format.SARIF:
            return json.dumps(sarif.document(checked, RULES, version()), indent=2) + "\n"
        case Format.JUNIT:
            return junit.document(checked)
    return _table(checked, advice)


def _table(checked: list[CheckedStack], advice: list[Finding]) -> str:
    lines = []
    for stack in checked:
        for finding in sorted(stack.report.findings, key=lambda each: not each.blocks):
            word = finding.outcome.value if finding.blocks or finding.outcome == "exempted" else "advisory"
            colour = "red" if finding.blocks else "yellow"
            where = finding.urn.rsplit("::", 1)[-1] or "the stack"
            lines.append(f"{styled(word, colour):<10} {stack.name}  {finding.rule.id}  {styled(where)}")
            lines.append(f"{'':10} {styled(finding.text)}")
            if finding.outcome == "exempted" and finding.exemption is not None:
                until = f"{finding.exemption.expires:%Y-%m-%d}"
                lines.append(f"{'':10} {styled(finding.exemption.owner)} answers for it until {until}")
    lines += [f"{styled('advisory', 'yellow'):<10} {each.rule.id}  {styled(each.message)}" for each in advice]
    blocking = sum(len(each.blocking) for each in checked)
    rules = len(checked[0].report.evaluated) if checked else 0
    verdict = f"{blocking} to mend" if blocking else "nothing to mend"
    stacks = f"{len(checked)} stack{'s' if len(checked) != 1 else ''}"
    lines.append(styled(f"{stacks}, {rules} rules: {verdict}", "red" if blocking else "green"))
    return "\n".join(lines) + "\n"
