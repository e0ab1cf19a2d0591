"""Names that the provider takes, and whose the things it makes are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.postgres import markers
from providers.postgres.identifiers import (
    database_problem,
    definer_role,
    identifier_problem,
    role_problem,
    schema_problem,
    tenant_id_problem,
)


@pytest.mark.parametrize(
    "name",
    ["", "1a", "Acme", "a b", 'a"', "a;b", "á", "a.b", "pg_a", "a" * 64, "a\n", "-a"],
)
def test_no_identifier(name: str) -> None:
    for problem in (identifier_problem, schema_problem, database_problem, role_problem):
        assert problem(name)


def test_identifiers() -> None:
    for name in ("a", "_a", "t_acme_0a1b2c3d", "a$b-c", "a" * 63):
        assert identifier_problem(name) is None
    for problem, names in (
        (schema_problem, ("public", "tenantry", "information_schema")),
        (database_problem, ("postgres", "template0", "template1", "rdsadmin")),
        (role_problem, ("public", "none", "current_user", "rdsadmin", "rds_superuser", "postgres")),
    ):
        assert [problem(name) for name in names] == ["is reserved"] * len(names)


@given(st.from_regex(r"[a-z_][a-z0-9_$-]{0,70}", fullmatch=True))
def test_a_database_that_is_taken_leaves_room_for_its_definer(name: str) -> None:
    if database_problem(name) is None:
        assert identifier_problem(definer_role(name)) is None


@pytest.mark.parametrize(
    "tenant", ["", "ab", "Acme", "-acme", "acme-", "a--b", "a_b", "1abc", "a" * 41, "acme\n", "a|b"]
)
def test_no_tenant_id(tenant: str) -> None:
    assert tenant_id_problem(tenant)


@pytest.mark.parametrize("tenant", ["abc", "acme", "acme-eu-1", "a1b", "a" * 40])
def test_tenant_ids(tenant: str) -> None:
    assert tenant_id_problem(tenant) is None


@pytest.mark.parametrize(
    ("urn", "marker"),
    [
        ("urn:pulumi:acme::tenantry::tenantry-postgres:index:Role::owner", "tenantry:tenantry/acme"),
        ("urn:pulumi:acme.2::tenantry::a:b:C$tenantry-postgres:index:Role::own::er", "tenantry:tenantry/acme.2"),
        ("urn:pulumi:platform::other::t::n", "tenantry:other/platform"),
    ],
)
def test_a_marker_names_project_and_stack(urn: str, marker: str) -> None:
    assert markers.for_urn(urn) == marker
