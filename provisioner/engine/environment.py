"""The environment in which the Pulumi command line runs, for our own calls and for a user's shell."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from provisioner.engine import shims

#: The engine's Postgres backend holds one connection while it asks for another, of 2 x GOMAXPROCS: with few processors
#: its listing waits for itself for ever.
GOMAXPROCS = "16"
#: Set by a user for the command line, and of no use to ours.
_DROPPED = ("PULUMI_ACCESS_TOKEN", "PULUMI_STACK", "PULUMI_PROJECT", "PULUMI_OPTION_STACK")


def environment(
    base: Mapping[str, str],
    *,
    pulumi: Path,
    shims_dir: Path | None,
    pulumi_home: Path,
    backend_url: str | None = None,
    acquire_plugins: bool | None = None,
) -> dict[str, str]:
    """``base`` (``os.environ``) with what the engine needs.

    ``pulumi`` is the executable, ``shims_dir`` a directory with what it does not bundle.
    ``acquire_plugins`` lets the engine download resource plugins; by default it may, unless providers are attached
    through ``PULUMI_DEBUG_PROVIDERS`` (the local cloud), where a download could only hide a mistake.
    """
    result = {name: value for name, value in base.items() if name not in _DROPPED}
    result["PATH"] = search_path([pulumi.parent, shims_dir], base.get("PATH", os.defpath))
    if acquire_plugins is None:
        acquire_plugins = not base.get("PULUMI_DEBUG_PROVIDERS")
    if backend_url is not None:
        result["PULUMI_BACKEND_URL"] = backend_url
    result |= settings(pulumi_home)
    if not acquire_plugins:
        result["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
    return result


def settings(pulumi_home: Path) -> dict[str, str]:
    """What is the same for every command."""
    return {
        "PULUMI_HOME": str(pulumi_home),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        # The stack's salt or key is in its state: no file has to survive beside it.
        "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
        # Saves a listing of the state table at every start.
        "PULUMI_DIY_BACKEND_NO_LEGACY_WARNING": "true",
        "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS": "true",
        "GOMAXPROCS": GOMAXPROCS,
        **shims.variables(),
    }


def search_path(first: Iterable[Path | None], rest: str) -> str:
    """``first`` before ``rest``, each directory once."""
    ordered = dict.fromkeys([*(str(path) for path in first if path is not None), *rest.split(os.pathsep)])
    return os.pathsep.join(part for part in ordered if part)


def shell_exports(*, pulumi: Path, shims_dir: Path | None, pulumi_home: Path, path: str) -> dict[str, str]:
    """What ``tenantry local env`` adds for plain ``pulumi`` commands; ``path`` is the shell's present PATH."""
    return {"PATH": search_path([pulumi.parent, shims_dir], path), **settings(pulumi_home)}


def render_exports(exports: Mapping[str, str]) -> str:
    """POSIX shell text for ``eval``."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in exports.items())


def with_application_name(backend_url: str, application_name: str) -> str:
    """``backend_url`` whose connections bear ``application_name``; URLs of other than PostgreSQL stay as they are."""
    parts = urlsplit(backend_url)
    if parts.scheme not in {"postgres", "postgresql"}:
        return backend_url
    query = [(name, value) for name, value in parse_qsl(parts.query) if name != "application_name"]
    query.append(("application_name", application_name))
    return urlunsplit(parts._replace(query=urlencode(query, quote_via=quote)))
