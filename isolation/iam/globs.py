"""Wildcard patterns as automata: time grows with pattern times value, whatever a hostile policy contains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

#: one element of a pattern: literal text, ANY for ``*`` or ONE for ``?``
ANY = object()
ONE = object()
Pattern = tuple[object, ...]

_ARN_COLONS = 5


@dataclass(frozen=True)
class Glob:
    """Bit i of a mask speaks of token i. ``closed`` ones don't take a colon."""

    prefix: str
    length: int
    letters: dict[str, int]
    one: int
    one_closed: int
    any: int
    any_closed: int


def fits(glob: Glob, value: str) -> bool:
    """Whether the whole of ``value`` matches."""
    if not value.startswith(glob.prefix):
        return False
    rest = value[len(glob.prefix) :]
    if glob.length == 1 and glob.any:  # a prefix and *
        return True
    stars = glob.any | glob.any_closed
    state = 1 | (stars & 1) << 1
    for letter in rest:
        closed = 0 if letter == ":" else -1
        moved = state & (glob.letters.get(letter, 0) | glob.one | glob.one_closed & closed)
        state = moved << 1 | state & (glob.any | glob.any_closed & closed)
        state |= (state & stars) << 1
        if not state:
            return False
    return bool(state >> glob.length & 1)


@lru_cache(maxsize=8192)
def compiled(pattern: Pattern) -> Glob:
    """Wildcards take any character."""
    return _glob([(kind, False) for kind in _tokens(pattern)])


@lru_cache(maxsize=8192)
def compiled_arn(pattern: Pattern) -> Glob:
    """Before the fifth colon wildcards take no colon, but for a ``*`` that ends its part."""
    tokens = list(_tokens(pattern))
    found: list[tuple[object, bool]] = []
    colons = 0
    for index, each in enumerate(tokens):
        colons += each == ":"
        ends = index + 1 == len(tokens) or tokens[index + 1] == ":"
        found.append((each, colons < _ARN_COLONS and not (each is ANY and ends)))
    return _glob(found)


def _tokens(pattern: Pattern) -> Iterator[object]:
    """Single characters, ANY and ONE."""
    for part in pattern:
        if isinstance(part, str):
            yield from part
        else:
            yield part


def _glob(tokens: list[tuple[object, bool]]) -> Glob:
    kept: list[tuple[object, bool]] = []
    for token, closed in tokens:
        if token is ANY and kept and kept[-1][0] is ANY:  # a run of stars is one
            kept[-1] = (ANY, closed and kept[-1][1])
        else:
            kept.append((token, closed))
    prefix = ""
    for token, _ in kept:
        if not isinstance(token, str):
            break
        prefix += token
    kept = kept[len(prefix) :]
    letters: dict[str, int] = {}
    masks = {(ONE, False): 0, (ONE, True): 0, (ANY, False): 0, (ANY, True): 0}
    for index, (token, closed) in enumerate(kept):
        if isinstance(token, str):
            letters[token] = letters.get(token, 0) | 1 << index
        else:
            masks[token, closed] |= 1 << index
    return Glob(prefix, len(kept), letters, masks[ONE, False], masks[ONE, True], masks[ANY, False], masks[ANY, True])
