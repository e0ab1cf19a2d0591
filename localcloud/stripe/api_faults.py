"""How the API itself fails on request: outages, lost answers, rate limits, latency. Seeded, so that a run repeats.

Deliveries have faults of their own (``delivery``).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from localcloud.stripe.account import Account
from localcloud.stripe.errors import ApiError, invalid

OUTAGES = ("none", "refuse", "hang", "error_500", "error_503")
#: ``outage`` lasts ``outage_s`` seconds of the wall's time, or until it is ended (0). Probabilities are from 0 to 1;
#: ``lose_next`` answers are lost for certain.
DEFAULT_API_FAULTS: dict[str, Any] = {
    "outage": "none",
    "outage_s": 0.0,
    "rate_limit": 0.0,
    "lose_answer": 0.0,
    "lose_next": 0,
    "latency_s": 0.0,
    "latency_jitter_s": 0.0,
    "search_lag_s": 0.0,
    "seed": 0,
}
_PROBABILITIES = ("rate_limit", "lose_answer")
SETTING = "api_faults"


class ConnectionLost(ConnectionError):
    """The client gets no answer. Whether its request was performed, it can't know."""


@dataclass(frozen=True)
class Verdict:
    """What becomes of one request."""

    latency_s: float = 0.0
    connection: str | None = None  #: ``refuse`` or ``hang``: nothing is done, and no answer comes
    refusal: ApiError | None = None  #: answered with this, nothing is done
    lost: bool = False  #: done, but the answer does not arrive


FINE = Verdict()


def check(body: dict[str, Any]) -> dict[str, Any]:
    """A complete setting from one that may be partial. 400 for what makes no sense."""
    unknown = set(body) - set(DEFAULT_API_FAULTS)
    if unknown:
        raise invalid(f"Unknown key {sorted(unknown)[0]}: there are {', '.join(DEFAULT_API_FAULTS)}")
    for name, value in body.items():
        if name == "outage":
            if value not in OUTAGES:
                raise invalid(f"outage must be one of {', '.join(OUTAGES)}", param=name)
            continue
        whole = isinstance(DEFAULT_API_FAULTS[name], int)
        if not isinstance(value, int if whole else int | float) or isinstance(value, bool) or value < 0:
            raise invalid(f"{name} must be a {'whole ' if whole else ''}number, not negative", param=name)
        if name in _PROBABILITIES and value > 1:
            raise invalid(f"{name} is a probability from 0 to 1", param=name)
    return {**DEFAULT_API_FAULTS, **body}


def store(account: Account, setting: dict[str, Any]) -> None:
    """Let the faults hold from now on; random choices begin again at the seed."""
    if setting == DEFAULT_API_FAULTS:
        account.set_setting(SETTING, None)  # nothing is drawn, and written, for every request
        return
    ends = account.wall() + setting["outage_s"] if setting["outage_s"] else None
    account.set_setting(SETTING, {**setting, "_outage_ends": ends, "_drawn": 0})


def current(account: Account) -> dict[str, Any]:
    """The faults that were set last."""
    found: dict[str, Any] = account.setting(SETTING, None) or DEFAULT_API_FAULTS
    return found


def outage(account: Account) -> str:
    """The kind of the outage that holds now; ``none``."""
    setting = current(account)
    ends = setting.get("_outage_ends")
    return "none" if ends is not None and account.wall() >= ends else str(setting["outage"])


def draw(account: Account) -> Verdict:
    """What becomes of the next request."""
    with account.lock:
        setting = account.setting(SETTING, None)
        if setting is None:
            return FINE
        number = setting["_drawn"]
        # The choices of a request follow from the seed and its number alone, also after a restart of the server.
        generator = random.Random(f"{setting['seed']}/{number}")  # noqa: S311 - reproducible faults, no secrets
        limited, lost, jitter = (generator.random() for _ in range(3))
        changes: dict[str, Any] = {"_drawn": number + 1}
        latency = setting["latency_s"] + jitter * setting["latency_jitter_s"]
        verdict = _verdict(outage(account), latency, limited < setting["rate_limit"])
        if verdict.connection is None and verdict.refusal is None:
            certain = setting["lose_next"] > 0
            if certain:
                changes["lose_next"] = setting["lose_next"] - 1
            verdict = Verdict(latency, lost=certain or lost < setting["lose_answer"])
        with account.transaction():
            account.set_setting(SETTING, {**setting, **changes})
        return verdict


def _verdict(kind: str, latency: float, limited: bool) -> Verdict:
    if kind in ("refuse", "hang"):
        return Verdict(latency, connection=kind)
    if kind in ("error_500", "error_503"):
        status = int(kind.removeprefix("error_"))
        message = "An unknown error occurred" if status == 500 else "Stripe is temporarily unavailable"
        return Verdict(latency, refusal=ApiError(status, message, type="api_error"))
    if limited:
        return Verdict(
            latency,
            refusal=ApiError(
                429,
                "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits.",
                code="rate_limit",
            ),
        )
    return Verdict(latency)
