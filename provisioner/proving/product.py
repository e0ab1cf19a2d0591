"""Which program attacks: version and, where it runs from a repository, commit."""

from __future__ import annotations

import subprocess
import tomllib

from isolation.evidence.document import Product
from provisioner.settings import ROOT


def product() -> Product:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return Product(version=version, commit=_commit())


def _commit() -> str | None:
    if not (ROOT / ".git").exists():
        return None  # an image; git would look for a repository further up
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return None
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return commit if changed == "" else f"{commit}-modified"


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
