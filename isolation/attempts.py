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

    ``tried`` is one sentence, ``expected`` what must come of it, ``actual`` what did. ``decided_by`` names the policy
    statement or the SQLSTATE that decided. ``refused``: the attack came to nothing, and in the way expected.
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

    @property
    def passed(self) -> bool:
        """Isolation was shown: the attack was refused, and its twin on the attacker's own was not."""
        return self.refused and self.allow.passed

    def as_dict(self) -> dict[str, Any]:
        """For JSON: every field, and ``passed``."""
        return {**asdict(self), "layer": self.layer.value, "passed": self.passed}


@dataclass(frozen=True)
class Probe:
    """A question that can be asked of another tenant's and of one's own.

    ``refused`` judges the answer to ``attack``, ``granted`` that to ``own``. Both may raise: that is an answer too.
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

    def run(self, attacker: str, victim: str) -> Attempt:
        """Ask both. Never raises."""
        attack, own = answered(self.attack), answered(self.own)
        return Attempt(
            name=self.name,
            layer=self.layer,
            attacker=attacker,
            victim=victim,
            tried=self.tried,
            expected=self.expected,
            actual=str(attack),
            decided_by=attack.by or attack.code,
            refused=self.refused(attack),
            allow=Allow(self.own_tried, str(own), own.by or own.code, self.granted(own)),
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
