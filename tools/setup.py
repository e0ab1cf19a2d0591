"""Prepares a fresh clone: virtual environment from the hash-pinned lock, then the Pulumi engine.

Standard library only: it runs on a bare Python 3.11. A second run finds everything in place and ends in milliseconds.
``python3 tools/setup.py [--no-engine]``
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
UV_LOCK = ROOT / "tools" / "uv.lock"
STAMP = VENV / ".tenantry-lock"
MINIMUM = (3, 11)


class SetupFailed(Exception):
    """``str`` is the message for the user: what failed, and what to do."""


def cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "tenantry"


def say(message: str) -> None:
    print(f"setup: {message}", flush=True)


def registry_environment() -> dict[str, str]:
    """uv reads its own variables only; a user's choice of index and certificates for pip is passed on."""
    environment = dict(os.environ)
    for ours, theirs in (("UV_DEFAULT_INDEX", "PIP_INDEX_URL"), ("SSL_CERT_FILE", "PIP_CERT")):
        if ours not in environment and environment.get(theirs):
            environment[ours] = environment[theirs]
    environment.setdefault("UV_HTTP_TIMEOUT", "180")
    return environment


def run(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], env=registry_environment(), check=False)
    if done.returncode != 0:
        raise SetupFailed(
            f"`{' '.join(str(part) for part in command)}` failed with exit code {done.returncode}; see above"
        )


def throwaway_python(directory: Path) -> Path:
    """A virtual environment with pip in ``directory``; Debian's bare python3 lacks ensurepip, hence the fallback."""
    tried: list[str] = []
    for attempt in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "venv", str(directory)], capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return directory / "bin" / "python"
        tried.append("python3 -m venv: " + (done.stdout + done.stderr).strip().splitlines()[0])
        shutil.rmtree(directory, ignore_errors=True)
        if attempt == 0 and os.geteuid() == 0 and shutil.which("apt-get"):
            say("this Python has no venv module: installing Debian's python3-venv")
            subprocess.run(["apt-get", "update", "-qq"], check=False)
            subprocess.run(
                ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "python3-venv"],
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                check=False,
            )
        else:
            break
    raise SetupFailed("could not create a virtual environment: " + "; ".join(tried))


def find_uv() -> Path:
    """``uv`` on PATH, the cached one, or one installed from its hash-pinned lock."""
    on_path = shutil.which("uv")
    if on_path:
        return Path(on_path)
    version = hashlib.sha256(UV_LOCK.read_bytes()).hexdigest()[:12]
    cached = cache_dir() / "uv" / version / "uv"
    if cached.exists():
        return cached
    say("installing uv")
    cached.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cached.parent) as temporary:
        partial = Path(temporary) / "uv"
        try:
            python = throwaway_python(Path(temporary) / "venv")
            pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes")
            run(*pip, "-r", UV_LOCK)
            shutil.copy2(python.parent / "uv", partial)
        except SetupFailed as failure:
            say(f"{failure}; fetching uv's wheel without pip")
            fetch_uv(partial)
        os.replace(partial, cached)
    return cached


def fetch_uv(destination: Path) -> None:
    """uv's program out of its wheel, which must have one of the lock's hashes."""
    index = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("PIP_INDEX_URL") or "https://pypi.org/simple"
    allowed = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", UV_LOCK.read_text()))
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    library = "musllinux" if "musl" in (sysconfig.get_config_var("HOST_GNU_TYPE") or "") else "manylinux"
    page = f"{index.rstrip('/')}/uv/"
    try:
        with urllib.request.urlopen(page, timeout=60) as answer:
            links = re.findall(r"""href=["']([^"'#]+\.whl)#sha256=([0-9a-f]{64})""", answer.read().decode())
        wheels = [link for link, digest in links if digest in allowed and machine in link and library in link]
        if not wheels:
            raise SetupFailed(f"{page} has no wheel of uv for {library} on {machine} with a hash of {UV_LOCK.name}")
        with urllib.request.urlopen(urllib.parse.urljoin(page, wheels[0]), timeout=180) as answer:
            content = answer.read()
    except OSError as error:
        raise SetupFailed(
            f"uv could not be fetched from {page}: {error}. Install your system's package for virtual environments "
            "(Debian: apt install python3-venv), or put `uv` on PATH."
        ) from None
    if hashlib.sha256(content).hexdigest() not in allowed:
        raise SetupFailed(f"the wheel of uv from {page} does not have its hash: nothing was installed")
    with zipfile.ZipFile(io.BytesIO(content)) as wheel:
        program = next(name for name in wheel.namelist() if name.endswith(".data/scripts/uv"))
        destination.write_bytes(wheel.read(program))
    destination.chmod(0o755)


def prepare_venv() -> None:
    wanted = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()
    if STAMP.exists() and STAMP.read_text() == wanted and (VENV / "bin" / "python").exists():
        return
    started = time.monotonic()
    uv = find_uv()
    if not (VENV / "bin" / "python").exists():
        run(uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, VENV)
    STAMP.unlink(missing_ok=True)
    say("installing the locked packages")
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    run(uv, "pip", "sync", *quiet, "--require-hashes", "--python", VENV / "bin" / "python", LOCK)
    STAMP.write_text(wanted)
    say(f"packages installed in {time.monotonic() - started:.0f} s")


def prepare_engine() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [str(VENV / "bin" / "python"), "-m", "provisioner.engine", "ensure"], cwd=ROOT, env=environment, check=False
    )
    if done.returncode != 0:
        raise SetupFailed("the Pulumi engine could not be prepared; the lines above say what was tried")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-engine", action="store_true", help="packages only")
    arguments = parser.parse_args()
    if sys.version_info < MINIMUM:
        print(
            f"setup: Python {MINIMUM[0]}.{MINIMUM[1]} or newer is needed, this is {sys.version.split()[0]}",
            file=sys.stderr,
        )
        return 3
    try:
        prepare_venv()
        if not arguments.no_engine:
            prepare_engine()
    except SetupFailed as failure:
        print(f"setup: {failure}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
