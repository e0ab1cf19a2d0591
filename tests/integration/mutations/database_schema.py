"""One schema as the catalogue has it, and how a fault in it is made."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from psycopg import sql

from isolation.attempts import Answer
from provisioner.broker import entry_token
from tenantry.session import TenantSession
from tests.integration.mutations.database_world import (
    ATTACKER,
    BRIDGE,
    OTHER_BRIDGE,
    SILO,
    World,
    between,
    changes_rows,
    passes_on,
    rows_of_others,
    runs,
)
from tests.integration.mutations.fault import Fault

_TABLES = """
SELECT c.relname, a.attname IS NOT NULL, pg_get_userbyid(c.relowner) FROM pg_class c
  LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
 WHERE c.relnamespace = %s::regnamespace AND c.relkind IN ('r', 'p') ORDER BY 1
"""
_VIEWS = "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind = 'v' ORDER BY 1"
_POLICIES = """
SELECT c.relname, p.polname FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
 WHERE c.relnamespace = %s::regnamespace AND p.polname = 'tenantry_tenant' ORDER BY 1, 2
"""
Ask = Callable[[TenantSession], Answer]


@dataclass(frozen=True)
class Schema:
    """Of a tenant, or of the pool (``kind``). Texts of SQL have names in braces, which become identifiers."""

    world: World
    home: str
    kind: str
    name: str
    owner: str
    login: str
    database: str
    tables: tuple[str, ...]  #: of tenants
    reference: tuple[str, ...]  #: without a tenant
    views: tuple[str, ...]
    policies: tuple[tuple[str, str], ...]  #: table and policy

    @property
    def stranger(self) -> str:
        """A tenant with a login of its own who has no business here, on the same server if there is one."""
        return OTHER_BRIDGE if self.home == BRIDGE else BRIDGE

    @property
    def attacker(self) -> str:
        """Whose sessions try what a fault is good for."""
        return {ATTACKER: ATTACKER, BRIDGE: OTHER_BRIDGE, SILO: SILO}[self.home]

    @property
    def closest(self) -> str:
        """The attack that any weakness here would help first."""
        return {"pool": "raw-select", "bridge": "read-schema", "silo": "connect"}[self.kind]

    def filled(self, text: str, **names: str) -> sql.Composed:
        known = {
            "schema": self.name,
            "login": self.login,
            "owner": self.owner,
            "database": self.database,
            "definer": f"{self.world.estate.shared_database}_tenantry",
            "stranger": self.world.estate.tenants[self.stranger].login,
        }
        return sql.SQL(text).format(**{key: sql.Identifier(value) for key, value in {**known, **names}.items()})

    def fault(
        self,
        part: str,
        weakened: str,
        broken: Sequence[str],
        mended: Sequence[str],
        *,
        exploit: Ask | None = None,
        by: str = "",
        closest: str = "",
        logins: bool = False,
        new_sessions: bool = False,
        **names: str,
    ) -> Fault:
        """``by``: the tenant whose session ``exploit`` is tried in."""
        return Fault(
            f"{self.kind}/{part}",
            f"database of a {self.kind}" if self.kind != "pool" else "database of the pool",
            weakened,
            partial(
                between,
                self.world,
                self.home,
                [self.filled(each, **names) for each in broken],
                [self.filled(each, **names) for each in mended],
                new_sessions=new_sessions,
            ),
            None if exploit is None else self.world.attack(by or self.attacker, exploit),
            closest,
            logins=logins,
        )

    def steals(self, relation: str) -> Ask:
        """Reads rows of others in a relation of this schema."""
        source = sql.SQL("(SELECT tenant_id FROM {})").format(sql.Identifier(self.name, relation))
        return rows_of_others(self.attacker, source)

    def steals_by(self, query: str, **names: str) -> Ask:
        """Likewise, of a query that yields tenants' ids."""
        return rows_of_others(self.attacker, sql.SQL("({})").format(self.filled(query, **names)))

    def tries(self, statement: str, does: str, **names: str) -> Ask:
        """Whether a statement is let through."""
        return runs(self.filled(statement, **names), does)

    def writes_read_only(self, statement: str, **names: str) -> Ask:
        """Whether a statement changes rows of its own tenant that entered with a token that may only read."""
        written = changes_rows(self.filled(statement, **names))
        key = bytes.fromhex(self.world.estate.shared.value(self.world.estate.pool_token_secret)["key"])

        def ask(session: TenantSession) -> Answer:
            token = entry_token(key, session.tenant_id, 1, int(time.time()) + 600, writes=False)
            session.execute("SELECT set_config('app.tenant_token', %s, true)", (token,))
            return written(session)

        return ask

    def passes_on(self, relation: str) -> Ask:
        """Whether a session may give PUBLIC what it has on a relation."""
        name = sql.Identifier(self.name, relation)
        statement = sql.SQL("GRANT SELECT ON {} TO PUBLIC").format(name)
        return passes_on(statement, sql.Literal(name.as_string()))


def schema_of(world: World, home: str) -> Schema:
    outputs = world.estate.tenants[home]
    name = outputs.db_schema
    with world.estate.owner(home) as admin:
        tables = admin.execute(_TABLES, (name,)).fetchall()
        views = [row[0] for row in admin.execute(_VIEWS, (name,))]
        policies = [(row[0], row[1]) for row in admin.execute(_POLICIES, (name,))]
    return Schema(
        world,
        home,
        {ATTACKER: "pool", BRIDGE: "bridge", SILO: "silo"}[home],
        name,
        next(owner for _, by_tenant, owner in tables if by_tenant),
        outputs.login,
        outputs.database.name,
        tuple(table for table, by_tenant, _ in tables if by_tenant),
        tuple(table for table, by_tenant, owner in tables if not by_tenant and table == "task_status"),
        tuple(views),
        tuple(policies),
    )
