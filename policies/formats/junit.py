"""Findings as JUnit XML, which nearly every CI system shows: a suite a stack, a case a rule."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from policies.checked import CheckedStack
from policies.evaluate import Finding, Outcome

#: What XML 1.0 can't say, not even escaped.
_UNSPEAKABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def document(stacks: Sequence[CheckedStack]) -> str:
    """A mandatory violation is a failure, one that could not be judged an error, an exempted one is skipped; advisories
    stand in the case's output."""
    suites = ElementTree.Element("testsuites", name="tenantry policy check")
    for stack in stacks:
        suite = ElementTree.SubElement(suites, "testsuite", name=_text(stack.name))
        for rule_id in stack.report.evaluated:
            case = ElementTree.SubElement(suite, "testcase", classname=_text(stack.name), name=rule_id)
            _fill(case, [each for each in stack.report.findings if each.rule.id == rule_id])
        for name in ("failure", "error", "skipped"):
            suite.set({"failure": "failures", "error": "errors"}.get(name, name), str(len(suite.findall(f"*/{name}"))))
        suite.set("tests", str(len(stack.report.evaluated)))
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _fill(case: ElementTree.Element, findings: Sequence[Finding]) -> None:
    """A case has one result: the worst of what was found."""
    for name, chosen in (
        ("failure", [each for each in findings if each.blocks and each.outcome is Outcome.VIOLATED]),
        ("error", [each for each in findings if each.blocks and each.outcome is Outcome.UNDECIDED]),
        ("skipped", [each for each in findings if each.outcome is Outcome.EXEMPTED]),
    ):
        if chosen and len(case) == 0:
            result = ElementTree.SubElement(case, name, message=_text(chosen[0].message))
            if name != "skipped":
                result.set("type", chosen[0].rule.severity.value)
            result.text = _text("\n".join(_line(each) for each in chosen))
    rest = [each for each in findings if not each.blocks and each.outcome is not Outcome.EXEMPTED]
    if rest:
        ElementTree.SubElement(case, "system-out").text = _text("\n".join(_line(each) for each in rest))


def _line(finding: Finding) -> str:
    if finding.exemption is not None and finding.outcome is Outcome.EXEMPTED:
        until = f"{finding.exemption.expires:%Y-%m-%d}"
        return f"{finding.urn}: {finding.text} Exempted by {finding.exemption.owner} until {until}"
    return f"{finding.urn}: {finding.text}"


def _text(value: str) -> str:
    return _UNSPEAKABLE.sub("\N{REPLACEMENT CHARACTER}", value)
