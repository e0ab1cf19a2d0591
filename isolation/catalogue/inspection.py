"""What stands in one database against what must stand there, asked by a tenant's own login.

PostgreSQL's catalogue is open to every login, so no higher privilege is needed, and nothing is taken from what the
platform believes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from psycopg.types.json import Jsonb

from components.tiers import TIERS
from isolation.attempts import INSPECTOR, Answer, Layer, Probe, is_ok, is_one_of
from isolation.catalogue import pool, rights, tables
from isolation.catalogue.check import PREAMBLE, Check
from isolation.subject import Subject
from tenantry.session import TenantSession

CHECKS: tuple[Check, ...] = tables.CHECKS + rights.CHECKS + pool.CHECKS
_SHOWN = 5  #: faults that an answer names; it counts the others
_SEEN = "SELECT count(*) FROM app WHERE schema = ANY (%(schemas)s)"


@dataclass(frozen=True)
class Inspection:
    """``residents``: tenants of one database that the proof knows, one of which lends its session.

    ``whole``: every schema of the application in that database, also of tenants that the proof doesn't know; otherwise
    only the residents'. ``reference``: names of the tables that the migrations declare to be without a tenant; None if
    unknown.
    """

    residents: Sequence[Subject]
    whole: bool
    reference: tuple[str, ...] | None = None

    @property
    def reader(self) -> Subject:
        return self.residents[0]

    @property
    def schemas(self) -> list[str]:
        return sorted({each.outputs.db_schema for each in self.residents})

    def parameters(self) -> dict[str, object]:
        known = {
            each.outputs.db_schema: {
                "schema": each.outputs.db_schema,
                "login": each.outputs.login,
                "tenant": each.id if TIERS[each.outputs.tier].own_schema else None,
                # whether a tenant of the pool may is its token's and register's to say, not its login's
                "writes": each.outputs.access.writes or not TIERS[each.outputs.tier].own_login,
            }
            for each in self.residents
        }
        return {
            "only": None if self.whole else self.schemas,
            "schemas": self.schemas,
            "known": Jsonb(list(known.values())),
            "reference": None if self.reference is None else list(self.reference),
            "digests": Jsonb(pool.TOKEN_CHECK_SHA256),
            "extensions": pool.EXTENSIONS,
        }

    def probes(self) -> Iterator[Probe]:
        """One a check; all of them in one session of the reader's, opened by the first."""

        @functools.cache
        def asked() -> dict[str, list[str]] | Exception:
            try:
                return self._ask()
            except Exception as error:
                return error

        def of(check: Check) -> list[str]:
            answers = asked()
            if isinstance(answers, Exception):
                raise answers
            return answers[check.name]

        def faults(check: Check) -> Callable[[], Answer]:
            def ask() -> Answer:
                found = of(check)
                more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
                return Answer("fault" if found else "none", "; ".join(found[:_SHOWN]) + more)

            return ask

        def seen() -> Answer:
            (count,) = of(_SEEN_CHECK)
            return Answer("ok" if int(count) == len(self.schemas) else "none", f"{count} of {len(self.schemas)}")

        where = ", ".join(self.schemas) + (" and every other schema" if self.whole else "")
        for check in CHECKS:
            yield Probe(
                check.name,
                Layer.DATABASE,
                f"{check.tried}; in {where} of {self.reader.outputs.database.name}",
                "none",
                faults(check),
                is_one_of("none"),
                "sees these schemas there",
                seen,
                is_ok,
                check.severity,
                by=INSPECTOR,
                fast=True,
            )

    def _ask(self) -> dict[str, list[str]]:
        parameters = self.parameters()
        with self.reader.session() as session:
            session.execute("SET LOCAL search_path = pg_catalog")
            return {check.name: _texts(session, check, parameters) for check in (*CHECKS, _SEEN_CHECK)}


_SEEN_CHECK = Check("seen", tables.OWNERS.severity, "", _SEEN)


def _texts(session: TenantSession, check: Check, parameters: dict[str, object]) -> list[str]:
    rows = session.execute(PREAMBLE + check.sql, parameters).fetchall()
    return sorted({str(text) for (text,) in rows})
