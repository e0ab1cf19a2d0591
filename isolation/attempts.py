"""What was tried against whom, what should have happened and what did: the evidence, as values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import psycopg
from botocore.exceptions import BotoCoreError, ClientError

from tenantry.errors import TenantryError


class Layer(StrEnum):
    """Which kind of border was tried."""

    DATABASE = "database"  #: connections and SQL, against the real servers
    IAM = "iam"  #: sessions, roles and secrets: evaluated over the documents read back from the cloud
    FILES = "files"  #: objects and the keys that encrypt them; evaluated likewise, names tried for real
    API = "api"  #: the SDK and the broker
    NETWORK = "network"  #: who reaches whose database, by the security groups read back from the cloud


class Severity(StrEnum):
    """What it means when an attempt did not end as it should."""

    BREACH = "breach"  #: another tenant's data is read or changed
    WALL = "wall"  #: one of several walls is down: the others still hold (defence in depth)
    LEAK = "leak"  #: that something exists, or how much of it, becomes known; no content


#: attackers that are no tenant; no tenant id has a space in it
OUTSIDER = "an outsider"  #: nobody's credentials, or another account's
INSIDER = "another principal"  #: of the account, that IAM allows everything and that is no broker
INSPECTOR = "the catalogue"  #: nobody attacks: what stands is compared with what must stand


@dataclass(frozen=True)
class Answer:
    """What came of asking once. ``code``: ``ok``, an SQLSTATE, an outcome of IAM or the name of an error.

    ``by``: what decided, where that says more than the code: a policy's statement. Neither ever holds a secret.
    """

    code: str
    detail: str = ""
    by: str = ""

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}" if self.detail else self.code


@dataclass(frozen=True)
class Allow:
    """The same question about the attacker's own: it must be answered, or the refusal proves nothing."""

    tried: str
    actual: str
    decided_by: str
    passed: bool


@dataclass(frozen=True)
class Attempt:
    """One attack of one tenant on another, with its permitted twin.

    ``name`` and ``layer`` identify the attack, release after release. ``attacker`` is a tenant's id, ``OUTSIDER``,
    ``INSIDER`` or ``INSPECTOR``; ``victim`` a tenant's id or the name of what tenants share. ``tried`` is one
    sentence, ``expected`` what must come of it, ``actual`` what did. ``decided_by`` names the policy statement or the
    SQLSTATE that decided. ``refused``: the attack came to nothing, and in the way expected.
    """

    name: str
    layer: Layer
    attacker: str
    victim: str
    tried: str
    expected: str
    actual: str
    decided_by: str
    refused: bool
    allow: Allow
    severity: Severity = Severity.BREACH

    @property
    def id(self) -> str:
        """``database/forged-tenant``: the same for every pair."""
        return f"{self.layer.value}/{self.name}"

    @property
    def passed(self) -> bool:
        """Isolation was shown: the attack was refused, and its twin on the attacker's own was not."""
        return self.refused and self.allow.passed

    def as_dict(self) -> dict[str, Any]:
        """For JSON: every field, ``id`` and ``passed``."""
        plain = {"layer": self.layer.value, "severity": self.severity.value}
        return {"id": self.id, **asdict(self), **plain, "passed": self.passed}


@dataclass(frozen=True)
class Probe:
    """A question that can be asked of another tenant's and of one's own.

    ``refused`` judges the answer to ``attack``, ``granted`` that to ``own``. Both may raise: that is an answer too.
    ``by``: who attacks, where that is not the tenant. ``fast``: also tried after every operation, not only at night.
    ``of_logins``: what comes of it depends on the two tenants' logins and schemas alone, and it takes long: tenants
    that share them need not all try.
    """

    name: str
    layer: Layer
    tried: str
    expected: str
    attack: Callable[[], Answer]
    refused: Callable[[Answer], bool]
    own_tried: str
    own: Callable[[], Answer]
    granted: Callable[[Answer], bool]
    severity: Severity = Severity.BREACH
    by: str | None = None
    fast: bool = False
    of_logins: bool = False

    def run(self, attacker: str, victim: str) -> Attempt:
        """Ask both. Never raises."""
        attack, own = answered(self.attack), answered(self.own)
        return Attempt(
            name=self.name,
            layer=self.layer,
            attacker=self.by or attacker,
            victim=victim,
            tried=self.tried,
            expected=self.expected,
            actual=str(attack),
            decided_by=attack.by or attack.code,
            refused=self.refused(attack),
            allow=Allow(self.own_tried, str(own), own.by or own.code, self.granted(own)),
            severity=self.severity,
        )


def failed(name: str, layer: Layer, attacker: str, victim: str, tried: str, error: Exception) -> Attempt:
    """The attempt of which nothing came because ``error`` was in the way: isolation was not shown."""
    answer = of_error(error)
    nothing = Allow("not tried", "not tried", answer.code, False)
    return Attempt(name, layer, attacker, victim, tried, "an answer", str(answer), answer.code, False, nothing)


def answered(question: Callable[[], Answer]) -> Answer:
    """The answer, an exception being one as well."""
    try:
        return question()
    except Exception as error:
        return of_error(error)


def of_error(error: Exception) -> Answer:
    """An error as an answer. Only errors whose texts hold no data are quoted."""
    if isinstance(error, psycopg.Error):
        # the primary message alone: DETAIL quotes rows
        return Answer(error.sqlstate or type(error).__name__, error.diag.message_primary or "")
    if isinstance(error, TenantryError):
        return Answer(type(error).__name__, error.message)
    if isinstance(error, ClientError):
        return Answer(error.response["Error"]["Code"], f"of {error.operation_name}")
    if isinstance(error, BotoCoreError | ValueError | LookupError):
        return Answer(type(error).__name__, str(error))
    return Answer(type(error).__name__)


def is_ok(answer: Answer) -> bool:
    return answer.code == "ok"


def is_one_of(*codes: str) -> Callable[[Answer], bool]:
    return lambda answer: answer.code in codes
