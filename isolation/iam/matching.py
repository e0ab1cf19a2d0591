"""Wildcards and policy variables: how a pattern of a policy meets a value of a request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

#: one element of a pattern: literal text, or None for ``*`` and Ellipsis-like ``?``
ANY = object()
ONE = object()
Pattern = tuple[object, ...]

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_DEFAULT = re.compile(r"\s*([^,]*?)\s*(?:,\s*'([^']*)'\s*)?")


class Unresolved(Exception):
    """A policy variable has no value: the pattern matches nothing."""


def expand(text: str, context: Mapping[str, tuple[str, ...]], *, variables: bool) -> Pattern:
    """``text`` with its variables replaced. A replaced value is literal: a tag of ``*`` is no wildcard.

    ``${*}``, ``${?}`` and ``${$}`` are the characters themselves. Raises Unresolved if a variable has no single value
    and no default: AWS then treats the statement as not matching.
    """
    if not variables or "${" not in text:
        return _wild(text)
    parts: list[object] = []
    position = 0
    for found in _VARIABLE.finditer(text):
        parts.extend(_wild(text[position : found.start()]))
        parts.append(_value(found.group(1), context))
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
    if values is not None and len(values) == 1:
        return values[0]
    if values is None and default is not None:
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
    expression = "".join(
        ".*" if part is ANY else "." if part is ONE else re.escape(str(part)) for part in _collapsed(pattern)
    )
    return re.fullmatch(expression, value, re.DOTALL | (re.IGNORECASE if ignore_case else 0)) is not None


def _collapsed(pattern: Pattern) -> list[object]:
    """Runs of ``*`` as one: a hundred of them must not make matching take for ever."""
    found: list[object] = []
    for part in pattern:
        if not (part is ANY and found and found[-1] is ANY):
            found.append(part)
    return found


def literal(pattern: Pattern) -> str:
    """The text of a pattern where wildcards are ordinary characters (StringEquals and its kin)."""
    return "".join("*" if part is ANY else "?" if part is ONE else str(part) for part in pattern)


def arn_matches(pattern: Pattern, value: str) -> bool:
    """Whether an ARN fits part by part: a ``*`` does not reach across the first five colons."""
    wanted = _split(pattern)
    given = value.split(":", 5)
    if len(wanted) != 6 or len(given) != 6:
        return wanted == [(ANY,)] and value != ""
    return all(matches(tuple(part), each) for part, each in zip(wanted, given, strict=True))


def resource_matches(pattern: Pattern, value: str) -> bool:
    """``arn_matches`` as the Resource element has it: AWS completes an incomplete ARN with wildcards."""
    wanted = _split(pattern)
    wanted += [(ANY,)] * (6 - len(wanted))
    given = value.split(":", 5)
    if len(given) != 6:
        return value == "*" and pattern == (ANY,)
    return all(matches(tuple(part), each) for part, each in zip(wanted, given, strict=True))


def _split(pattern: Pattern) -> list[tuple[object, ...]]:
    parts: list[list[object]] = [[]]
    for element in pattern:
        if not isinstance(element, str):
            parts[-1].append(element)
            continue
        pieces = element.split(":", 6 - len(parts)) if len(parts) < 6 else [element]
        parts[-1].append(pieces[0])
        parts.extend([piece] for piece in pieces[1:])
    return [tuple(each for each in part if each != "") for part in parts]
