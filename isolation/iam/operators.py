"""The condition operators: one alternative of a policy against one value of a request.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from isolation.iam.globs import Pattern
from isolation.iam.matching import arn_matches, literal, matches

Test = Callable[[Pattern, str], bool]

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
#: https://www.w3.org/TR/NOTE-datetime, of which a bare year would be an epoch, and seconds without a zone
_DATE = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}(-[0-9]{2})?)"
    r"(T(?P<time>[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?)(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)


@dataclass(frozen=True)
class Operator:
    """``negated``: true where ``test`` holds of no alternative. ``variables``: whether ``${...}`` is replaced."""

    test: Test
    negated: bool = False
    variables: bool = False


def _number(text: str) -> Decimal | None:
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def _moment(text: str) -> datetime | None:
    """An epoch in seconds, or a date of ISO 8601 as the W3C has it; without a zone it is UTC."""
    try:
        number = _number(text)
        if number is not None:
            return datetime.fromtimestamp(float(number), UTC)
        found = _DATE.fullmatch(text)
        if found is None:
            return None
        day = found["day"] if found[2] else f"{found['day']}-01"
        moment = datetime.fromisoformat(f"{day}T{_clock(found['time'])}{found['zone'] or 'Z'}")
    except (ValueError, OverflowError, OSError):
        return None
    return moment


def _clock(time: str | None) -> str:
    if time is None:
        return "00:00"
    whole, dot, fraction = time.partition(".")
    return f"{whole}.{fraction[:6]:0<6}" if dot else whole


def _compare(parse: Callable[[str], Decimal | datetime | None], decide: Callable[[int], bool]) -> Test:
    def test(pattern: Pattern, value: str) -> bool:
        wanted, given = parse(literal(pattern)), parse(value)
        if wanted is None or given is None:
            return False
        return decide((given > wanted) - (given < wanted))  # type: ignore[operator]  # of one kind, both parsed alike

    return test


def _ip(pattern: Pattern, value: str) -> bool:
    try:
        return ipaddress.ip_address(value) in ipaddress.ip_network(literal(pattern), strict=False)
    except ValueError:
        return False


def _binary(pattern: Pattern, value: str) -> bool:
    try:
        return base64.b64decode(literal(pattern), validate=True) == base64.b64decode(value, validate=True)
    except binascii.Error:
        return False


def _same(pattern: Pattern, value: str) -> bool:
    return literal(pattern) == value


def _same_ignoring_case(pattern: Pattern, value: str) -> bool:
    return literal(pattern).lower() == value.lower()


def _bool(pattern: Pattern, value: str) -> bool:
    wanted = literal(pattern).lower()
    return wanted in ("true", "false") and wanted == value.lower()


def _ordered(kind: str, parse: Callable[[str], Decimal | datetime | None]) -> dict[str, Operator]:
    return {
        f"{kind}Equals": Operator(_compare(parse, lambda c: c == 0)),
        f"{kind}NotEquals": Operator(_compare(parse, lambda c: c == 0), negated=True),
        f"{kind}LessThan": Operator(_compare(parse, lambda c: c < 0)),
        f"{kind}LessThanEquals": Operator(_compare(parse, lambda c: c <= 0)),
        f"{kind}GreaterThan": Operator(_compare(parse, lambda c: c > 0)),
        f"{kind}GreaterThanEquals": Operator(_compare(parse, lambda c: c >= 0)),
    }


#: by name, without qualifier and ``IfExists``; ``Null`` tests no value and isn't here
OPERATORS: dict[str, Operator] = {
    "StringEquals": Operator(_same, variables=True),
    "StringNotEquals": Operator(_same, negated=True, variables=True),
    "StringEqualsIgnoreCase": Operator(_same_ignoring_case, variables=True),
    "StringNotEqualsIgnoreCase": Operator(_same_ignoring_case, negated=True, variables=True),
    "StringLike": Operator(matches, variables=True),
    "StringNotLike": Operator(matches, negated=True, variables=True),
    **_ordered("Numeric", _number),
    **_ordered("Date", _moment),
    "Bool": Operator(_bool, variables=True),
    "BinaryEquals": Operator(_binary),
    "IpAddress": Operator(_ip),
    "NotIpAddress": Operator(_ip, negated=True),
    "ArnEquals": Operator(arn_matches, variables=True),
    "ArnLike": Operator(arn_matches, variables=True),
    "ArnNotEquals": Operator(arn_matches, negated=True, variables=True),
    "ArnNotLike": Operator(arn_matches, negated=True, variables=True),
}
