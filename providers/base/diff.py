"""What differs between the old and the new inputs, and whether that replaces the resource."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from providers.base.handler import Handler
from providers.base.values import UNKNOWN, Path, Properties, has_unknown

#: names of inputs that the base filled in, kept with the inputs so that a later program may still name the resource
DEFAULTED = "__defaults"
_ABSENT = object()


class Change(Enum):
    ADD = "add"
    DELETE = "delete"
    UPDATE = "update"


@dataclass(frozen=True)
class Difference:
    path: Path
    change: Change
    replaces: bool


@dataclass(frozen=True)
class Verdict:
    """An empty ``differences`` means that nothing has to be done."""

    differences: tuple[Difference, ...] = field(default=())
    delete_before_replace: bool = False

    @property
    def replaces(self) -> bool:
        return any(d.replaces for d in self.differences)


def diff(handler: Handler[Any], old: Properties, new: Properties) -> Verdict:
    """Compare checked inputs. Values that mean the same to the cloud are no difference (see :class:`Handler`)."""
    differences = tuple(
        Difference(path, change, _replaces(handler, path)) for path, change in _walk(handler, (), old, new)
    )
    return Verdict(differences, _delete_first(handler, old, new))


def _delete_first(handler: Handler[Any], old: Properties, new: Properties) -> bool:
    """Two resources can't bear one name: if the program fixes it and it stays, the old one has to go first."""
    if handler.delete_before_replace:
        return True
    name = handler.auto_name.property if handler.auto_name else handler.name_property
    if name is None or name in new.get(DEFAULTED, ()):
        return False
    return name in new and new.get(name) is not UNKNOWN and new.get(name) == old.get(name)


def _replaces(handler: Handler[Any], path: Path) -> bool:
    """A change at ``tags.x`` replaces if ``tags`` does; a change of all of ``rules`` does if ``rules.filter`` does."""
    names = tuple(str(part) for part in path if isinstance(part, str))
    for pattern in handler.replace_on:
        parts = tuple(pattern.split("."))
        shorter = min(len(parts), len(names))
        if parts[:shorter] == names[:shorter]:
            return True
    return False


def _walk(handler: Handler[Any], path: Path, old: Any, new: Any) -> Iterator[tuple[Path, Change]]:
    if same(handler, path, old, new):
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            if not path and (key.startswith("__") or (key in handler.computed_inputs and key not in new)):
                continue
            before, after = old.get(key, _ABSENT), new.get(key, _ABSENT)
            if not path and key in handler.defaults:
                before = handler.defaults[key] if before is _ABSENT else before
                after = handler.defaults[key] if after is _ABSENT else after
            here = (*path, key)
            if same(handler, here, before, after):
                continue
            if key not in old or before is _ABSENT:
                yield here, Change.ADD
            elif key not in new or after is _ABSENT:
                yield here, Change.DELETE
            else:
                yield from _walk(handler, here, before, after)
        return
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new) and not _is_set(handler, path):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _walk(handler, (*path, index), before, after)
        return
    yield path, Change.UPDATE


def same(handler: Handler[Any], path: Path, old: Any, new: Any) -> bool:
    """Whether two values mean the same to the cloud. An unknown is the same as nothing."""
    if old is UNKNOWN or new is UNKNOWN:
        return False
    if _identical(old, new):
        return True
    if isinstance(old, str) and isinstance(new, str) and _pattern(path) in handler.json_properties:
        return _same_json(old, new)
    if _scalar(old) and _scalar(new):
        return _text(old) == _text(new)
    if isinstance(old, list) and isinstance(new, list) and _is_set(handler, path) and not has_unknown(new):
        return sorted(map(_canonical, old)) == sorted(map(_canonical, new))
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = zip(old, new, strict=True)
        return all(same(handler, (*path, i), a, b) for i, (a, b) in enumerate(pairs))
    if path and isinstance(old, Mapping) and isinstance(new, Mapping) and old.keys() == new.keys():
        return all(same(handler, (*path, key), old[key], new[key]) for key in old)
    return False


def _identical(old: Any, new: Any) -> bool:
    """Equality in which Python's 1 == True does not hold, at any depth, and an unknown equals nothing."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return old.keys() == new.keys() and all(_identical(old[key], new[key]) for key in old)
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_identical, old, new))
    return old is not UNKNOWN and old == new and isinstance(old, bool) == isinstance(new, bool)


def _scalar(value: Any) -> bool:
    return isinstance(value, str | bool | int | float)


def _text(value: Any) -> str:
    """Pulumi programs write ``"30"`` or ``30``, ``"true"`` or ``True``: the cloud reads one and the same."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_set(handler: Handler[Any], path: Path) -> bool:
    return _pattern(path) in handler.set_properties


def _pattern(path: Path) -> str:
    return ".".join(part for part in path if isinstance(part, str))


def _same_json(old: str, new: str) -> bool:
    try:
        return _canonical(_policy(json.loads(old))) == _canonical(_policy(json.loads(new)))
    except ValueError:
        return False


def _policy(value: Any, key: str = "") -> Any:
    """JSON by meaning: in a policy a list of one is its element and the order of a list carries no meaning."""
    if isinstance(value, dict):
        return {k: _policy(v, k) for k, v in value.items()}
    if isinstance(value, list):
        items = sorted((_policy(v, key) for v in value), key=_canonical)
        return items[0] if len(items) == 1 else items
    return str(value).lower() if isinstance(value, bool) else value


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=repr)


def drifted_inputs(handler: Handler[Any], old: Properties, live: Properties) -> Properties:
    """The inputs a refresh records: the live ones, in the program's own spelling wherever that means the same.

    An import (``old`` is empty) takes the live inputs as they are.
    """
    if not old:
        return dict(live)
    result: Properties = {}
    for key in old:
        if key.startswith("__") or key in handler.local_inputs:
            result[key] = old[key]
            continue
        default = handler.defaults.get(key, _ABSENT)
        now = live.get(key, default)
        if now is not _ABSENT:
            result[key] = old[key] if same(handler, (key,), old[key], now) else now
    for key, value in live.items():
        default = handler.defaults.get(key, _ABSENT)
        if key not in old and key not in handler.computed_inputs and not same(handler, (key,), default, value):
            result[key] = value
    return result
