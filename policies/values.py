"""Values that a preview can't know yet, and how rules read properties that may hold one.

A rule that uses an unknown or a secret value in any way but through ``is_present`` raises ``CannotTell`` by itself:
what can't be judged is never taken for kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

Properties = Mapping[str, Any]


class CannotTell(Exception):
    """A rule needed a value that can't be seen. ``what``: which, for a person; ``why``: what keeps it from being seen,
    so that ``what why`` is a sentence."""

    def __init__(self, what: str = "a value", why: str = "is not known before the update") -> None:
        super().__init__(f"{what} {why}")
        self.what = what


class _Unseen:
    """A value that refuses every use. ``path``: where it stands, ``policy.Statement``."""

    _why = ""

    def __init__(self, path: str = "") -> None:
        self.path = path

    def _refuse(self, *_: object) -> NoReturn:
        raise CannotTell(self.path or "a value", self._why)

    __bool__ = __len__ = __iter__ = __contains__ = __getitem__ = __str__ = __int__ = __float__ = _refuse
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __hash__ = _refuse

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise CannotTell(self.path or "a value", self._why)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"


class Unknown(_Unseen):
    """The value of a property that only the update will tell."""

    _why = "is not known before the update"


class Secret(_Unseen):
    """The value of a property that is a secret: rules may ask whether there is one, not what it is."""

    _why = "is a secret, and what rules judge must not be one"


def is_secret(value: object) -> bool:
    return isinstance(value, Secret)


def seen(value: object) -> None:
    """Raises CannotTell if ``value`` itself is unknown or a secret."""
    if isinstance(value, _Unseen):
        value._refuse()


def is_on(value: Any) -> bool:
    """Whether a switch is on. Providers take the texts "true" and "1" for true, and "false" and "0" for false."""
    return value.strip().lower() in ("true", "1") if isinstance(value, str) else bool(value)


def is_unknown(value: object) -> bool:
    """Whether ``value`` itself is unknown; a list or mapping is not for having an unknown member."""
    return isinstance(value, Unknown)


def is_present(properties: Properties, name: str) -> bool:
    """Whether a property has a value, known or not. What an unknown one refers to is for a stack rule to judge."""
    value = properties.get(name)
    return isinstance(value, _Unseen) or value not in (None, "", [], {})


def unknowns(value: Any, path: str = "") -> Iterator[str]:
    """The paths of all unknown values inside ``value``."""
    if is_unknown(value):
        yield path
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from unknowns(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from unknowns(item, f"{path}[{index}]")


def document(value: Any) -> Mapping[str, Any]:
    """A policy document given as JSON text or as an object. Raises CannotTell, or ValueError for what is neither."""
    seen(value)
    if isinstance(value, str):
        value = json.loads(value)
    if not isinstance(value, Mapping):
        raise ValueError("is not a policy document")
    return value


def listed(value: Any) -> Sequence[Any]:
    """What may be given alone or as a list, as a list; nothing is an empty one."""
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else (value,)
