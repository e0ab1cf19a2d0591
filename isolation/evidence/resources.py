"""What an attempt aims at, for the matrix of tenants and resources."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from isolation.evidence.document import AttemptRecord


class Resource(StrEnum):
    DATABASE = "database"  #: logins and connections
    ROWS = "schema, rows"
    FILES = "files"
    KEY = "key"
    SECRETS = "secrets"
    ROLE = "role"
    NETWORK = "network"
    API = "API"


_LAYERS = {
    "database": Resource.ROWS,
    "iam": Resource.ROLE,
    "files": Resource.FILES,
    "api": Resource.API,
    "network": Resource.NETWORK,
}
#: Parts of an attempt's name, the first that fits; what they mean depends on the layer.
_WORDS: dict[str, tuple[tuple[str, Resource], ...]] = {
    "database": tuple(
        (word, Resource.DATABASE)
        for word in (
            *("connect", "become-another", "login", "password", "tls", "role", "member", "superuser"),
            *("session-authorization", "databases"),
        )
    ),
    "iam": (
        ("secret", Resource.SECRETS),
        ("key", Resource.KEY),
        ("kms", Resource.KEY),
        ("grant", Resource.KEY),
        ("rds", Resource.DATABASE),
        ("object", Resource.FILES),
        ("bucket", Resource.FILES),
    ),
    "files": (("decrypt", Resource.KEY), ("key", Resource.KEY), ("kms", Resource.KEY), ("grant", Resource.KEY)),
}


def resource(attempt: AttemptRecord) -> Resource:
    """By layer and name; an attempt of a kind that is unknown here counts for its layer."""
    words = _WORDS.get(attempt.layer, ())
    found = next((what for word, what in words if word in attempt.name), None)
    return found or _LAYERS.get(attempt.layer, Resource.API)


@dataclass
class Cell:
    """Attempts that have to do with one tenant and one resource."""

    passed: int = 0
    failed: int = 0

    @property
    def tried(self) -> int:
        return self.passed + self.failed


Row = dict[Resource, Cell]


def matrix(tenant_ids: Iterable[str], attempts: Iterable[AttemptRecord]) -> dict[str, Row]:
    """Of each tenant and resource the attempts in which the tenant attacks or is attacked."""
    found = {tenant_id: {what: Cell() for what in Resource} for tenant_id in tenant_ids}
    for each in attempts:
        what = resource(each)
        for name in {each.attacker, each.victim} & found.keys():
            cell = found[name][what]
            if each.passed:
                cell.passed += 1
            else:
                cell.failed += 1
    return found
