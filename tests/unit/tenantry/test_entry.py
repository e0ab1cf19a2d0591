"""How a transaction becomes a tenant's, and what a refusal means."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from tenantry import DatabaseUnavailable, EntryRefused
from tenantry.broker import DatabaseCredentials
from tenantry.entry import (
    Remedy,
    entry_statement,
    failure,
    outdated,
    read_only,
    remedy,
    search_path,
    worth_repeating,
)
from tests.unit.tenantry.placements import placement

CREDENTIALS = DatabaseCredentials("pool_app", "password", "900.1.abc", 1, 900.0)


def test_a_pool_is_entered_by_a_token_and_nothing_of_it_is_in_the_text() -> None:
    statement, parameters = entry_statement(placement(), CREDENTIALS)
    assert parameters == ('"pool", pg_temp', "acme", "900.1.abc")
    assert "900.1.abc" not in statement
    assert "acme" not in statement
    assert statement.count("true)") == 3, "all of it ends with the transaction"


def test_a_schema_of_its_own_needs_no_token() -> None:
    own = placement(tier="bridge", db_schema="t_acme")
    statement, parameters = entry_statement(own, DatabaseCredentials("t_acme", "password", None, 1, 900.0))
    assert parameters == ('"t_acme", pg_temp', "acme")
    assert "current_tenant()" not in statement


def test_a_pool_without_a_token_is_not_entered() -> None:
    with pytest.raises(EntryRefused):
        entry_statement(placement(), DatabaseCredentials("pool_app", "password", None, 1, 900.0))


def test_a_schemas_name_can_not_add_to_the_path() -> None:
    assert search_path('a", "b') == '"a"", ""b", pg_temp'


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.InsufficientPrivilege(), Remedy.RESOLVE),
        (errors.InvalidPassword(), Remedy.RESOLVE),
        (errors.InvalidCatalogName(), Remedy.RESOLVE),
        (errors.UndefinedFunction(), Remedy.RESOLVE),
        (errors.AdminShutdown(), Remedy.RECONNECT),
        (errors.CannotConnectNow(), Remedy.RECONNECT),
        (errors.ConnectionFailure(), Remedy.RECONNECT),
        (errors.DivisionByZero(), Remedy.NONE),
        (errors.TooManyConnections(), Remedy.NONE),
        (psycopg.OperationalError('FATAL:  password authentication failed for user "x"'), Remedy.RESOLVE),
        (psycopg.OperationalError('FATAL:  role "x" is not permitted to log in'), Remedy.RESOLVE),
        (psycopg.OperationalError('FATAL:  database "x" does not exist'), Remedy.RESOLVE),
        (psycopg.OperationalError("connection refused"), Remedy.RECONNECT),
        (psycopg.ProgrammingError("no results"), Remedy.NONE),
    ],
    ids=str,
)
def test_what_may_help(error: psycopg.Error, expected: Remedy) -> None:
    assert remedy(error) is expected
    assert outdated(error) is (expected is not Remedy.NONE)


def test_a_work_is_repeated_only_if_it_surely_was_not_done() -> None:
    for error in (errors.SerializationFailure(), errors.DeadlockDetected(), errors.InsufficientPrivilege()):
        assert worth_repeating(error)
        assert worth_repeating(error, committing=True)
    assert worth_repeating(errors.AdminShutdown())
    assert not worth_repeating(errors.AdminShutdown(), committing=True)
    assert not worth_repeating(psycopg.OperationalError("server closed the connection"), committing=True)
    assert not worth_repeating(errors.UniqueViolation())


def test_failures_name_the_place_and_quote_no_message() -> None:
    refused = failure(placement(), errors.InsufficientPrivilege("secret"))
    assert isinstance(refused, EntryRefused)
    assert "db.internal:5432/tenantry" in str(refused)
    assert "secret" not in str(refused)
    assert isinstance(failure(placement(), psycopg.OperationalError("x")), DatabaseUnavailable)
    assert isinstance(failure(placement(), errors.TooManyConnections()), DatabaseUnavailable)
    own = errors.DivisionByZero()
    assert failure(placement(), own) is own


@pytest.mark.parametrize(
    ("reason", "hint"),
    [
        ("payment_overdue", "a payment lets it write again"),
        ("payment_disputed", "when the dispute of its payment is won"),
        (None, "a payment lets it write again"),
    ],
)
def test_what_lets_a_tenant_write_again_depends_on_why_it_may_not(reason: str | None, hint: str) -> None:
    assert hint in read_only(placement(access="read_only", access_reason=reason)).hint
