"""How long trials may be."""

from __future__ import annotations

from typing import Any

from localcloud.stripe.due import DAY
from localcloud.stripe.errors import invalid

MAX_TRIAL_DAYS = 730


def trial_end_of(params: dict[str, Any], now: int) -> int | None:
    """When the trial of a new subscription ends (Unix seconds); None: it has none."""
    if "trial_end" in params and "trial_period_days" in params:
        raise invalid("You cannot set both trial_end and trial_period_days.", param="trial_end")
    if "trial_period_days" in params:
        days = params["trial_period_days"]
        if not 0 <= days <= MAX_TRIAL_DAYS:
            raise invalid(f"Trial periods can be 0 to {MAX_TRIAL_DAYS} days long.", param="trial_period_days")
        return now + days * DAY if days else None
    end = params.get("trial_end")
    if end is None or end == "now":
        return None
    check_trial_end(end, now)
    return int(end)


def check_trial_end(end: int, now: int) -> None:
    """400 unless ``end`` lies ahead, two years at most."""
    if end <= now:
        raise invalid("Trial end must be in the future: use `now` to end the trial now", param="trial_end")
    if end > now + MAX_TRIAL_DAYS * DAY:
        raise invalid("Invalid trial_end: it can be at most two years from now", param="trial_end")
