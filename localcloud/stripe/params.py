"""Validates a request's parameters against the typed classes of the ``stripe`` package.

``stripe.params.<Class>`` is generated from Stripe's own API description, so it is the reference of names, types and
enumerations here. ``coerce`` turns the form's strings into Python values and answers as Stripe does for unknown,
missing, empty and ill-typed parameters.
"""

from __future__ import annotations

import functools
import re
import sys
import types
import typing
from decimal import Decimal
from typing import Any, Literal, NotRequired, Required, Union, get_args, get_origin

from stripe._stripe_object import UntypedStripeObject
from typing_extensions import is_typeddict

from localcloud.stripe.errors import ApiError, invalid, missing_param
from localcloud.stripe.form import Tree

_INTEGER = re.compile(r"-?[0-9]{1,15}")
MAX_METADATA_KEYS = 50

#: What only the Python library's requests have; never sent to Stripe.
_LIBRARY_ONLY = frozenset(
    {
        "api_key",
        "stripe_version",
        "stripe_account",
        "stripe_context",
        "idempotency_key",
        "headers",
        "max_network_retries",
        "content_type",
    }
)


def coerce(tree: Tree, schema: type | None) -> dict[str, Any]:
    """``tree`` as ``schema`` (a TypedDict of ``stripe.params``; None: no parameter but ``expand``) types it."""
    if schema is None:
        unknown = [name for name in tree if name != "expand"]
        if unknown:
            raise _unknown(unknown)
        return {"expand": _array(tree["expand"], str, "expand")} if "expand" in tree else {}
    return _typed_dict(tree, schema, "")


@functools.cache
def fields(schema: type) -> dict[str, tuple[Any, bool]]:
    """name -> (type, required) of a TypedDict."""
    own = {name: hint for name, hint in schema.__annotations__.items() if name not in _LIBRARY_ONLY}
    holder = types.SimpleNamespace(__annotations__=own)
    hints = typing.get_type_hints(holder, vars(sys.modules[schema.__module__]), include_extras=True)
    result: dict[str, tuple[Any, bool]] = {}
    for name, hint in hints.items():
        origin = get_origin(hint)
        required = origin is not NotRequired and origin is not typing.NotRequired
        if origin in (NotRequired, Required, typing.NotRequired, typing.Required):
            hint = get_args(hint)[0]
        result[name.rstrip("_") if name == "from_" else name] = (hint, required)
    return result


def _typed_dict(value: Tree | str, schema: type, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid("Invalid object", param=path or None)
    known = fields(schema)
    unknown = [name for name in value if name not in known and not (name == "expand" and not path)]
    if unknown:
        raise _unknown([_join(path, name) for name in unknown])
    result: dict[str, Any] = {}
    for name, item in value.items():
        where = _join(path, name)
        hint: Any = known[name][0] if name in known else list[str]
        if name == "metadata" and isinstance(item, dict):
            result[name] = _metadata(item, where)
        else:
            result[name] = _value(item, hint, where)
    for name, (_, required) in known.items():
        if required and name not in result:
            raise missing_param(_join(path, name))
    return result


def _value(value: Tree | str, hint: Any, path: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _union(value, get_args(hint), path)
    if origin is Literal:
        allowed = list(get_args(hint))
        if isinstance(value, str) and value in [str(option) for option in allowed]:
            return value
        raise _bad_enum(value, allowed, path)
    if origin is list:
        return _array(value, get_args(hint)[0], path)
    if origin is dict or origin is UntypedStripeObject:
        if not isinstance(value, dict):
            raise invalid("Invalid hash", param=path)
        return {key: _value(item, get_args(hint)[-1], _join(path, key)) for key, item in value.items()}
    if is_typeddict(hint):
        return _typed_dict(value, hint, path)
    if hint is Any:
        return value
    return _scalar(value, hint, path)


def _scalar(value: Tree | str, hint: Any, path: str) -> Any:
    if not isinstance(value, str):
        raise invalid(f"Invalid {'string' if hint is str else getattr(hint, '__name__', 'value')}: {{...}}", param=path)
    if hint is str:
        if value == "":
            name = path.split("[")[0]
            raise invalid(
                f"You passed an empty string for '{path}'. We assume empty values are an attempt to unset a field; "
                f"however '{name}' cannot be unset. You should remove '{path}' from your request or supply a "
                "non-empty value.",
                param=path,
                code="parameter_invalid_empty",
            )
        if len(value) > 5000:
            raise invalid(
                f"Invalid string: {value[:10]}...{value[-4:]}; must be at most 5000 characters",
                param=path,
                code="parameter_invalid_string_length",
            )
        return value
    if hint is bool:
        if value in ("true", "false"):
            return value == "true"
        raise invalid(f"Invalid boolean: {value[:100]}", param=path)
    if hint is int:
        if _INTEGER.fullmatch(value):
            return int(value)
        raise invalid(f"Invalid integer: {value[:100]}", param=path, code="parameter_invalid_integer")
    if hint in (float, Decimal):
        if re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,12})?", value):
            return value if hint is Decimal else float(value)
        raise invalid(f"Invalid decimal: {value[:100]}", param=path)
    raise invalid(f"Invalid value: {value[:100]}", param=path)


def _union(value: Tree | str, options: tuple[Any, ...], path: str) -> Any:
    literals = [item for option in options if get_origin(option) is Literal for item in get_args(option)]
    if isinstance(value, str) and value in literals:
        return value
    rest = [option for option in options if get_origin(option) is not Literal and option is not type(None)]
    if any(item != "" for item in literals):
        # `Literal["a", "b"] | str` is an enumeration that may grow: today's values are those it lists.
        rest = [option for option in rest if option is not str]
    # A plain string would swallow everything: it is tried last.
    rest.sort(key=lambda option: option is str)
    failure: ApiError | None = None
    for option in rest:
        try:
            return _value(value, option, path)
        except ApiError as error:
            failure = failure or error
    raise failure or _bad_enum(value, literals, path)


def _array(value: Tree | str, hint: Any, path: str) -> list[Any]:
    if isinstance(value, str) or any(not key.isdecimal() for key in value):
        raise invalid("Invalid array", param=path)
    keys = sorted(value, key=int)
    return [_value(value[key], hint, f"{path}[{index}]") for index, key in enumerate(keys)]


def _metadata(value: Tree, path: str) -> dict[str, str]:
    result = {}
    for key, item in value.items():
        if not isinstance(item, str):
            raise invalid(f"Invalid string: {{...}} for {path}[{key}]", param=f"{path}[{key}]")
        if len(key) > 40:
            raise invalid(f"Metadata keys can be up to 40 characters long: {key[:50]}", param=path)
        if len(item) > 500:
            raise invalid(
                f"Metadata values can have up to 500 characters, but you passed in a value that is {len(item)} "
                f"characters. Invalid value: {item[:50]}...",
                param=f"{path}[{key}]",
            )
        result[key] = item
    if len(result) > MAX_METADATA_KEYS:
        raise invalid(f"Metadata can have up to {MAX_METADATA_KEYS} keys", param=path)
    return result


def _bad_enum(value: Tree | str, allowed: list[Any], path: str) -> ApiError:
    names = [str(option) for option in allowed if option != ""]
    listed = names[0] if len(names) == 1 else ", ".join(names[:-1]) + f", or {names[-1]}"
    leaf = re.split(r"[\[\]]+", path.rstrip("]"))[-1]
    given = f": {value[:100]}" if isinstance(value, str) else ""
    return invalid(f"Invalid {leaf}{given}; must be one of {listed}", param=path)


def _unknown(names: list[str]) -> ApiError:
    plural = "s" if len(names) > 1 else ""
    return invalid(f"Received unknown parameter{plural}: {', '.join(names)}", param=names[0], code="parameter_unknown")


def _join(path: str, name: str) -> str:
    return f"{path}[{name}]" if path else name
