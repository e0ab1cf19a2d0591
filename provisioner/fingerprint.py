"""What a stack was made from, as one value: equal fingerprints mean that an update would change nothing."""

from __future__ import annotations

import functools
import hashlib
import json
import os
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
def policy_version(configuration: str = "") -> str:
    """Digest of the policy rules of this checkout; ``configuration``: the text of what sets them, "" for none."""
    return _digest(configuration, *_sources(_POLICIES))


def judged_by(policy: str) -> str:
    """What a failure that only an operator can mend was judged by: this program and the rules, ``policy_version``.

    Another value means that it may have been mended meanwhile.
    """
    return f"{program_version()[:12]}/{policy[:12]}"


def app_schema_digest(directory: Path, version_: int) -> str:
    """Of the migrations up to ``version_``; ``MigrationsInvalid`` for a directory that can't be used."""
    return _digest(*_migration_digests(directory, _looks(directory))[:version_])


@functools.lru_cache(maxsize=8)
def _migration_digests(directory: Path, looks: object) -> tuple[str, ...]:
    return tuple(str(entry["sha256"]) for entry in load_migrations(directory))


def _looks(directory: Path) -> object:
    """Changes whenever a file of the directory does: a sweep asks for every tenant, and reads the files once."""
    try:
        return tuple(
            sorted(
                (entry.name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
                for entry in os.scandir(directory)
                for status in (entry.stat(),)
            )
        )
    except OSError:
        return None  # reading it says what is wrong


def of_tenant(
    spec: TenantSpec, platform: PlatformOutputs, app_schema: str, checkpoint_version: str | None, policy: str
) -> str:
    """``app_schema``: :func:`app_schema_digest`; ``checkpoint_version``: the stack's state version; ``policy``:
    :func:`policy_version`."""
    return _digest(
        spec.model_dump_json(),
        platform.model_dump_json(),
        program_version(),
        policy,
        app_schema,
        str(checkpoint_version),
    )


def of_platform(spec: PlatformSpec, app_schema: str, checkpoint_version: str | None, policy: str) -> str:
    return _digest(spec.model_dump_json(), program_version(), policy, app_schema, str(checkpoint_version))


def _sources(packages: tuple[str, ...]) -> list[str]:
    found = []
    for package in packages:
        for path in sorted((_ROOT / package).rglob("*")):
            if path.suffix in (".py", ".sql", ".yaml", ".toml"):
                found.append(f"{path.relative_to(_ROOT)}:{hashlib.sha256(path.read_bytes()).hexdigest()}")
    return found


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
