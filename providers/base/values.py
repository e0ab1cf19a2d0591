"""Property values: what travels in a gRPC ``Struct`` and what a handler sees.

A handler sees plain Python (``dict``, ``list``, ``str``, ``int``, ``float``, ``bool``), with :data:`UNKNOWN` where a
preview has no value yet. Secretness travels beside the values as a set of paths (:class:`SecretPaths`), so a handler
never has to unwrap anything and never loses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from google.protobuf import struct_pb2

Properties = dict[str, Any]
Path = tuple[str | int, ...]
SecretPaths = frozenset[Path]

# The signatures of the engine's wire format (sdk/go/common/resource/properties.go).
_SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
_SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"
_RESOURCE: Final = "5cf8f73096256a8f31e491e813e4eb8e"
_OUTPUT: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
_ASSET: Final = "c44067f5952c0a294b673a41bacd8c17"
_UNKNOWN_STRING: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_UNKNOWN_STRINGS: Final = frozenset(
    {
        _UNKNOWN_STRING,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # bool
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)


class Unknown:
    """The value of a property that is only known after an update. There is one instance, :data:`UNKNOWN`."""

    _instance: Unknown | None = None

    def __new__(cls) -> Unknown:
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __bool__(self) -> bool:
        raise TypeError("an unknown value is neither true nor false: test it with `is UNKNOWN` first")

    def __deepcopy__(self, memo: object) -> Unknown:
        return self


UNKNOWN: Final = Unknown()


def has_unknown(value: Any) -> bool:
    """Whether ``value`` is unknown or contains an unknown value at any depth."""
    if value is UNKNOWN:
        return True
    if isinstance(value, Mapping):
        return any(has_unknown(v) for v in value.values())
    if isinstance(value, (list, tuple)):
        return any(has_unknown(v) for v in value)
    return False


def unmarshal(struct: struct_pb2.Struct) -> tuple[Properties, SecretPaths]:
    """Plain properties of ``struct`` and the paths of its secrets.

    Nulls of objects are dropped: an absent property and a null one mean the same to every provider. A resource
    reference becomes the resource's id, or its URN if it is a component.
    """
    secrets: set[Path] = set()
    return _unmarshal_fields(struct, (), secrets), frozenset(secrets)


def _unmarshal_fields(struct: struct_pb2.Struct, path: Path, secrets: set[Path]) -> Properties:
    result: Properties = {}
    for key, value in struct.fields.items():
        plain = _unmarshal_value(value, (*path, key), secrets)
        if plain is not None:
            result[key] = plain
    return result


def _unmarshal_value(value: struct_pb2.Value, path: Path, secrets: set[Path]) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return UNKNOWN if value.string_value in _UNKNOWN_STRINGS else value.string_value
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "bool_value":
        return value.bool_value
    if kind == "list_value":
        return [_unmarshal_value(v, (*path, i), secrets) for i, v in enumerate(value.list_value.values)]
    if kind == "struct_value":
        return _unmarshal_struct(value.struct_value, path, secrets)
    return None


def _unmarshal_struct(struct: struct_pb2.Struct, path: Path, secrets: set[Path]) -> Any:
    if _SIGNATURE not in struct.fields:
        return _unmarshal_fields(struct, path, secrets)
    signature = struct.fields[_SIGNATURE].string_value
    if signature == _SECRET:
        secrets.add(path)
        return _unmarshal_value(struct.fields["value"], path, secrets)
    if signature == _OUTPUT:
        if "secret" in struct.fields and struct.fields["secret"].bool_value:
            secrets.add(path)
        return _unmarshal_value(struct.fields["value"], path, secrets) if "value" in struct.fields else UNKNOWN
    if signature == _RESOURCE:
        # A custom resource's reference always has an id, empty while it is unknown; a component's has none.
        if "id" not in struct.fields:
            return struct.fields["urn"].string_value
        identifier = _unmarshal_value(struct.fields["id"], path, secrets)
        return UNKNOWN if identifier in ("", None) else identifier
    # Assets and archives: the fields (text, path, uri, hash) are the value; the signature is kept to send it back.
    return _unmarshal_fields(struct, path, secrets)


def marshal(properties: Mapping[str, Any], secrets: SecretPaths = frozenset()) -> struct_pb2.Struct:
    """``properties`` as the engine reads them; the values at ``secrets`` are marked secret.

    A secret path that does not exist in ``properties`` marks its nearest existing ancestor, so that secretness is
    never lost when an output has another shape than the input it came from.
    """
    struct = struct_pb2.Struct()
    effective = frozenset(_existing(properties, path) for path in secrets if path and path[0] in properties)
    for key, value in properties.items():
        if value is not None:
            _marshal_value(struct.fields[key], value, (key,), effective)
    return struct


def _existing(value: Any, path: Path) -> Path:
    for depth, part in enumerate(path):
        if isinstance(value, Mapping) and part in value:
            value = value[str(part)]
        elif isinstance(value, (list, tuple)) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            return path[:depth]
    return path


def _marshal_value(target: struct_pb2.Value, value: Any, path: Path, secrets: SecretPaths) -> None:
    if path in secrets:
        fields = target.struct_value.fields
        fields[_SIGNATURE].string_value = _SECRET
        target = fields["value"]
    if value is UNKNOWN:
        target.string_value = _UNKNOWN_STRING
    elif value is None:
        target.null_value = struct_pb2.NULL_VALUE
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, (int, float)):
        target.number_value = value
    elif isinstance(value, str):
        target.string_value = value
    elif isinstance(value, Mapping):
        fields = target.struct_value.fields  # touching it makes an empty object an object
        target.struct_value.SetInParent()
        for key, item in value.items():
            if item is not None:
                _marshal_value(fields[str(key)], item, (*path, str(key)), secrets)
    elif isinstance(value, (list, tuple)):
        target.list_value.SetInParent()
        for index, item in enumerate(value):
            _marshal_value(target.list_value.values.add(), item, (*path, index), secrets)
    else:
        raise TypeError(f"property {render_path(path)}: a {type(value).__name__} is no property value")


def render_path(path: Iterable[str | int]) -> str:
    """A property path as the engine writes it: ``rules[0].filter``, ``tags["a.b"]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.replace("_", "").replace("-", "").replace("$", "").isalnum():
            text += f".{part}" if text else part
        else:
            escaped = part.replace("\\", "\\\\").replace('"', '\\"')
            text += f'["{escaped}"]'
    return text


def secret_strings(properties: Mapping[str, Any], secrets: SecretPaths) -> frozenset[str]:
    """Every string inside the secret values of ``properties``: what must not show in a message."""
    found: set[str] = set()
    for path in secrets:
        value: Any = properties
        for part in path:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                value = None
                break
        found.update(_strings(value))
    return frozenset(found)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)
