"""Every fault that AWS can have, one at a time in a live local cloud: each is found, its use is shown."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from isolation.report import explain
from tests.integration.mutations import table
from tests.integration.mutations.aws_beside import beside
from tests.integration.mutations.aws_faults import Placed, of_stack
from tests.integration.mutations.aws_world import BRIDGE, PLATFORM, SILO, STACKS, Installation
from tests.integration.mutations.fault import Verdict, verdict


def faults(installation: Installation) -> Iterator[Placed]:
    for stack in (PLATFORM, SILO, BRIDGE):
        yield from of_stack(installation, stack)
    for stack in (PLATFORM, SILO):
        yield from beside(installation, stack)


def sound(installation: Installation) -> None:
    installation.aws.forget()
    for stack in STACKS:
        assert [explain(each) for each in installation.attempts(stack) if not each.passed] == []
        assert installation.rules(stack, {}) == []


@pytest.fixture(scope="module")
def verdicts(installation: Installation) -> list[Verdict]:
    """Each fault put in, judged and taken out again, in turn."""
    sound(installation)
    found = []
    for placed in list(faults(installation)):
        fault = placed.fault
        with fault.inject():
            installation.aws.forget(*placed.services)
            rules = installation.rules(placed.stack, placed.seen(), preview=placed.preview)
            found.append(verdict(fault, installation.attempts(placed.stack), rules, installation.words))
        installation.aws.forget(*placed.services)
        assert placed.mended(), f"{fault.id}: something of it is left"
    return found


def test_every_fault_is_caught(verdicts: list[Verdict]) -> None:
    assert [each.fault.id for each in verdicts if not each.caught] == []
    assert len({each.fault.id for each in verdicts}) == len(verdicts)


@pytest.mark.usefixtures("verdicts")
def test_there_is_no_false_alarm_before_and_after(installation: Installation) -> None:
    installation.refresh()
    sound(installation)


def test_the_documentation_says_so(verdicts: list[Verdict]) -> None:
    table.compare("aws", verdicts)
