"""Stripe's lists: newest first, cursors by id, filters on creation time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.errors import invalid, no_such
from localcloud.stripe.render import render
from localcloud.stripe.store import Object

MAX_LIMIT = 100
DEFAULT_LIMIT = 10


def page(
    account: Account,
    kind: str,
    params: dict[str, Any],
    url: str,
    keep: Callable[[Object], bool] = lambda _: True,
    *,
    documents: list[Object] | None = None,
) -> Object:
    """A list object of the kind's documents that ``keep`` wants (or of ``documents``, oldest first)."""
    limit = params.get("limit", DEFAULT_LIMIT)
    if not 1 <= limit <= MAX_LIMIT:
        bound, word = (MAX_LIMIT, "less") if limit > MAX_LIMIT else (1, "greater")
        raise invalid(
            f"This value must be {word} than or equal to {bound} (it currently is '{limit}').",
            param="limit",
            code="parameter_invalid_integer",
        )
    created = _created_filter(params.get("created"))

    def wanted(item: Object) -> bool:
        return created(item) and keep(item)

    after, before = params.get("starting_after"), params.get("ending_before")
    if after is not None and before is not None:
        raise invalid("You cannot parameterize both starting_after and ending_before.", param="starting_after")
    newest_first = account.store.newest_first(kind) if documents is None else reversed(documents)
    if before is not None:
        newer = itertools.takewhile(lambda item: item["id"] != before, newest_first)
        found = [item for item in newer if wanted(item)][-limit - 1 :]
        _known(account, kind, before, documents, "ending_before")
        chosen, has_more = found[-limit:], len(found) > limit
    else:
        if after is not None:
            # A cursor that a filter hides (its object changed since the last page) still marks a place.
            _known(account, kind, after, documents, "starting_after")
            newest_first = itertools.dropwhile(lambda item: item["id"] != after, newest_first)
            next(newest_first)
        found = list(itertools.islice(filter(wanted, newest_first), limit + 1))
        chosen, has_more = found[:limit], len(found) > limit
    return {
        "object": "list",
        "data": [render(account, item) for item in chosen],
        "has_more": has_more,
        "url": url,
    }


def _known(account: Account, kind: str, cursor: str, documents: list[Object] | None, param: str) -> None:
    known = (
        account.store.get(kind, cursor) is not None
        if documents is None
        else any(item["id"] == cursor for item in documents)
    )
    if not known:
        raise no_such(kind.split(".")[-1], cursor, param=param, status=400)


def _created_filter(created: Any) -> Callable[[Object], bool]:
    if created is None:
        return lambda _: True
    if isinstance(created, int):
        return lambda item: bool(item["created"] == created)
    checks = {
        "gt": lambda value, bound: value > bound,
        "gte": lambda value, bound: value >= bound,
        "lt": lambda value, bound: value < bound,
        "lte": lambda value, bound: value <= bound,
    }
    return lambda item: all(checks[name](item["created"], bound) for name, bound in created.items())
