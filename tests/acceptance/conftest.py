"""The product as a user starts it: from a shell, in a life of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass
class Shell:
    """Runs lines of bash in the repository; what one exports, the next one sees."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, script: str, *, code: int = 0, timeout: float = 300) -> str:
        """Standard output; fails unless the script's last command exits with ``code``."""
        with tempfile.TemporaryDirectory() as directory:
            kept = Path(directory) / "environment"
            # `env -0` at the end, even of a script that failed: exports outlive it.
            done = subprocess.run(
                ["bash", "-c", f"trap 'env -0 > \"{kept}\"' EXIT\nset -o pipefail\n{script}"],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout,
            )
            exported = kept.read_text().split("\0")
        self.environment = dict(line.split("=", 1) for line in exported if "=" in line)
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def new_shell(home: Path) -> Shell:
    kept = (
        "PATH",
        "HOME",
        "XDG_CACHE_HOME",
        "LANG",
        "SSL_CERT_FILE",
        "PIP_INDEX_URL",
        "PIP_CERT",
        "GOPROXY",
        "GOFLAGS",
    )
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    # stack files of a test's life must not lie in the checkout that other tests use
    return Shell(home, {**environment, "TENANTRY_HOME": str(home), "COLUMNS": "200", "TERM": "dumb"})


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    """A shell whose local cloud is ended and deleted afterwards."""
    home = Path(tempfile.gettempdir()) / f"tenantry-acceptance-{secrets.token_hex(4)}"
    opened = new_shell(home)
    try:
        yield opened
    finally:
        subprocess.run(["bin/tenantry", "local", "down"], cwd=ROOT, env=opened.environment, check=True, timeout=120)
        shutil.rmtree(home, ignore_errors=True)
