"""What `tenantry doctor` finds, check by check, and that no check can hold it up or betray a secret."""

from __future__ import annotations

import importlib.metadata
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from components.spec import Environment
from provisioner.checks import Check, Finding, Verdict, environment, fail, machine, ok, run
from provisioner.engine.scrubbing import Scrubber
from provisioner.errors import ConfigurationInvalid
from provisioner.settings import Settings

URL = "postgresql://tenantry:hunter2hunter2@127.0.0.1:1/tenantry"


def settings(**changes: Any) -> Settings:
    return Settings.model_construct(
        **{
            "database_url": SecretStr(URL),
            "backend_url": SecretStr(""),
            "installation": "demo",
            "environment": Environment.DEVELOPMENT,
            "secrets_provider": None,
            "stripe_api_key": SecretStr(""),
            "stripe_webhook_secrets": (),
            "operator_tokens": (SecretStr("o" * 32),),
            "application_tokens": (SecretStr("a" * 32),),
            **changes,
        }
    )


# Running


def plain(text: str) -> str:
    return text


def test_results_come_in_the_order_of_the_checks_whichever_ends_first() -> None:
    second_ended = threading.Event()

    def first() -> Finding:
        assert second_ended.wait(5)
        return ok("one")

    def second() -> Finding:
        second_ended.set()
        return fail("two", "mend it")

    results = run([Check("machine", "a", first), Check("environment", "b", second)], scrub=plain)
    assert [(each.group, each.name, each.verdict, each.message, each.fix) for each in results] == [
        ("machine", "a", "ok", "one", ""),
        ("environment", "b", "fail", "two", "mend it"),
    ]
    assert all(each.answered for each in results)


def test_a_check_that_hangs_is_reported_and_left_behind() -> None:
    release = threading.Event()

    def hang() -> Finding:
        release.wait(60)
        return ok("late")

    began = time.monotonic()
    hung, other = run([Check("m", "hangs", hang), Check("m", "works", lambda: ok("yes"))], scrub=plain, limit_s=0.2)
    assert time.monotonic() - began < 5
    release.set()
    assert (hung.verdict, hung.answered) == ("fail", False)
    assert "no answer within 0.2 s" in hung.message
    assert (other.verdict, other.answered) == ("ok", True)


def test_a_check_that_raises_is_a_finding() -> None:
    def refuse() -> Finding:
        raise ConfigurationInvalid("plans.toml is wrong", hint="correct it")

    def crash() -> Finding:
        raise KeyError("x")

    refused, crashed = run([Check("m", "a", refuse), Check("m", "b", crash)], scrub=plain)
    assert (refused.verdict, refused.message, refused.fix) == ("fail", "plans.toml is wrong", "correct it")
    assert (crashed.verdict, crashed.message) == ("fail", "the check itself failed: KeyError: 'x'")


def test_secrets_never_come_out() -> None:
    scrub = Scrubber({"TENANTRY_DATABASE_URL": URL, "TENANTRY_OPERATOR_TOKENS": "op_abcdef,op_ghijkl"})
    (result,) = run([Check("m", "a", lambda: fail("hunter2hunter2 and op_ghijkl", f"see {URL}"))], scrub=scrub)
    assert result.message == "[secret] and [secret]"
    assert "hunter2" not in result.fix


# The machine


def test_an_old_python_fails() -> None:
    assert machine.python((3, 11, 0)).verdict is Verdict.OK
    assert machine.python((4, 0, 0)).verdict is Verdict.OK
    old = machine.python((3, 10, 12))
    assert (old.verdict, old.message) == (Verdict.FAIL, "Python 3.10.12")


def test_packages_must_be_those_of_the_lock(tmp_path: Path) -> None:
    pytest_version = importlib.metadata.version("pytest")
    lock = tmp_path / "requirements.lock"
    right = f"pytest=={pytest_version} \\\n    --hash=sha256:00\nnot-there==1 ; python_full_version < '3' \\\n"
    lock.write_text(right)
    assert machine.packages(lock) == ok("1 locked packages are installed")
    lock.write_text(right + "typer==0.0.1 \\\nno-such-package==1.0 \\\n")
    found = machine.packages(lock)
    assert found.verdict is Verdict.FAIL
    assert f"typer is {importlib.metadata.version('typer')}, not 0.0.1" in found.message
    assert "no-such-package is missing" in found.message
    assert machine.packages(tmp_path / "none").verdict is Verdict.FAIL


def test_the_locked_packages_of_this_repository_are_installed() -> None:
    assert machine.packages(Path(__file__).parents[3] / "requirements.lock").verdict is Verdict.OK


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_engine_on_path_is_shown_with_version_and_source(tmp_path: Path) -> None:
    pulumi = script(tmp_path / "bin" / "pulumi", "echo v3.300.1")
    found = machine.engine({"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)})
    assert found == ok(f"pulumi 3.300.1 from PATH: {pulumi}")


def test_a_missing_engine_fails_with_what_was_tried_and_nothing_is_installed(tmp_path: Path) -> None:
    script(tmp_path / "bin" / "pulumi", "echo v3.1.0")
    script(tmp_path / "bin" / "go", "echo go version go1.19.8 linux/amd64")
    found = machine.engine({"PATH": str(tmp_path / "bin"), "XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert found.verdict is Verdict.FAIL
    assert "is 3.1.0, older than the required" in found.message
    assert "the cache:" in found.message
    assert "Go 1.19.8 is older than" in found.message
    assert not (tmp_path / "cache").exists()


def test_the_language_host_of_ours_starts(tmp_path: Path) -> None:
    script(tmp_path / "bin" / "pulumi", "echo v3.300.1")
    environ = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    assert machine.language_host(environ) == ok("Tenantry's own")


def test_a_language_host_that_does_not_start_fails(tmp_path: Path) -> None:
    script(tmp_path / "bin" / "pulumi", "echo v3.300.1")
    script(tmp_path / "bin" / "pulumi-language-python", "echo no libc here; exit 1")
    found = machine.language_host({"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"})
    assert found.verdict is Verdict.FAIL
    assert found.message.endswith("does not start: no libc here")


def test_free_space_is_told_for_directories_that_are_not_there_yet(tmp_path: Path) -> None:
    found = machine.disk([tmp_path / "not" / "yet"])
    assert f"GiB free at {tmp_path / 'not' / 'yet'}" in found.message
    assert not (tmp_path / "not").exists()


# The environment


def by_name(load: Callable[[], Settings], environ: dict[str, str]) -> dict[str, Finding]:
    return {check.name: check.probe() for check in environment.checks(load, environ)}


def test_without_an_environment_only_files_are_checked() -> None:
    def load() -> Settings:
        raise AssertionError("there is nothing to load")

    found = by_name(load, {"PATH": "/bin", "TENANTRY_HOME": "/srv", "TENANTRY_ENGINE_HOST": "/srv/host"})
    assert found.keys() == {"settings", "catalogue", "app schema"}
    assert found["settings"].verdict is Verdict.SKIPPED
    assert found["catalogue"].verdict is Verdict.OK
    assert found["app schema"].verdict is Verdict.OK


def test_an_incomplete_environment_fails() -> None:
    def load() -> Settings:
        raise ConfigurationInvalid("TENANTRY_DATABASE_URL: Field required", hint="set it")

    found = by_name(load, {"TENANTRY_INSTALLATION": "demo"})
    assert found["settings"] == fail("TENANTRY_DATABASE_URL: Field required", "set it")


def test_a_broken_catalogue_and_broken_migrations_are_named(tmp_path: Path) -> None:
    plans = tmp_path / "plans.toml"
    plans.write_text("[plans.team]\ntier = 'castle'\n")
    checks = [Check("e", "catalogue", lambda: environment.catalogue(plans))]
    checks.append(Check("e", "app schema", lambda: environment.app_schema(tmp_path)))
    (tmp_path / "0002_second.sql").write_text("SELECT 1;")
    catalogue, app_schema = run(checks, scrub=plain)
    assert catalogue.verdict == "fail"
    assert str(plans) in catalogue.message
    assert "plans.team.tier" in catalogue.message
    assert app_schema.verdict == "fail"
    assert "0002_second.sql" in app_schema.message


@pytest.mark.parametrize("probe", [environment.database, lambda url: environment.state_backend(url, {})])
def test_a_database_url_that_is_none_is_never_repeated(probe: Callable[[str], Finding]) -> None:
    url = "postgres://user:hunter2@[::1/tenantry?nonsense=1"
    (found,) = run([Check("e", "d", lambda: probe(url))], scrub=plain)
    assert found.verdict == "fail"
    assert "is no" in found.message
    assert "hunter2" not in found.message + found.fix


def test_an_unreachable_database_fails_without_its_password() -> None:
    found = environment.database(URL)
    assert found.verdict is Verdict.FAIL
    assert "127.0.0.1" in found.message
    assert "hunter2" not in found.message


@pytest.mark.parametrize(
    ("provider", "stage", "environ", "verdict"),
    [
        ("awskms://alias/pulumi?region=eu-central-1", Environment.PRODUCTION, {}, Verdict.OK),
        ("passphrase", Environment.DEVELOPMENT, {"PULUMI_CONFIG_PASSPHRASE": "x"}, Verdict.OK),
        (None, Environment.PRODUCTION, {"PULUMI_CONFIG_PASSPHRASE": "x"}, Verdict.WARN),
        (None, Environment.DEVELOPMENT, {}, Verdict.FAIL),
        (None, Environment.DEVELOPMENT, {"PULUMI_CONFIG_PASSPHRASE_FILE": "/no/such/file"}, Verdict.FAIL),
        (None, Environment.DEVELOPMENT, {"PULUMI_CONFIG_PASSPHRASE_FILE": __file__}, Verdict.OK),
    ],
)
def test_something_must_encrypt_the_state(
    provider: str | None, stage: Environment, environ: dict[str, str], verdict: Verdict
) -> None:
    assert environment.secrets(settings(secrets_provider=provider, environment=stage), environ).verdict is verdict


def test_tokens_must_be_set_and_long() -> None:
    assert environment.tokens(settings()).verdict is Verdict.OK
    assert environment.tokens(settings(operator_tokens=(SecretStr("short"),))).verdict is Verdict.WARN
    missing = environment.tokens(settings(application_tokens=()))
    assert (missing.verdict, missing.message) == (Verdict.FAIL, "TENANTRY_APPLICATION_TOKENS not set")


def test_webhook_secrets_and_the_stripe_key_must_be_set() -> None:
    (webhooks,) = run([Check("e", "w", lambda: environment.webhook_secrets(settings()))], scrub=plain)
    assert (webhooks.verdict, webhooks.message) == ("fail", "TENANTRY_STRIPE_WEBHOOK_SECRETS is empty")
    two = settings(stripe_webhook_secrets=(SecretStr("whsec_1"), SecretStr("whsec_2")))
    assert environment.webhook_secrets(two).verdict is Verdict.OK
    assert environment.stripe(settings()).verdict is Verdict.FAIL


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Accepts connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=8) as server:
        yield server


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_attached_providers_must_answer(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert environment.providers("").verdict is Verdict.OK
    assert environment.providers(f"aws:{port}").verdict is Verdict.OK
    dead = environment.providers(f"aws:{port},tenantry-postgres:{closed_port()}")
    assert dead.verdict is Verdict.FAIL
    assert "attaches tenantry-postgres, which" in dead.message


def test_the_certificate_bundle_must_be_one(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.crt"
    assert environment.database_ca(None).verdict is Verdict.WARN
    assert environment.database_ca(bundle).verdict is Verdict.FAIL
    bundle.write_text("hello")
    assert environment.database_ca(bundle).verdict is Verdict.FAIL
    bundle.write_text("-----BEGIN CERTIFICATE-----\n")
    assert environment.database_ca(bundle).verdict is Verdict.OK


def test_the_address_of_the_api_is_free_or_ours(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "CONNECT_S", 0.3)
    free = environment.api(f"http://127.0.0.1:{closed_port()}")
    assert free.verdict is Verdict.OK
    assert "is free" in free.message
    taken = environment.api(f"http://127.0.0.1:{listener.getsockname()[1]}")
    assert taken.verdict is Verdict.WARN
    assert "something else" in taken.message
    assert environment.api("nonsense").verdict is Verdict.FAIL
    assert environment.api("http://127.0.0.1:notaport").verdict is Verdict.FAIL


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_serving_api_is_recognised() -> None:
    with HTTPServer(("127.0.0.1", 0), Healthy) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            found = environment.api(f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()
    assert found == ok(f"`tenantry serve` answers at 127.0.0.1:{server.server_port}")
