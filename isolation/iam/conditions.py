"""The Condition element: every operator, with IfExists, Null and the two set qualifiers.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from isolation.iam.elements import Condition, PolicyError
from isolation.iam.matching import Pattern, Unresolved, arn_matches, expand, literal, matches

Context = Mapping[str, tuple[str, ...]]
Test = Callable[[Pattern, str], bool]


def holds(condition: Condition, context: Context, *, variables: bool) -> bool:
    """Whether one operator-and-key of a Condition is met. ``context`` has lower-case keys.

    Raises PolicyError for an operator that doesn't exist: AWS refuses such a document.
    """
    operator, qualifier, if_exists = _parts(condition.operator)
    present = context.get(condition.key.lower())
    if operator == "Null":
        absent = not present
        return any((value.lower() == "true") == absent for value in condition.values)
    test, negated = _TESTS[operator]
    if qualifier == "ForAllValues":
        # true on an absent key: AWS warns to add Null, and so do we
        return all(_one(condition, value, context, test, negated, variables) for value in present or ())
    if not present:
        # a negated operator is true of a key that isn't there
        return if_exists or (negated and qualifier is None)
    if qualifier is None and len(present) > 1:
        # several values without a qualifier: AWS documents no meaning; a negated match must hold for all of them
        results = [_one(condition, value, context, test, negated, variables) for value in present]
        return all(results) if negated else any(results)
    return any(_one(condition, value, context, test, negated, variables) for value in present)


def _one(condition: Condition, value: str, context: Context, test: Test, negated: bool, variables: bool) -> bool:
    """``value`` meets one of the alternatives; negated: meets none of them."""
    met = False
    for text in condition.values:
        try:
            pattern = expand(text, context, variables=variables)
        except Unresolved:
            continue
        met = met or test(pattern, value)
    return met != negated


def check(condition: Condition) -> None:
    """Raises PolicyError if the operator doesn't exist."""
    _parts(condition.operator)


def _parts(operator: str) -> tuple[str, str | None, bool]:
    qualifier, _, rest = operator.rpartition(":")
    if qualifier not in ("", "ForAllValues", "ForAnyValue"):
        raise PolicyError(f"condition operator {operator!r} has an unknown qualifier")
    base = rest.removesuffix("IfExists")
    if base == "Null" and (qualifier or rest != base):
        raise PolicyError(f"condition operator {operator!r} does not exist")
    if base != "Null" and base not in _TESTS:
        raise PolicyError(f"condition operator {operator!r} does not exist")
    return base, qualifier or None, rest != base


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _moment(text: str) -> datetime | None:
    number = _number(text)
    try:
        if number is not None:
            return datetime.fromtimestamp(float(number), UTC)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


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
    return literal(pattern).casefold() == value.casefold()


def _bool(pattern: Pattern, value: str) -> bool:
    return literal(pattern).lower() == value.lower()


#: operator -> (test of one alternative against one value, whether the operator is its negation)
_TESTS: dict[str, tuple[Test, bool]] = {
    "StringEquals": (_same, False),
    "StringNotEquals": (_same, True),
    "StringEqualsIgnoreCase": (_same_ignoring_case, False),
    "StringNotEqualsIgnoreCase": (_same_ignoring_case, True),
    "StringLike": (matches, False),
    "StringNotLike": (matches, True),
    "NumericEquals": (_compare(_number, lambda c: c == 0), False),
    "NumericNotEquals": (_compare(_number, lambda c: c == 0), True),
    "NumericLessThan": (_compare(_number, lambda c: c < 0), False),
    "NumericLessThanEquals": (_compare(_number, lambda c: c <= 0), False),
    "NumericGreaterThan": (_compare(_number, lambda c: c > 0), False),
    "NumericGreaterThanEquals": (_compare(_number, lambda c: c >= 0), False),
    "DateEquals": (_compare(_moment, lambda c: c == 0), False),
    "DateNotEquals": (_compare(_moment, lambda c: c == 0), True),
    "DateLessThan": (_compare(_moment, lambda c: c < 0), False),
    "DateLessThanEquals": (_compare(_moment, lambda c: c <= 0), False),
    "DateGreaterThan": (_compare(_moment, lambda c: c > 0), False),
    "DateGreaterThanEquals": (_compare(_moment, lambda c: c >= 0), False),
    "Bool": (_bool, False),
    "BinaryEquals": (_binary, False),
    "IpAddress": (_ip, False),
    "NotIpAddress": (_ip, True),
    "ArnEquals": (arn_matches, False),
    "ArnLike": (arn_matches, False),
    "ArnNotEquals": (arn_matches, True),
    "ArnNotLike": (arn_matches, True),
}
