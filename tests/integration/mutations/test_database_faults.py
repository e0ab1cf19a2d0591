"""Every fault that a database can have, one at a time in a live one: each is found, its use is shown."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from isolation.report import explain
from tests.integration.mutations import code_faults, grant_faults, login_faults, row_security_faults, table
from tests.integration.mutations.database_schema import schema_of
from tests.integration.mutations.database_world import ATTACKER, BRIDGE, SILO, World
from tests.integration.mutations.fault import Fault, Verdict, verdict

HOMES = (ATTACKER, BRIDGE, SILO)
POOL = (
    row_security_faults.of_tables,
    row_security_faults.of_policies,
    row_security_faults.of_writing,
    code_faults.of_views,
    code_faults.of_functions,
    code_faults.of_token_check,
)
EVERYWHERE = (
    grant_faults.of_relations,
    grant_faults.of_schemas,
    login_faults.of_roles,
    login_faults.of_settings,
    login_faults.of_databases,
    login_faults.of_passwords,
)


def faults_of(world: World, home: str) -> Iterator[Fault]:
    schema = schema_of(world, home)
    for part in (*(POOL if home == ATTACKER else (row_security_faults.of_pins,)), *EVERYWHERE):
        yield from part(schema)


def sound(world: World) -> None:
    for home in HOMES:
        assert [explain(each) for each in world.attempts(home) if not each.passed] == []


@pytest.fixture(scope="module")
def verdicts(world: World) -> list[Verdict]:
    """Each fault put in, judged and taken out again, in turn."""
    sound(world)
    found = []
    for home in HOMES:
        before = world.standing(home)
        for fault in faults_of(world, home):
            if fault.exploit is not None:
                assert fault.exploit().code != "ok", f"{fault.id}: its attack succeeds though nothing is broken"
            with fault.inject():
                found.append(verdict(fault, world.attempts(home, logins=fault.logins), words=world.words))
            assert world.standing(home) == before, f"{fault.id}: something of it is left"
    return found


def test_every_fault_is_caught(verdicts: list[Verdict]) -> None:
    assert [each.fault.id for each in verdicts if not each.caught] == []
    assert len({each.fault.id for each in verdicts}) == len(verdicts)


@pytest.mark.usefixtures("verdicts")
def test_there_is_no_false_alarm_before_and_after(world: World) -> None:
    sound(world)


def test_the_documentation_says_so(verdicts: list[Verdict]) -> None:
    table.compare("databases", verdicts)
