"""boto3 clients that ask again only of what a fault may have changed: most of what a proof reads stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_READS = ("get_", "list_", "describe_")


class Reading:
    """Makes clients as a session does; ``forget`` what was read of a service as soon as something changes there."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._clients: dict[tuple[str, str | None], Any] = {}
        self._known: dict[str, dict[Any, Any]] = {}

    def client(self, service_name: str, *, region_name: str | None = None) -> Any:
        key = (service_name, region_name)
        if key not in self._clients:
            made = self._session.client(service_name, region_name=region_name)
            self._clients[key] = _Client(made, region_name, self._known.setdefault(service_name, {}))
        return self._clients[key]

    def forget(self, *services: str) -> None:
        for service in services or tuple(self._known):
            self._known.get(service, {}).clear()


class _Client:
    def __init__(self, client: Any, region: str | None, known: dict[Any, Any]) -> None:
        self._client, self._region, self._known = client, region, known

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        return self._once(name, found) if name.startswith(_READS) and name != "get_paginator" else found

    def get_paginator(self, name: str) -> Any:
        return _Paginator(self._once(f"pages of {name}", lambda **asked: self._pages(name, asked)))

    def _pages(self, name: str, asked: dict[str, Any]) -> list[Any]:
        return list(self._client.get_paginator(name).paginate(**asked))

    def _once(self, name: str, read: Callable[..., Any]) -> Callable[..., Any]:
        def reading(**asked: Any) -> Any:
            key = (name, self._region, repr(sorted(asked.items())))
            if key not in self._known:
                self._known[key] = read(**asked)
            return self._known[key]

        return reading


class _Paginator:
    def __init__(self, pages: Callable[..., Any]) -> None:
        self.paginate = pages
