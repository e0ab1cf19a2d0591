"""Exemptions that have expired and cover nothing: nobody notices them otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from policies.configuration import Configuration
from policies.evaluate import Finding, Outcome, Report
from policies.model import Level, Rule


def expired(
    rules: Sequence[Rule], configuration: Configuration, reports: Iterable[Report], today: date
) -> list[Finding]:
    """An advisory finding for each. One that covers a finding fails already, through the rule itself."""
    used = {id(each.exemption) for report in reports for each in report.findings if each.exemption is not None}
    found = []
    for rule in rules:
        for exemption in configuration.of(rule).exemptions:
            if exemption.holds(today) or id(exemption) in used:
                continue
            message = (
                f"the exemption of {exemption.resource} that {exemption.owner} answers for expired on "
                f"{exemption.expires:%Y-%m-%d} and covers nothing any more: remove it"
            )
            found.append(Finding(rule, Level.ADVISORY, Outcome.VIOLATED, "", message, exemption))
    return found
