"""Which messages are sent, and when: ``notifications.toml``. Everything in it has a default."""

from __future__ import annotations

import re
import tomllib
from datetime import time
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from components.spec import Access
from provisioner.errors import ConfigurationInvalid
from provisioner.notifications.hours import Hours
from provisioner.notifications.kinds import TRAITS, Kind

_QUIET = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
#: What is taken away step by step, and announced.
STEPS = (Access.GRACE, Access.THROTTLED, Access.READ_ONLY, Access.SUSPENDED, Access.HIBERNATED)


def _locale(value: str) -> str:
    try:
        Locale.parse(value, sep="-" if "-" in value else "_")
    except (ValueError, UnknownLocaleError):
        raise ValueError(f"no locale {value!r}: write it as en, de or de-AT") from None
    return value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ValueError, OSError, LookupError):
        raise ValueError(f"no time zone {value!r}: write it as Europe/Vienna") from None
    return value


def _link(value: str) -> str:
    if value and (urlsplit(value).scheme != "https" or not urlsplit(value).hostname):
        raise ValueError("must be an address that begins with https://")
    return value


Days = Annotated[int, Field(ge=0, le=365)]


class KindPolicy(BaseModel):
    """``days_before``: of a reminder, each is a message of its own. None: the kind's default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on: bool = True
    days_before: tuple[Days, ...] | None = Field(None, max_length=10)
    any_time: bool | None = None
    steps: tuple[Access, ...] = STEPS
    intervals: tuple[str, ...] = ("year",)

    @field_validator("steps")
    @classmethod
    def _known(cls, value: tuple[Access, ...]) -> tuple[Access, ...]:
        wrong = [step for step in value if step not in STEPS]
        if wrong:
            raise ValueError(f"{wrong[0].value} is no step down: there are {', '.join(STEPS)}")
        return value

    @field_validator("intervals")
    @classmethod
    def _interval(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not set(value) <= {"month", "year"}:
            raise ValueError("intervals are month and year")
        return value


class Policy(BaseModel):
    """``product``: what the customers know you as. ``billing_url``: where they pay and change cards. ``support``: an
    address to write to, shown in every message."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    product: str = Field("Tenantry", min_length=1, max_length=80)
    support: str = Field("", max_length=200)
    billing_url: Annotated[str, AfterValidator(_link)] = ""
    app_url: Annotated[str, AfterValidator(_link)] = ""
    locale: Annotated[str, AfterValidator(_locale)] = "en"
    time_zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    weekends: bool = False
    quiet_hours: str = ""
    kinds: dict[Kind, KindPolicy] = Field(default_factory=dict)

    @field_validator("quiet_hours")
    @classmethod
    def _clock(cls, value: str) -> str:
        if value and not _QUIET.fullmatch(value):
            raise ValueError('write quiet hours as "20:00-08:00"')
        return value

    def of(self, kind: Kind) -> KindPolicy:
        return self.kinds.get(kind, _DEFAULT)

    def days_before(self, kind: Kind) -> tuple[int, ...]:
        """Furthest first."""
        days = self.of(kind).days_before
        return tuple(sorted(set(TRAITS[kind].days_before if days is None else days), reverse=True))

    def hours(self, kind: Kind) -> Hours:
        chosen = self.of(kind).any_time
        if TRAITS[kind].any_time if chosen is None else chosen:
            return Hours()
        return Hours(self.weekends, self._quiet())

    def _quiet(self) -> tuple[time, time] | None:
        if not self.quiet_hours:
            return None
        hours = _QUIET.fullmatch(self.quiet_hours)
        assert hours is not None
        begin, end = time(int(hours[1]), int(hours[2])), time(int(hours[3]), int(hours[4]))
        return None if begin == end else (begin, end)


_DEFAULT = KindPolicy()


def load(path: Path) -> Policy:
    """``ConfigurationInvalid`` names the file and every key that is wrong."""
    try:
        return Policy.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise ConfigurationInvalid(
            f"{path} can't be read: {error.strerror or type(error).__name__}",
            hint="set TENANTRY_NOTIFICATIONS to your notifications.toml",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationInvalid(f"{path} is no TOML: {error}", hint="docs/notifications.md shows one") from None
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'file'}: {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors(include_url=False, include_input=False, include_context=False)
        )
        raise ConfigurationInvalid(f"{path}: {wrong}", hint="docs/notifications.md lists the keys") from None
