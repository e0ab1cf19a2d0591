"""Resources as Pulumi keeps and previews them, turned into what policy rules look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from policies.model import Resource, Stack
from policies.values import Secret, Unknown
from provisioner.urns import split_urn

_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - Pulumi's mark of a secret, none itself
_OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
_RESOURCE = "5cf8f73096256a8f31e491e813e4eb8e"
#: What stands for a value that only the update tells: of a boolean, number, string, array, asset, archive, object.
_UNKNOWN = frozenset(
    {
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)


def stacks_of(deployment: Mapping[str, Any]) -> tuple[Stack, Stack]:
    """The stack by its resources' inputs, for resource rules, and by their outputs, for stack rules.

    ``deployment``: what ``pulumi stack export`` prints under that name. Resources that are pending deletion are left
    out, as in a policy pack.
    """
    return stacks_of_resources(deployment.get("resources") or ())


def stacks_of_resources(resources: Iterable[Mapping[str, Any]]) -> tuple[Stack, Stack]:
    """As ``stacks_of``, for resources in the form of a checkpoint's.

    In a preview a provider that can't be configured yet gives its resources no outputs: their inputs stand for them.
    """
    kept = [each for each in resources if not each.get("delete")]
    return (
        Stack(tuple(_resource(each, each.get("inputs") or {}) for each in kept)),
        Stack(tuple(_resource(each, {**(each.get("inputs") or {}), **(each.get("outputs") or {})}) for each in kept)),
    )


def as_it_stands(deployment: Mapping[str, Any]) -> tuple[Stack, Stack]:
    """As ``stacks_of``, but with what the cloud says in the place of what was asked for: for a look at what stands."""
    _, real = stacks_of(deployment)
    return real, real


def _resource(state: Mapping[str, Any], properties: Mapping[str, Any]) -> Resource:
    type_, name = split_urn(state["urn"])
    return Resource(
        state["urn"],
        type_,
        name,
        {key: plain(value, key) for key, value in properties.items()},
        parent=state.get("parent") or "",
        protect=bool(state.get("protect")),
        depends_on={key: frozenset(urns) for key, urns in (state.get("propertyDependencies") or {}).items() if urns},
        dependencies=frozenset(state.get("dependencies") or ()),
    )


def plain(value: Any, path: str = "") -> Any:
    """A property's value without Pulumi's marks: what is unknown as ``Unknown``, what is secret as ``Secret``."""
    if isinstance(value, str):
        return Unknown(path) if value in _UNKNOWN else value
    if isinstance(value, list):
        return [plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    match value.get(_SIGNATURE):
        case str(mark) if mark == _SECRET:
            return Secret(path)
        case str(mark) if mark == _OUTPUT:
            return plain(value["value"], path) if "value" in value else Unknown(path)
        case str(mark) if mark == _RESOURCE:
            return value.get("urn")
    return {key: plain(item, f"{path}.{key}") for key, item in value.items()}
