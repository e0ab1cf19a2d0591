"""`tenantry doctor` as a user runs it: on a sound environment, on none, and on one where nothing answers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from provisioner.registry.migrate import migrate

ROOT = Path(__file__).parents[3]
SECRETS = {
    "TENANTRY_STRIPE_API_KEY": "sk_test_0123456789abcdef",
    "TENANTRY_STRIPE_WEBHOOK_SECRETS": "whsec_0123456789abcdef",
    "TENANTRY_OPERATOR_TOKENS": "operator-0123456789abcdef",
    "TENANTRY_APPLICATION_TOKENS": "application-0123456789abcdef",
    "PULUMI_CONFIG_PASSPHRASE": "correct horse battery",
    "AWS_SECRET_ACCESS_KEY": "aws-0123456789abcdef",
}


def doctor(home: Path, environ: dict[str, str]) -> tuple[int, dict[str, dict[str, Any]], float]:
    """Exit code, results by name, seconds; nothing of the caller's own environment leads it anywhere."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("TENANTRY_", "AWS_", "PULUMI_"))
    }
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "provisioner.cli", "doctor", "--json"],
        cwd=ROOT,
        env={**inherited, "PYTHONPATH": str(ROOT), "TENANTRY_HOME": str(home), **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )
    seconds = time.monotonic() - began
    assert done.stderr == ""
    for secret in SECRETS.values():
        assert secret not in done.stdout
    document = json.loads(done.stdout)
    assert document["ok"] is (done.returncode == 0)
    return done.returncode, {each["name"]: each for each in document["checks"]}, seconds


class EmptyStripe(BaseHTTPRequestHandler):
    """Answers every listing with nothing."""

    def do_GET(self) -> None:
        body = json.dumps({"object": "list", "data": [], "has_more": False, "url": "/v1/prices"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def stripe_url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), EmptyStripe) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def warm_moto(moto_server: str) -> str:
    """Its first answer imports half of AWS, which on a busy machine takes longer than the doctor waits."""
    urllib.request.urlopen(
        urllib.request.Request(moto_server, data=b"Action=GetCallerIdentity&Version=2011-06-15"), timeout=60
    ).close()
    return moto_server


def environment(database: str, aws: str, stripe: str) -> dict[str, str]:
    return {
        **SECRETS,
        "TENANTRY_DATABASE_URL": database,
        "PULUMI_BACKEND_URL": database,
        "TENANTRY_ENVIRONMENT": "development",
        "TENANTRY_STRIPE_API_BASE": stripe,
        "TENANTRY_API_URL": "http://127.0.0.1:0",
        "AWS_ENDPOINT_URL": aws,
        "AWS_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "AKIAABCDEFGHIJKLMNOP",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def test_a_sound_environment_passes(tmp_path: Path, database: str, warm_moto: str, stripe_url: str) -> None:
    code, before, _ = doctor(tmp_path, environment(database, warm_moto, stripe_url))
    assert code == 0, before
    assert before["database"]["verdict"] == "warn"
    assert "without the registry's schema" in before["database"]["message"]
    migrate(database, database)
    code, after, _ = doctor(tmp_path, environment(database, warm_moto, stripe_url))
    assert code == 0
    assert {name: each["verdict"] for name, each in after.items() if each["group"] == "environment"} == {
        "settings": "ok",
        "catalogue": "ok",
        "app schema": "ok",
        "database": "ok",
        "state backend": "ok",
        "secrets": "ok",
        "providers": "ok",
        "database CA": "warn",
        "stripe": "warn",
        "webhook secrets": "ok",
        "aws": "ok",
        "tokens": "ok",
        "api": "ok",
        "evidence": "ok",
        "mail": "skipped",
    }
    assert "starter_monthly" in after["stripe"]["message"]
    assert "beside the registry" in after["state backend"]["message"]


def test_pulumis_state_in_another_database_fails(
    tmp_path: Path, database: str, postgres: Any, moto_server: str, stripe_url: str
) -> None:
    import psycopg

    migrate(database, database)
    elsewhere = postgres.url("postgres")
    with psycopg.connect(elsewhere, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS doctor_state (key text)")
    changed = environment(database, moto_server, stripe_url)
    changed["PULUMI_BACKEND_URL"] = f"{elsewhere}&table=doctor_state"
    code, found, _ = doctor(tmp_path, changed)
    assert code == 3
    assert "another database than the registry" in found["state backend"]["message"]


def test_without_an_environment_the_machine_is_checked_and_nothing_fails(tmp_path: Path) -> None:
    code, found, _ = doctor(tmp_path / "home", {})
    assert code == 0, found
    assert found["settings"]["verdict"] == "skipped"
    assert "tenantry local env" in found["settings"]["fix"]
    assert found["engine"]["verdict"] == "ok"
    assert found["language host"]["verdict"] == "ok"
    assert found["local cloud"]["message"].startswith("down")
    assert "database" not in found
    assert not (tmp_path / "home").exists()


def test_a_host_without_an_engine_fails_and_nothing_is_installed(tmp_path: Path) -> None:
    code, found, _ = doctor(tmp_path, {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": "/usr/bin:/bin"})
    assert code == 3
    assert found["engine"]["verdict"] == "fail"
    assert str(tmp_path / "cache") in found["engine"]["message"]
    assert not (tmp_path / "cache" / "tenantry" / "engine").exists()


def test_what_never_answers_does_not_hold_it_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        port = silent.getsockname()[1]
        url, http = f"postgresql://tenantry@127.0.0.1:{port}/tenantry", f"http://127.0.0.1:{port}"
        code, found, seconds = doctor(
            tmp_path, {**environment(url, http, http), "PULUMI_DEBUG_PROVIDERS": f"aws:{port}"}
        )
    assert code == 3
    assert seconds < 15
    for name in ("database", "state backend", "stripe", "aws"):
        assert found[name]["verdict"] == "fail", name
        assert found[name]["fix"], name
        assert found[name]["seconds"] <= 5.5, name


def test_the_text_names_every_check_and_how_to_fix_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "provisioner.cli", "doctor"],
        cwd=ROOT,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith(("TENANTRY_", "AWS_"))},
            "PYTHONPATH": str(ROOT),
            "TENANTRY_HOME": str(tmp_path),
            "TENANTRY_INSTALLATION": "demo",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 3
    assert "TENANTRY_DATABASE_URL: Field required" in done.stdout
    assert "fix: for the local cloud: `tenantry local up`" in done.stdout
    assert "1 to fix" in done.stdout
