"""Wildcards and policy variables: how a pattern of a policy meets a value of a request.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from isolation.iam import globs
from isolation.iam.globs import ANY, ONE, Pattern

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_DEFAULT = re.compile(r"\s*([^,]*?)\s*(?:,\s*'([^']*)'\s*)?")

#: partition, service, region, account and resource of an ARN come after "arn"
ARN_PARTS = 6


class Unresolved(Exception):
    """A policy variable has no value: the pattern matches nothing."""


def expand(text: str, context: Mapping[str, tuple[str, ...]], *, variables: bool, after_colons: int = 0) -> Pattern:
    """``text`` with its variables replaced. A replaced value is literal: a tag of ``*`` is no wildcard.

    ``${*}``, ``${?}`` and ``${$}`` are the characters themselves. Variables with fewer than ``after_colons`` colons
    before them stay as they are written: a Resource may have them only in its last part. Raises Unresolved if a
    variable has no single value and no default: there is nothing that equals it.
    """
    if not variables or "${" not in text:
        return _wild(text)
    parts: list[object] = []
    position = colons = 0
    for found in _VARIABLE.finditer(text):
        before = text[position : found.start()]
        colons += before.count(":")
        parts.extend(_wild(before))
        parts.append(_value(found.group(1), context) if colons >= after_colons else found.group(0))
        position = found.end()
    parts.extend(_wild(text[position:]))
    return tuple(parts)


def _value(expression: str, context: Mapping[str, tuple[str, ...]]) -> str:
    if expression in ("*", "?", "$"):
        return expression
    parsed = _DEFAULT.fullmatch(expression)
    if parsed is None:
        raise Unresolved(expression)
    name, default = parsed.groups()
    values = context.get(name.lower())
    if values and len(values) == 1:
        return values[0]
    if not values and default is not None:
        return str(default)
    raise Unresolved(expression)


@lru_cache(maxsize=4096)
def _wild(text: str) -> Pattern:
    parts: list[object] = []
    for piece in re.split(r"([*?])", text):
        if piece:
            parts.append(ANY if piece == "*" else ONE if piece == "?" else piece)
    return tuple(parts)


def matches(pattern: Pattern, value: str, *, ignore_case: bool = False) -> bool:
    """Whether the whole of ``value`` fits; ``*`` spans anything, ``/`` and ``:`` included, ``?`` one character."""
    if ignore_case:
        pattern = tuple(part.lower() if isinstance(part, str) else part for part in pattern)
        value = value.lower()
    return globs.fits(globs.compiled(pattern), value)


def literal(pattern: Pattern) -> str:
    """The text of a pattern where wildcards are ordinary characters (StringEquals and its kin)."""
    return "".join("*" if part is ANY else "?" if part is ONE else str(part) for part in pattern)


def arn_matches(pattern: Pattern, value: str) -> bool:
    """Whether an ARN fits part by part: a ``*`` does not reach across the first five colons, unless it ends all."""
    wanted = _split(pattern)
    given = value.split(":", ARN_PARTS - 1)
    if wanted[-1][-1:] == (ANY,):
        wanted += [(ANY,)] * (ARN_PARTS - len(wanted))
    if len(wanted) != ARN_PARTS or len(given) != ARN_PARTS:
        return wanted[0] == (ANY,) and value != ""
    return all(matches(part, each) for part, each in zip(wanted, given, strict=True))


def resource_matches(pattern: Pattern, value: str) -> bool:
    """Whether a resource fits a pattern of a Resource element.

    In the first five parts of an ARN a wildcard stays within its part, except a ``*`` that ends it, which may run on
    past the colon. An ARN with fewer than six parts is completed with ``*``.
    """
    if pattern == (ANY,):
        return True
    if not value.startswith("arn:"):
        return matches(pattern, value)
    if globs.fits(globs.compiled_arn(pattern), value):
        return True
    missing = ARN_PARTS - len(_split(pattern))
    if missing <= 0:
        return False
    return globs.fits(globs.compiled_arn((*pattern, *(":", ANY) * missing)), value)


def _split(pattern: Pattern) -> list[tuple[object, ...]]:
    parts: list[list[object]] = [[]]
    for element in pattern:
        if not isinstance(element, str):
            parts[-1].append(element)
            continue
        pieces = element.split(":", ARN_PARTS - len(parts)) if len(parts) < ARN_PARTS else [element]
        parts[-1].append(pieces[0])
        parts.extend([piece] for piece in pieces[1:])
    return [tuple(each for each in part if each != "") for part in parts]
