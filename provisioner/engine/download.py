"""Pulumi's official download, by the SDK's own installer. It bundles the language host."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from provisioner.engine import versions
from provisioner.engine.progress import Progress
from provisioner.engine.resolve import InstallFailed

URL = "https://get.pulumi.com/install.sh"
#: The SDK's installer waits for ever; an unreachable site has to be known within this many seconds.
PROBE_TIMEOUT = 5.0
DOWNLOAD_TIMEOUT = 300.0
_SCRIPT = (
    "import sys\n"
    "from semver import VersionInfo\n"
    "from pulumi.automation import PulumiCommand\n"
    "PulumiCommand.install(root=sys.argv[1], version=VersionInfo.parse(sys.argv[2]))\n"
)


def probe(url: str, timeout: float) -> None:
    """Raise ``OSError`` unless ``url`` answers within ``timeout`` seconds; honours the proxy variables."""
    with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=timeout):  # noqa: S310
        pass


class OfficialDownload:
    name = "the official download"

    def __init__(
        self, *, probe: Callable[[str, float], None] = probe, version: versions.Version = versions.PINNED
    ) -> None:
        self._probe = probe
        self._version = version

    def install(self, destination: Path, progress: Progress) -> None:
        try:
            self._probe(URL, PROBE_TIMEOUT)
        except urllib.error.HTTPError as error:
            raise InstallFailed(f"{URL} answers {error.code}") from error
        except OSError as error:
            raise InstallFailed(f"{URL} can't be reached ({getattr(error, 'reason', error)})") from error
        version = versions.show(self._version)
        progress.say(f"downloading pulumi {version}")
        root = destination / "download"
        # A process of its own: it may hang, and it leaves threads and handlers of the SDK behind.
        child = subprocess.Popen(
            [sys.executable, "-c", _SCRIPT, str(root), version],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            output, _ = child.communicate(timeout=DOWNLOAD_TIMEOUT)
        except subprocess.TimeoutExpired as error:
            raise InstallFailed(f"it did not end within {DOWNLOAD_TIMEOUT:.0f} s") from error
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.communicate()
        if child.returncode != 0:
            last = (output.strip().splitlines() or ["no output"])[-1]
            raise InstallFailed(f"the installer ended with code {child.returncode}: {last}")
        for file in (root / "bin").iterdir():
            os.replace(file, destination / file.name)
        shutil.rmtree(root)
