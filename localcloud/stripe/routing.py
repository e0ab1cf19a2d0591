"""The table of the API's operations: method and path to a handler and the typed class of its parameters."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from localcloud.stripe.errors import not_implemented
from localcloud.stripe.store import Object

#: (account, parameters, ids from the path) -> the document to answer with
Handler = Callable[..., Object]


@dataclass(frozen=True)
class Route:
    method: str
    pattern: re.Pattern[str]
    handler: Handler
    schema: str | None  #: name of a class in ``stripe.params`` (or ``billing.X``, ...); None: no parameter but expand
    supports: frozenset[str]  #: dotted names of parameters that the handler acts on, list positions left out


_ROUTES: list[Route] = []
#: Those without an id in their path, which come before those that would take a part of it for one.
_LITERAL: dict[tuple[str, str], Route] = {}
#: What every list understands; see ``lists.page``.
PAGING = "limit starting_after ending_before"


def routes() -> tuple[Route, ...]:
    return tuple(_ROUTES)


def route(method: str, path: str, schema: str | None = None, supports: str = "") -> Callable[[Handler], Handler]:
    """Register a handler for ``path``, whose ``{name}`` parts are ids given to it as keyword arguments.

    ``supports``: names of the parameters it acts on, separated by blanks; ``items.price`` is ``items[0][price]``, and
    ``metadata`` is all that is in it. Other parameters of the schema are refused unless they are empty or false.
    """
    pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))

    def register(handler: Handler) -> Handler:
        made = Route(method, pattern, handler, schema, frozenset(supports.split()))
        _ROUTES.append(made)
        if "{" not in path:
            _LITERAL[(method, path)] = made
        return handler

    return register


def find(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    literal = _LITERAL.get((method, path))
    if literal is not None:
        return literal, {}
    for candidate in _ROUTES:
        if candidate.method == method and (match := candidate.pattern.fullmatch(path)):
            return candidate, match.groupdict()
    return None


def refuse_unsupported(route: Route, params: dict[str, Any]) -> None:
    """400 for the first parameter that the handler would ignore."""
    for name, value in _leaves(params, ""):
        parts = name.split(".")
        if value in (None, "", False) or any(
            ".".join(parts[:end]) in route.supports for end in range(1, len(parts) + 1)
        ):
            continue
        raise not_implemented(parts[0] + "".join(f"[{part}]" for part in parts[1:]))


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, name)
    else:
        yield name, value


@functools.cache
def schema_class(name: str | None) -> type | None:
    """The class in ``stripe.params``; ``billing.MeterCreateParams`` is in its sub-package."""
    if name is None:
        return None
    package, _, leaf = name.rpartition(".")
    module = importlib.import_module("stripe.params" + (f".{package}" if package else ""))
    found = getattr(module, leaf)
    assert isinstance(found, type)
    return found
