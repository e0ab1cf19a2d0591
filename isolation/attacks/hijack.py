"""Names that are found elsewhere: temporary tables and functions, other schemas, operators of one's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import psycopg

from isolation.attacks.common import DENIED, SET_TENANT, Own, in_session, probe, read_of, run
from isolation.attempts import Answer, Probe
from isolation.subject import Subject
from isolation.witness import Holdings
from tenantry.session import TenantSession

#: what the token check names, in the places that an attacker's search path puts first
_TABLES = (
    """
    CREATE TEMPORARY TABLE pool_key AS SELECT 'k'::text AS version, ''::bytea AS ipad, ''::bytea AS opad,
           'infinity'::timestamptz AS retires_at
    """,
    """
    CREATE TEMPORARY TABLE pool_tenant AS SELECT {victim}::text AS tenant_id, 1::bigint AS epoch,
           'full'::text AS access
    """,
)
_FUNCTIONS = (
    "CREATE FUNCTION pg_temp.sha256(bytea) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$ SELECT ''::bytea $$",
    "CREATE FUNCTION pg_temp.current_setting(text, boolean) RETURNS text LANGUAGE sql STABLE AS $$ SELECT {victim} $$",
    "CREATE FUNCTION pg_temp.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'epoch'::timestamptz $$",
    "CREATE FUNCTION pg_temp.current_tenant() RETURNS text LANGUAGE sql STABLE AS $$ SELECT {victim} $$",
)
_OPERATORS = (
    "CREATE FUNCTION pg_temp.equal(text, text) RETURNS boolean LANGUAGE sql COST 0.0000001 AS $$ SELECT true $$",
    "CREATE OPERATOR pg_temp.= (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_temp.equal)",
)
_PATH = "SELECT set_config('search_path', 'pg_temp, pg_catalog, ' || quote_ident(%s), true)"


def probes(attacker: Subject, victim: Subject, own: Holdings, theirs: Holdings) -> Iterator[Probe]:
    """Within a pool: prepare the ground, put it first, name the victim, read."""
    allowed = Own.reading(attacker, own.with_rows)

    def attack(session: TenantSession, statements: Sequence[str]) -> Answer:
        made = 0
        for statement in statements:
            try:
                with session.transaction():
                    run(session, statement.format(victim="'" + victim.id + "'"))
                made += 1
            except psycopg.errors.InsufficientPrivilege:
                continue
        session.execute(_PATH, (attacker.outputs.db_schema,))
        session.execute(SET_TENANT, (victim.id,))
        for table in theirs.with_rows:
            try:
                with session.transaction():
                    answer = read_of(session, [table], victim.id)
                    return Answer(answer.code, f"{answer.detail}, with {made} things of its own before the search path")
            except psycopg.errors.InsufficientPrivilege:
                continue
        return Answer(DENIED, f"with {made} of {len(statements)} things of its own made and first on the search path")

    for name, words, statements in (
        ("temporary-tables", "temporary tables", _TABLES),
        ("temporary-functions", "temporary functions", _FUNCTIONS),
        ("temporary-operators", "an equals sign", _OPERATORS),
    ):
        yield probe(
            name,
            f"puts {words} of its own where tenantry.current_tenant() might look, names {victim.id} and reads",
            partial(in_session, attacker, partial(attack, statements=statements)),
            allowed,
            of_logins=True,
        )

    def shadow(session: TenantSession) -> Answer:
        run(session, "CREATE FUNCTION tenantry.current_tenant() RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$")
        return Answer("ok", "replaces the check of tokens")

    yield probe(
        "replace-token-check",
        "creates a function in schema tenantry",
        partial(in_session, attacker, shadow),
        allowed,
        of_logins=True,
    )
