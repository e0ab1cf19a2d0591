"""Where the engine and its files lie. Pure: the environment is a parameter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from provisioner.engine import versions

PROJECT_ROOT = Path(__file__).resolve().parents[2]
MODULE = PROJECT_ROOT / "tools" / "engine"


def cache_dir(environ: Mapping[str, str]) -> Path:
    """``$XDG_CACHE_HOME/tenantry``, else ``~/.cache/tenantry``; shared by all checkouts of this user."""
    base = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME") or Path.home()) / ".cache")
    return Path(base) / "tenantry"


def engine_dir(environ: Mapping[str, str], version: versions.Version = versions.PINNED) -> Path:
    """Holds ``pulumi``; appears whole, by a rename, or not at all."""
    return cache_dir(environ) / "engine" / f"v{versions.show(version)}"


def shims_dir(data_dir: Path) -> Path:
    """Executables that the engine looks for on PATH and the engine found does not bundle."""
    return data_dir / "engine" / "bin"


def pulumi_home(data_dir: Path) -> Path:
    """``PULUMI_HOME``: plugins and selections of ours; never the credentials of the user's ``~/.pulumi``."""
    return data_dir / "engine" / "home"
