"""A local Stripe without HTTP, behind the catalogue's API; it can die before or after any request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from localcloud.stripe.errors import ApiError
from localcloud.stripe.inprocess import InProcess
from provisioner.billing import catalogue_file
from provisioner.billing.catalogue import Catalogue
from provisioner.billing.gateway import Document
from provisioner.billing.stripe_catalogue import push, snapshot
from provisioner.billing.stripe_catalogue.api import CatalogueApi
from provisioner.billing.stripe_catalogue.changes import ChangePlan
from provisioner.billing.stripe_catalogue.differences import plan_changes
from provisioner.errors import NotFound, OperatorNeeded

NOW = 1_800_000_000


class Died(BaseException):
    """The process ended here."""


class InProcessApi(CatalogueApi):
    """``die_at``: the number of the writing request around which the process ends; ``answered``: whether Stripe had
    done it by then."""

    def __init__(self, stripe: InProcess | None = None) -> None:
        self.stripe = stripe or InProcess(lambda: NOW)
        self.livemode = False
        self.log: list[tuple[str, str, Mapping[str, Any]]] = []
        self.writes = 0
        self.die_at: int | None = None
        self.answered = True

    def _ask(self, method: str, path: str, params: Mapping[str, Any], doing: str) -> Document:
        given = dict(params)
        key = given.pop("idempotency_key", None)
        dies = False
        if method != "get":
            self.log.append((method, path, given))
            dies = self.writes == self.die_at
            self.writes += 1
        if dies and not self.answered:
            raise Died
        try:
            found = self.stripe.call(method.upper(), path, given, idempotency_key=key)
        except ApiError as error:
            kind = NotFound if error.status == 404 else OperatorNeeded
            raise kind(f"{doing}: {error}") from None
        if dies:
            raise Died
        return found

    def close(self) -> None:
        """Nothing is open."""

    def all(self, path: str, **params: Any) -> list[Document]:
        return list(self.list(path, params))


def parse(text: str) -> Catalogue:
    return catalogue_file.parse(text, "plans.toml")


def planned(api: CatalogueApi, catalogue: Catalogue, *, adopt: bool = False) -> ChangePlan:
    return plan_changes(catalogue, snapshot.read(api, catalogue), adopt=adopt)


def pushed(api: CatalogueApi, catalogue: Catalogue, *, adopt: bool = False) -> ChangePlan:
    """The plan that was applied."""
    plan = planned(api, catalogue, adopt=adopt)
    push.apply(api, plan, source=catalogue.source)
    return plan


def deaths(writes: int) -> Iterator[tuple[int, bool]]:
    """Every place where a push of so many writing requests can end."""
    for number in range(writes):
        yield number, False
        yield number, True
