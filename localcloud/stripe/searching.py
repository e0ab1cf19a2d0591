"""Stripe's search query language, the part that finds customers and subscriptions, as a predicate.

    email:'ada@example.com' AND -metadata['tier']:'pool'        created>1800000000 OR status:"active"

Clauses are joined by AND or by OR, not by both. ``:`` is equality (strings without regard to case), ``~`` a part of a
string, ``> >= < <=`` compare numbers, ``-`` before a clause negates it, ``field:null`` asks for its absence.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.api_faults import current
from localcloud.stripe.errors import invalid
from localcloud.stripe.lists import DEFAULT_LIMIT, MAX_LIMIT
from localcloud.stripe.render import render
from localcloud.stripe.store import Object

_CLAUSE = re.compile(
    r"""\s*(?P<negated>-)?(?P<field>\w+)(?:\[(?P<quote>["'])(?P<key>[^"']*)(?P=quote)\])?\s*
    (?P<operator>:|~|>=|<=|>|<)\s*(?P<value>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|-?\d+|null|true|false)\s*""",
    re.VERBOSE,
)
_JOIN = re.compile(r"(AND|OR)(?=\s|-)", re.IGNORECASE)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip
MAX_CLAUSES = 10


@dataclass(frozen=True)
class Clause:
    field: str
    key: str | None  #: of ``metadata``
    operator: str
    value: str | int | None
    negated: bool

    def matches(self, document: Object) -> bool:
        found = document["metadata"].get(self.key) if self.field == "metadata" else document.get(self.field)
        return self._compare(found) != self.negated

    def _compare(self, found: Any) -> bool:
        if self.value is None or found is None:
            return self.value is None and found is None
        if self.operator == ":":
            return str(found).casefold() == str(self.value).casefold()
        if self.operator == "~":
            return str(self.value).casefold() in str(found).casefold()
        return isinstance(found, int) and isinstance(self.value, int) and _COMPARE[self.operator](found, self.value)


@dataclass(frozen=True)
class Query:
    clauses: tuple[Clause, ...]
    any_of: bool

    def matches(self, document: Object) -> bool:
        return (any if self.any_of else all)(clause.matches(document) for clause in self.clauses)


def parse(text: str, fields: frozenset[str]) -> Query:
    """400 when the text isn't a query, or asks for another field than ``fields`` and ``metadata``."""
    clauses: list[Clause] = []
    joins: set[str] = set()
    position = 0
    while True:
        match = _CLAUSE.match(text, position)
        if match is None:
            raise _malformed(text)
        clauses.append(_clause(match, fields))
        position = match.end()
        if position == len(text):
            break
        join = _JOIN.match(text, position)
        joins.add(join.group(1).upper() if join else "AND")  # a blank between clauses is an AND
        position = join.end() if join else position
    if len(joins) > 1:
        raise invalid("You cannot combine AND and OR in one search query.", param="query")
    if len(clauses) > MAX_CLAUSES:
        raise invalid(f"A search query can have up to {MAX_CLAUSES} clauses.", param="query")
    return Query(tuple(clauses), joins == {"OR"})


def _clause(match: re.Match[str], fields: frozenset[str]) -> Clause:
    field, key, text = match["field"], match["key"], match["value"]
    if field == "metadata" and key is None:
        raise invalid("metadata is searched by key: metadata['key']:'value'", param="query")
    if (field != "metadata" and key is not None) or field not in fields | {"metadata"}:
        raise invalid(
            f"Field `{field}` is an unsupported search field: there are {', '.join(sorted(fields))} and metadata.",
            param="query",
        )
    value: str | int | None
    if text[0] in "\"'":
        value = re.sub(r"\\(.)", r"\1", text[1:-1])
    elif text == "null":
        value = None
    else:
        value = text if text in ("true", "false") else int(text)
    if match["operator"] in _COMPARE and not isinstance(value, int):
        raise _malformed(match.group())
    return Clause(field, key, match["operator"], value, match["negated"] is not None)


def _malformed(text: str) -> Exception:
    return invalid(
        f"We were unable to parse your search query: {text[:100]}. See https://stripe.com/docs/search.", param="query"
    )


def search(account: Account, kind: str, params: dict[str, Any], url: str, fields: frozenset[str]) -> Object:
    """A page of the documents that ``query`` finds, newest first; ``page`` is the cursor that the last one gave.

    What was changed less than the lag ago (the fault ``search_lag_s``) is not found yet.
    """
    query = parse(params["query"], fields)
    limit = params.get("limit", DEFAULT_LIMIT)
    if not 1 <= limit <= MAX_LIMIT:
        raise invalid(f"limit must be from 1 to {MAX_LIMIT}", param="limit", code="parameter_invalid_integer")
    start = params.get("page", "0")
    if not start.isdecimal():
        raise invalid("Invalid page: use next_page of the last answer", param="page")
    lag = current(account)["search_lag_s"]
    known = account.wall() - lag
    found = [
        document
        for document in reversed(_candidates(account, kind, query))
        if not document.get("deleted")
        and query.matches(document)
        and not (lag and account.changed_at.get(document["id"], 0.0) > known)
    ]
    chosen = found[int(start) : int(start) + limit]
    more = len(found) > int(start) + limit
    return {
        "object": "search_result",
        "data": [render(account, document) for document in chosen],
        "has_more": more,
        "next_page": str(int(start) + limit) if more else None,
        "url": url,
    }


def _candidates(account: Account, kind: str, query: Query) -> list[Object]:
    """All documents of the kind, or fewer that an index knows to be all that can match."""
    for clause in () if query.any_of else query.clauses:
        if clause.field == "metadata" and clause.operator == ":" and not clause.negated and clause.value is not None:
            return account.store.where(kind, "metadata", f"{clause.key}={clause.value}".casefold())
    return account.store.all(kind)
