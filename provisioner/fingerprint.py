"""What a stack was made from, as one value: equal fingerprints mean that an update would change nothing."""

from __future__ import annotations

import functools
import hashlib
import json
from importlib.metadata import version
from pathlib import Path

from components.spec import PlatformOutputs, PlatformSpec, TenantSpec
from stacks.app_schema import load_migrations

_ROOT = Path(__file__).resolve().parent.parent
#: What decides how a spec becomes resources.
_PROGRAM = ("components", "stacks", "providers")
_POLICIES = ("policies",)
_DISTRIBUTIONS = ("pulumi", "pulumi-aws")


@functools.cache
def program_version() -> str:
    """Digest of the components, stacks and providers of this checkout, and of the SDKs they use."""
    return _digest(*(f"{name}=={version(name)}" for name in _DISTRIBUTIONS), *_sources(_PROGRAM))


@functools.cache
def policy_version() -> str:
    return _digest(*_sources(_POLICIES))


def app_schema_digest(directory: Path, version_: int) -> str:
    """Of the migrations up to ``version_``; ``MigrationsInvalid`` for a directory that can't be used."""
    return _digest(*(str(entry["sha256"]) for entry in load_migrations(directory)[:version_]))


def of_tenant(spec: TenantSpec, platform: PlatformOutputs, app_schema: str, checkpoint_version: str | None) -> str:
    """``app_schema``: :func:`app_schema_digest`; ``checkpoint_version``: the stack's state version."""
    return _digest(
        spec.model_dump_json(),
        platform.model_dump_json(),
        program_version(),
        policy_version(),
        app_schema,
        str(checkpoint_version),
    )


def of_platform(spec: PlatformSpec, app_schema: str, checkpoint_version: str | None) -> str:
    return _digest(spec.model_dump_json(), program_version(), policy_version(), app_schema, str(checkpoint_version))


def _sources(packages: tuple[str, ...]) -> list[str]:
    found = []
    for package in packages:
        for path in sorted((_ROOT / package).rglob("*")):
            if path.suffix in (".py", ".sql", ".yaml"):
                found.append(f"{path.relative_to(_ROOT)}:{hashlib.sha256(path.read_bytes()).hexdigest()}")
    return found


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
