"""Who is told when something of a tenant has changed: one listening connection serves every cache."""

from __future__ import annotations

from typing import Protocol


class Follower(Protocol):
    """A cache. Called on the listener's thread or task: it must not block."""

    def invalidate(self, tenant_id: str) -> None:
        """The tenant has changed."""

    def flush(self) -> None:
        """Announcements may have been missed."""


class Announcements:
    def __init__(self, *followers: Follower) -> None:
        self._followers = followers

    def follow(self, follower: Follower) -> None:
        self._followers += (follower,)

    def invalidate(self, tenant_id: str) -> None:
        for follower in self._followers:
            follower.invalidate(tenant_id)

    def flush(self) -> None:
        for follower in self._followers:
            follower.flush()
