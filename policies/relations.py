"""Which resource of a stack belongs to which, and what is known of a resource from outside itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from policies.model import Facts, Resource, Stack
from policies.values import CannotTell, is_present, is_secret, is_unknown

BUCKETS = ("aws:s3/bucket:Bucket", "aws:s3/bucketV2:BucketV2")
DATABASES = ("aws:rds/instance:Instance", "aws:rds/cluster:Cluster")


def belongs(part: Resource, name: str, owner: Resource, *identifiers: str) -> bool:
    """Whether property ``name`` of ``part`` names ``owner``: by its value, else by where the value comes from."""
    value = part.properties.get(name)
    known = [owner.properties.get(each) for each in ("id", *identifiers)]
    if not is_unknown(value) and value is not None and not any(is_unknown(each) for each in known):
        named = [each for each in known if each is not None]
        if named:
            return value in named
    return owner.urn in part.depends_on.get(name, frozenset())


def parts_of(stack: Stack, owner: Resource, name: str, identifiers: tuple[str, ...], *types: str) -> Iterator[Resource]:
    """The resources of ``types`` whose property ``name`` names ``owner``."""
    return (each for each in stack.of_type(*types) if belongs(each, name, owner, *identifiers))


def tags_of(resource: Resource) -> dict[str, Any]:
    """Its tags, those that its provider adds by default among them. Raises CannotTell if none is known."""
    own, all_of_them = resource.properties.get("tags"), resource.properties.get("tagsAll")
    if is_unknown(own):
        raise CannotTell("tags")
    found = dict(own or {})
    # Some versions of the provider keep what its defaults add a secret.
    if is_unknown(all_of_them) or is_secret(all_of_them):
        return found
    return {**(all_of_them or {}), **found}


def environment_of(resource: Resource, facts: Facts) -> str | None:
    """``production``, ...: of the stack's specification, or of the resource's tag ``environment``; None if unknown."""
    if facts.environment is not None:
        return facts.environment.value
    # AWS tells tags apart by case, people don't.
    values = [value for name, value in tags_of(resource).items() if str(name).lower() == "environment"]
    if any(is_unknown(each) for each in values):
        raise CannotTell("the tag environment")
    found = next((str(each).strip().lower() for each in values if each), None)
    return "production" if found == "prod" else found


def is_copy(properties: Any) -> bool:
    """A replica, whose data, key, backups and login are its source's. A global cluster's members are none: each has
    its own key and backups, and ``globalClusterIdentifier`` stands on the primary as well."""
    return any(is_present(properties, name) for name in ("replicateSourceDb", "replicationSourceIdentifier"))


def names_managed_key(properties: Any, name: str) -> bool:
    """Whether a property names one of AWS's own keys, ``alias/aws/...``, which nobody else governs."""
    value = properties.get(name)
    return value is not None and not is_unknown(value) and "alias/aws/" in str(value)
