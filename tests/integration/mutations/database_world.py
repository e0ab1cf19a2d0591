"""Where faults are put into databases: an estate with rows to steal, and the attacks on it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from isolation.attempts import Answer, Attempt, Layer, answered
from isolation.run import Run
from tenantry import Tenantry
from tenantry.session import TenantSession
from tests.integration.isolation.estate import Estate

ATTACKER, VICTIM = "acme", "globex"
BRIDGE, OTHER_BRIDGE, SILO = "initech", "umbrella", "hooli"
TENANTS = {ATTACKER: "pool", VICTIM: "pool", BRIDGE: "bridge", OTHER_BRIDGE: "bridge", SILO: "silo"}
#: whom the faults in a tenant's database help against whom
BORDERS = {
    ATTACKER: [(ATTACKER, VICTIM)],
    BRIDGE: [(OTHER_BRIDGE, BRIDGE), (ATTACKER, BRIDGE)],
    SILO: [(ATTACKER, SILO)],
}


class _Undone(Exception):
    """Rolls a session back."""


@dataclass
class World:
    """To be used in a ``with`` block."""

    estate: Estate
    sdk: Tenantry

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.sdk.close()

    def reopen(self) -> None:
        """New sessions: those that are open keep the settings that they began with."""
        self.sdk.close()
        self.sdk = Tenantry(self.estate.config())

    def fill(self) -> None:
        """A row of every tenant in every table: an attack on empty tables proves nothing."""
        for tenant in TENANTS:
            with self.sdk.session(tenant) as session:
                values = {"tenant": tenant, "text": f"of {tenant}"}
                for statement in _ROWS:
                    session.execute(statement, values)

    def attempts(self, home: str, *, logins: bool = True) -> list[Attempt]:
        """What the proof tries in databases about whoever lives where ``home`` does, and at its borders."""
        known = self.estate.tenants
        outputs = known[home]
        residents = [each for each in known.values() if each.login == outputs.login]
        installation = self.estate.installation_known()
        run = Run(
            sdk=self.sdk,
            aws=self.estate.aws,
            installation=type(installation)(
                installation.platforms, installation.reference_tables, installation.token_key
            ),
            fast=False,
            layers={Layer.DATABASE},
        )
        with run:
            found = list(run.places(residents, whole=True))
            if logins:
                found += [*run.powers(residents), *run.outsiders(residents)]
            for attacker, victim in BORDERS[home]:
                found += run.pairs([(known[attacker], known[victim])])
            found += run.clean_up()
        return found

    def standing(self, home: str) -> str:
        """Everything in the catalogue that a fault may change: to see that it was taken out again."""
        with self.estate.owner(home) as admin:
            rows = [row for statement in _STANDING for row in admin.execute(statement).fetchall()]
        # the order of an access control list's entries is no part of it
        return "\n".join(str([sorted(str(each).strip("{}").split(",")) for each in row]) for row in rows)

    def attack(self, tenant: str, ask: Callable[[TenantSession], Answer]) -> Callable[[], Answer]:
        """``ask`` in a session of the tenant's, of which nothing remains."""

        def asked() -> Answer:
            with contextlib.suppress(_Undone), self.sdk.session(tenant) as session:
                answer = ask(session)
                raise _Undone
            return answer

        return lambda: answered(asked)

    def words(self, text: str) -> str:
        """Without the names that are new in every run."""
        for tenant, outputs in self.estate.tenants.items():
            kind = "pool" if tenant in (ATTACKER, VICTIM) else tenant
            named = {outputs.login: f"login of {kind}", outputs.database.name: f"database of {kind}"}
            if kind != "pool":
                named |= {outputs.db_schema: f"schema of {kind}", f"{outputs.db_schema}_owner": f"owner of {kind}"}
            for name in sorted(named, key=len, reverse=True):
                text = text.replace(name, named[name])
            text = text.replace(f":{outputs.database.port}/", ":PORT/")
        return text


def rows_of_others(tenant: str, source: sql.Composable) -> Callable[[TenantSession], Answer]:
    """Reads ``tenant_id`` from ``source``, looking for another's."""

    def ask(session: TenantSession) -> Answer:
        statement = sql.SQL("SELECT tenant_id FROM {} AS t (tenant_id) WHERE tenant_id <> %s LIMIT 1").format(source)
        row = session.execute(statement, (tenant,)).fetchone()
        return (
            Answer("no rows", "row-level security shows none") if row is None else Answer("ok", "reads another's row")
        )

    return ask


def runs(statement: sql.Composable, does: str) -> Callable[[TenantSession], Answer]:
    """Whether ``statement`` is let through."""

    def ask(session: TenantSession) -> Answer:
        session.execute(sql.SQL("{}").format(statement))
        return Answer("ok", does)

    return ask


def changes_rows(statement: sql.Composable) -> Callable[[TenantSession], Answer]:
    """Whether ``statement`` changes rows. What a constraint refuses has got past the policies."""

    def ask(session: TenantSession) -> Answer:
        try:
            count = session.execute(sql.SQL("{}").format(statement)).rowcount
        except psycopg.IntegrityError:
            return Answer("ok", "changes rows that it may only read, but for a constraint")
        return Answer("ok", "changes rows that it may only read") if count else Answer("no rows", "changes none")

    return ask


def passes_on(statement: sql.Composable, relation: sql.Composable) -> Callable[[TenantSession], Answer]:
    """Whether ``statement``, a GRANT to PUBLIC, has an effect: without the right to it PostgreSQL may only warn."""
    count = sql.SQL("SELECT count(*) FROM pg_class, aclexplode(relacl) a WHERE oid = {}::regclass AND a.grantee = 0")

    def ask(session: TenantSession) -> Answer:
        session.execute(sql.SQL("{}").format(statement))
        row = session.execute(count.format(relation)).fetchone()
        assert row is not None
        return Answer("ok", "passes it on") if row[0] else Answer("nothing granted", "the login has no right to")

    return ask


def changes(connection: psycopg.Connection[Any], statements: Sequence[sql.Composable]) -> None:
    for each in statements:
        connection.execute(sql.SQL("{}").format(each))


@contextlib.contextmanager
def between(
    world: World,
    tenant: str,
    broken: Sequence[sql.Composable],
    mended: Sequence[sql.Composable],
    *,
    new_sessions: bool = False,
) -> Iterator[None]:
    """As a superuser in the database of ``tenant``. ``new_sessions``: it makes a difference to those alone."""
    with world.estate.owner(tenant) as admin:
        changes(admin, broken)
        try:
            if new_sessions:
                world.reopen()
            yield
        finally:
            changes(admin, mended)
            if new_sessions:
                world.reopen()


_ROWS = (
    "INSERT INTO project (tenant_id, name) VALUES (%(tenant)s, %(text)s)",
    (
        "INSERT INTO task (tenant_id, project_id, title) SELECT %(tenant)s, project_id, %(text)s FROM project"
        " WHERE tenant_id = %(tenant)s"
    ),
    (
        "INSERT INTO comment (tenant_id, task_id, author, body) SELECT %(tenant)s, task_id, 'x', %(text)s FROM task"
        " WHERE tenant_id = %(tenant)s"
    ),
)

_STANDING = (
    (
        "SELECT c.oid::regclass::text, relowner, relrowsecurity, relforcerowsecurity, relacl::text, reloptions"
        "  FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%' ORDER BY 1"
    ),
    "SELECT nspname, nspowner, nspacl::text FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_t%' ORDER BY 1",
    (
        "SELECT polrelid::regclass::text, polname, polcmd, polpermissive, pg_get_expr(polqual, polrelid),"
        " pg_get_expr(polwithcheck, polrelid) FROM pg_policy ORDER BY 1, 2"
    ),
    (
        "SELECT p.oid::regprocedure::text, proowner, prosecdef, provolatile, proleakproof, proconfig, md5(prosrc),"
        " proacl::text FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace"
        " WHERE nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
    ),
    (
        "SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls"
        "  FROM pg_roles ORDER BY 1"
    ),
    "SELECT roleid::regrole::text, member::regrole::text FROM pg_auth_members ORDER BY 1, 2",
    "SELECT datname, datacl::text FROM pg_database ORDER BY 1",
    "SELECT setdatabase, setrole, setconfig::text FROM pg_db_role_setting ORDER BY 1, 2",
    "SELECT defaclrole, defaclnamespace, defaclobjtype, defaclacl::text FROM pg_default_acl ORDER BY 1, 2, 3",
    (
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid <> 0 AND connamespace <> 'pg_catalog'::regnamespace ORDER BY 1, 2"
    ),
    "SELECT extname FROM pg_extension ORDER BY 1",
    "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2",
    "SELECT oid FROM pg_largeobject_metadata ORDER BY 1",
)
