"""The table of the API's operations: method and path to a handler and the typed class of its parameters."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.store import Object

#: (account, parameters, ids from the path) -> the document to answer with
Handler = Callable[..., Object]


@dataclass(frozen=True)
class Route:
    method: str
    pattern: re.Pattern[str]
    handler: Handler
    schema: str | None  #: name of a class in ``stripe.params`` (or ``billing.X``, ...); None: no parameter but expand


_ROUTES: list[Route] = []


def route(method: str, path: str, schema: str | None = None) -> Callable[[Handler], Handler]:
    """Register a handler for ``path``, whose ``{name}`` parts are ids given to it as keyword arguments."""
    pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))

    def register(handler: Handler) -> Handler:
        _ROUTES.append(Route(method, pattern, handler, schema))
        return handler

    return register


def find(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    for candidate in _ROUTES:
        if candidate.method == method and (match := candidate.pattern.fullmatch(path)):
            return candidate, match.groupdict()
    return None


def schema_class(name: str | None) -> type | None:
    """The class in ``stripe.params``; ``billing.MeterCreateParams`` is in its sub-package."""
    if name is None:
        return None
    import importlib

    package, _, leaf = name.rpartition(".")
    module = importlib.import_module("stripe.params" + (f".{package}" if package else ""))
    found: Any = getattr(module, leaf)
    return found if isinstance(found, type) else None


__all__ = ["Account", "Route", "find", "route", "schema_class"]
