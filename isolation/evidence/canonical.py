"""JSON in its one form (RFC 8785), and read so that nothing can mean two things."""

from __future__ import annotations

import json
from typing import Any

import rfc8785

MAX_BYTES = 256 * 1024 * 1024  #: a proof of a thousand tenants is smaller
_MAX_DIGITS = 16


class Malformed(ValueError):
    """Not a JSON object that everybody reads alike; ``str`` says what and where."""


def dumps(value: Any) -> bytes:
    """Canonical bytes. Raises Malformed for what JSON can't hold: NaN, integers beyond 2**53, lone surrogates."""
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise Malformed(f"it has no canonical form: {error}") from None


def loads(content: bytes) -> dict[str, Any]:
    """The object in ``content``. Raises Malformed."""
    if len(content) > MAX_BYTES:
        raise Malformed(f"it has {len(content)} bytes; more than {MAX_BYTES} are not read")
    if not content.strip():
        raise Malformed("it is empty")
    try:
        value = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_int=_integer,
            parse_float=_fraction,
        )
    except UnicodeDecodeError as error:
        raise Malformed(f"it is not UTF-8: byte {error.start}") from None
    except json.JSONDecodeError as error:
        whole = len(content.decode("utf-8").rstrip())
        cut = error.pos >= whole or error.msg.startswith("Unterminated")
        where = "it ends too early" if cut else f"line {error.lineno}, column {error.colno}"
        raise Malformed(f"it is not JSON: {error.msg}: {where}") from None
    except RecursionError:
        raise Malformed("it is nested too deeply") from None
    if not isinstance(value, dict):
        raise Malformed(f"it holds no JSON object but {type(value).__name__}")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise Malformed(f"the member {twice[:80]!r} is there twice")
    return found


def _constant(name: str) -> Any:
    raise Malformed(f"{name} is no number of JSON")


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise Malformed(f"the number {digits[:20]}... is larger than JSON's numbers hold exactly")
    return int(digits)


def _fraction(digits: str) -> float:
    raise Malformed(f"the number {digits[:40]} is no integer; a document has no others")
