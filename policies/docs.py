"""``docs/policies.md``, generated from the rules by ``python -m policies.docs``; a test compares."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

from policies.antipatterns import ANTI_PATTERNS, AntiPattern
from policies.engine_versions import CHECKED, SOURCES
from policies.model import Rule, Scope
from policies.rules import RULES, THEMES

GUIDE = Path(__file__).parent / "guide.md"
DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "policies.md"


def as_markdown() -> str:
    """The guide, with the tables in the places that it marks."""
    text = GUIDE.read_text(encoding="utf-8")
    for mark, content in (
        ("{{rules}}", _themes()),
        ("{{parameters}}", _parameters()),
        ("{{anti-patterns}}", _anti_patterns()),
        ("{{versions}}", _versions()),
        ("{{frameworks}}", _frameworks()),
        ("{{count}}", str(len(RULES))),
    ):
        if mark not in text:
            raise ValueError(f"{GUIDE.name} has no place {mark}")
        text = text.replace(mark, content)
    return text


def _themes() -> str:
    return "\n\n".join(_theme(each) for each in THEMES)


def _theme(theme: ModuleType) -> str:
    title = (theme.__doc__ or "").strip().split("\n")[0]
    return "\n".join(
        [
            f"### {_cell(title.rstrip('.'))}",
            "",
            "| rule | severity | what it asks for | what to do | asked for by |",
            "|---|---|---|---|---|",
            *(_row(rule) for rule in theme.RULES),
        ]
    )


def _row(rule: Rule) -> str:
    mark = "" if rule.scope is Scope.RESOURCE else " (stack)"
    level = "" if rule.level.value == "mandatory" else f", {rule.level.value}"
    references = "; ".join(f"{each.framework} {each.control}" for each in rule.references)
    asked = f"{_cell(rule.title)} | {_cell(rule.remediation)} | {references}"
    return f"| `{rule.id}`{mark} | {rule.severity.value}{level} | {asked} |"


def _parameters() -> str:
    lines = ["| rule | parameter | default | meaning |", "|---|---|---|---|"]
    for rule in RULES:
        for each in rule.parameters:
            default = _cell(json.dumps(each.default))
            lines.append(f"| `{rule.id}` | `{each.name}` | `{default}` | {_cell(each.schema['description'])} |")
    return "\n".join(lines)


def _anti_patterns() -> str:
    lines = ["| anti-pattern | what it does | rules | checked elsewhere |", "|---|---|---|---|"]
    lines += [_anti_pattern(each) for each in ANTI_PATTERNS]
    return "\n".join(lines)


def _anti_pattern(each: AntiPattern) -> str:
    rules = ", ".join(f"`{rule}`" for rule in each.rules)
    return f"| {each.name} | {each.harm} | {rules} | {_cell(each.elsewhere)} |"


def _versions() -> str:
    sources = ", ".join(f"[{engine}]({url})" for engine, url in SOURCES.items())
    return f"{sources}; last compared on {CHECKED:%Y-%m-%d}"


def _frameworks() -> str:
    """Each framework with the page that lists what it asks for."""
    pages = {
        each.framework: each.url for rule in RULES for each in rule.references if each.framework != "AWS SaaS Lens"
    }
    pages["AWS SaaS Lens"] = "https://docs.aws.amazon.com/wellarchitected/latest/saas-lens/saas-lens.html"
    return ", ".join(f"[{framework}]({url})" for framework, url in sorted(pages.items()))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    DOCUMENT.write_text(as_markdown(), encoding="utf-8")
