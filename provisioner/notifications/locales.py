"""The customer's language, time zone, and the way its dates and amounts are written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError, core, dates, numbers

from provisioner.notifications.facts import Recipient
from provisioner.notifications.policy import Policy

#: Decimals of Stripe's smallest unit, which is not always CLDR's: https://docs.stripe.com/currencies#minor-units
_ZERO_DECIMAL = frozenset(
    ("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF")
)
_THREE_DECIMAL = frozenset(["BHD", "JOD", "KWD", "OMR", "TND"])
_LONGEST_CODE = 35


@dataclass(frozen=True)
class Place:
    """``languages``: whose templates to look for, best first: ("de_AT", "de", "en")."""

    languages: tuple[str, ...]
    territory: str | None
    zone: tzinfo


def place_of(recipient: Recipient, policy: Policy) -> Place:
    """Whatever is wrong in the recipient's data leads to the policy's defaults."""
    wanted: list[str] = []
    territory = _country(recipient.country)
    for code in (*recipient.locales[:5], policy.locale):
        found = parse(code)
        if found is None:
            continue
        territory = territory or found.territory
        wanted += [str(found), *([f"{found.language}_{found.script}"] if found.script else []), found.language]
    return Place(tuple(dict.fromkeys([*wanted, "en"])), territory, zone_of(recipient, policy))


@lru_cache(maxsize=512)
def parse(code: object) -> Locale | None:
    """A locale that is written as "de-AT", "de_AT" or "zh-Hant-TW"; None if there is none."""
    if not isinstance(code, str) or not 0 < len(code) <= _LONGEST_CODE or not code.isascii():
        return None
    parts = code.replace("_", "-").split("-")
    for length in range(len(parts), 0, -1):
        try:
            return Locale.parse("-".join(parts[:length]), sep="-")
        except (ValueError, UnknownLocaleError, TypeError):
            continue
    return None


def zone_of(recipient: Recipient, policy: Policy) -> tzinfo:
    """The zone that was told; else the one of the country, if it has one only; else the policy's."""
    told = _zone(recipient.time_zone)
    if told is not None:
        return told
    country = _country(recipient.country)
    if country is not None:
        zones = _zones_of(country)
        found = _zone(zones[0]) if len(zones) == 1 else None
        if found is not None:
            return found
    return ZoneInfo(policy.time_zone)


def _country(value: object) -> str | None:
    if isinstance(value, str) and len(value) == 2 and value.isascii() and value.isalpha():
        return value.upper()
    return None


@lru_cache(maxsize=512)
def _zone(value: object) -> ZoneInfo | None:
    if not isinstance(value, str) or not 0 < len(value) <= 64 or not value.isascii():
        return None
    try:
        return ZoneInfo(value)
    except (ValueError, OSError, LookupError):  # it may be a directory of the database, or lead out of it
        return None


def _zones_of(country: str) -> list[str]:
    return list(core.get_global("territory_zones").get(country, []))


@dataclass(frozen=True)
class Format:
    """Writes for a template of one language, in the manner of the customer's country where that language is spoken."""

    locale: Locale
    zone: tzinfo

    @classmethod
    def of(cls, language: str, place: Place) -> Format:
        found = parse(language) or Locale("en")
        if found.territory is None and place.territory is not None:
            found = _known(f"{found.language}_{place.territory}") or found
        return cls(found, place.zone)

    def date(self, moment: datetime) -> str:
        """ "1 December 2026"."""
        return dates.format_date(moment.astimezone(self.zone).date(), "long", locale=self.locale)

    def time(self, moment: datetime) -> str:
        """ "1 December 2026, 15:00 CET"."""
        local = moment.astimezone(self.zone)
        clock = dates.format_time(local.time(), "short", locale=self.locale)
        return f"{self.date(moment)}, {clock} {local.tzname() or ''}".rstrip()

    def money(self, amount: int, currency: str) -> str:
        value = Decimal(amount).scaleb(-(0 if currency in _ZERO_DECIMAL else 3 if currency in _THREE_DECIMAL else 2))
        # Where CLDR writes no decimals although there are some, none may be rounded away.
        usual = value == round(value, numbers.get_currency_precision(currency))
        return numbers.format_currency(value, currency, locale=self.locale, currency_digits=usual)

    def number(self, value: int) -> str:
        return numbers.format_decimal(value, locale=self.locale)

    @property
    def direction(self) -> str:
        return "rtl" if self.locale.text_direction == "rtl" else "ltr"


@lru_cache(maxsize=512)
def _known(code: str) -> Locale | None:
    try:
        return Locale.parse(code)
    except (ValueError, UnknownLocaleError):
        return None
