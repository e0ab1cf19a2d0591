"""Stripe's lists: newest first, cursors by id, filters on creation time."""

from __future__ import annotations

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
    source = account.store.all(kind) if documents is None else documents
    created = _created_filter(params.get("created"))
    newest_first = [item for item in reversed(source) if keep(item) and created(item)]
    after, before = params.get("starting_after"), params.get("ending_before")
    if after is not None and before is not None:
        raise invalid("You cannot parameterize both starting_after and ending_before.", param="starting_after")
    if after is not None:
        rest = newest_first[_position(source, newest_first, kind, after, "starting_after") + 1 :]
        chosen, has_more = rest[:limit], len(rest) > limit
    elif before is not None:
        rest = newest_first[: _position(source, newest_first, kind, before, "ending_before")]
        chosen, has_more = rest[-limit:], len(rest) > limit
    else:
        chosen, has_more = newest_first[:limit], len(newest_first) > limit
    return {
        "object": "list",
        "data": [render(account, item) for item in chosen],
        "has_more": has_more,
        "url": url,
    }


def _position(source: list[Object], shown: list[Object], kind: str, cursor: str, param: str) -> int:
    for index, item in enumerate(shown):
        if item["id"] == cursor:
            return index
    # A cursor that a filter hides (its object changed since the last page) still marks a place.
    order = {item["id"]: position for position, item in enumerate(source)}
    if cursor not in order:
        raise no_such(kind.split(".")[-1], cursor, param=param, status=400)
    after = [index for index, item in enumerate(shown) if order[item["id"]] < order[cursor]]
    return (after[0] if after else len(shown)) - (1 if param == "starting_after" else 0)


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
