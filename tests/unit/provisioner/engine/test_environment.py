"""The environment of engine commands and of a user's shell."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from provisioner.engine import paths, shims, versions
from provisioner.engine.environment import (
    environment,
    render_exports,
    search_path,
    shell_exports,
    with_application_name,
)
from provisioner.engine.resolve import Engine
from provisioner.engine.state import BackendUrl
from provisioner.errors import ConfigurationInvalid

PULUMI = Path("/opt/engine/pulumi")
HOME = Path("/srv/home")


def make(base: dict[str, str], *, shims_dir: Path | None = None, acquire_plugins: bool | None = None) -> dict[str, str]:
    return environment(
        base,
        pulumi=PULUMI,
        shims_dir=shims_dir,
        pulumi_home=HOME,
        backend_url="postgres://db/pulumi",
        acquire_plugins=acquire_plugins,
    )


def test_our_engine_and_shims_come_first_and_the_users_own_path_stays() -> None:
    found = make({"PATH": "/usr/bin:/opt/engine:/bin"}, shims_dir=Path("/srv/shims"))
    assert found["PATH"] == "/opt/engine:/srv/shims:/usr/bin:/bin"
    assert make({})["PATH"].startswith(f"/opt/engine:{os.defpath.split(':')[0]}")


def test_what_a_user_set_for_the_command_line_leads_no_command_of_ours_elsewhere() -> None:
    base = {
        "PULUMI_ACCESS_TOKEN": "x",
        "PULUMI_STACK": "other",
        "PULUMI_HOME": "/home/me/.pulumi",
        "PULUMI_BACKEND_URL": "s3://mine",
        "GOMAXPROCS": "1",
        "AWS_REGION": "eu-central-1",
    }
    found = make(base)
    assert not {"PULUMI_ACCESS_TOKEN", "PULUMI_STACK"} & found.keys()
    assert found["PULUMI_HOME"] == "/srv/home"
    assert found["PULUMI_BACKEND_URL"] == "postgres://db/pulumi"
    assert int(found["GOMAXPROCS"]) >= 16  # with fewer its PostgreSQL backend waits for itself for ever
    assert found["PULUMI_SKIP_UPDATE_CHECK"] == "true"
    assert found["AWS_REGION"] == "eu-central-1"
    assert base["PULUMI_STACK"] == "other"


@pytest.mark.parametrize(
    ("base", "asked", "may"),
    [
        ({}, None, True),
        ({"PULUMI_DEBUG_PROVIDERS": "aws:1"}, None, False),
        ({"PULUMI_DEBUG_PROVIDERS": "aws:1"}, True, True),
        ({}, False, False),
    ],
)
def test_plugins_are_downloaded_unless_providers_are_attached(
    base: dict[str, str], asked: bool | None, may: bool
) -> None:
    disabled = make(base, acquire_plugins=asked).get("PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION")
    assert (disabled is None) is may


def test_every_directory_is_searched_once() -> None:
    assert search_path([Path("/a"), None, Path("/b")], "/b::/c:/a") == "/a:/b:/c"


def test_exports_survive_a_shell() -> None:
    exports = shell_exports(pulumi=PULUMI, shims_dir=None, pulumi_home=Path("/srv/it's $HOME"), path="/usr/bin:/bin")
    script = render_exports(exports) + 'printf %s "$PULUMI_HOME"'
    done = subprocess.run(["/bin/sh", "-c", script], env={}, capture_output=True, text=True, check=True)
    assert done.stdout == "/srv/it's $HOME"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgres://u:p%40w@h/db", "postgres://u:p%40w@h/db?application_name=tenantry/acme/7"),
        (
            "postgres://u@/db?host=/var/run&application_name=old&sslmode=disable",
            "postgres://u@/db?host=/var/run&sslmode=disable&application_name=tenantry/acme/7",
        ),
        ("file:///srv/state", "file:///srv/state"),
    ],
)
def test_connections_bear_the_leases_name(url: str, expected: str) -> None:
    from urllib.parse import parse_qsl, urlsplit

    found, wanted = urlsplit(with_application_name(url, "tenantry/acme/7")), urlsplit(expected)
    assert found._replace(query="") == wanted._replace(query="")
    assert parse_qsl(found.query) == parse_qsl(wanted.query)


def test_a_backends_url_gives_connection_table_and_prefix() -> None:
    backend = BackendUrl.parse("postgres://u:p@h:5433/tenantry?table=state&sslmode=require")
    assert (backend.table, backend.prefix) == ("state", "tenantry/")
    assert backend.conninfo == "postgres://u:p@h:5433/tenantry?sslmode=require"
    assert BackendUrl.parse("postgresql://h").table == "pulumi_state"


@pytest.mark.parametrize("url", ["s3://bucket", "file:///srv", "", "https://u:hunter2@h", "postgres://u:hunter2@[::1"])
def test_another_backend_is_refused_without_showing_its_url(url: str) -> None:
    with pytest.raises(ConfigurationInvalid) as refused:
        BackendUrl.parse(url)
    assert "hunter2" not in str(refused.value)


# Where things lie, and the language host


def test_two_users_and_two_versions_share_no_engine() -> None:
    mine = paths.engine_dir({"HOME": "/home/me"})
    assert mine == Path(f"/home/me/.cache/tenantry/engine/v{versions.show(versions.PINNED)}")
    assert paths.engine_dir({"HOME": "/home/me", "XDG_CACHE_HOME": "/tmp/c"}).is_relative_to("/tmp/c")
    assert paths.engine_dir({"HOME": "/home/me"}, (3, 1, 0)).parent == mine.parent


def engine(directory: Path, source: str) -> Engine:
    directory.mkdir()
    (directory / "pulumi").touch()
    return Engine(directory / "pulumi", versions.PINNED, source)


def test_our_own_engine_gets_its_language_host_beside_it(tmp_path: Path) -> None:
    ours = engine(tmp_path / "cache", "cache")
    assert shims.provide(ours, tmp_path / "fallback") is None
    assert ours.bundles_language_host
    host = tmp_path / "cache" / "pulumi-language-python"
    assert shims.is_ours(host)
    assert os.access(host, os.X_OK)
    assert not (tmp_path / "fallback").exists()


def test_nothing_is_written_beside_somebody_elses_engine(tmp_path: Path) -> None:
    theirs = engine(tmp_path / "bin", "PATH")
    assert shims.provide(theirs, tmp_path / "fallback") == tmp_path / "fallback"
    assert sorted(path.name for path in (tmp_path / "bin").iterdir()) == ["pulumi"]
    assert (tmp_path / "fallback" / "pulumi-resource-pulumi-python").exists()


def test_an_engine_that_bundles_its_host_keeps_it(tmp_path: Path) -> None:
    official = engine(tmp_path / "bin", "PATH")
    (tmp_path / "bin" / "pulumi-language-python").write_bytes(b"\x7fELF official")
    assert shims.provide(official, tmp_path / "fallback") is None
    assert not (tmp_path / "fallback").exists()
    shims.write(tmp_path / "bin")
    assert (tmp_path / "bin" / "pulumi-language-python").read_bytes() == b"\x7fELF official"


def test_older_shims_of_ours_are_renewed_and_run_the_checkouts_own_host(tmp_path: Path) -> None:
    shims.write(tmp_path, python="/old/python")
    shims.write(tmp_path, python="/bin/echo")
    shim = tmp_path / "pulumi-language-python"
    done = subprocess.run([shim, "127.0.0.1:1"], env={}, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["-u", str(shims.HOST / "server.py"), "127.0.0.1:1"]
    elsewhere = {"TENANTRY_ENGINE_PYTHON": "/bin/echo", "TENANTRY_ENGINE_HOST": "/other/host"}
    done = subprocess.run([shim], env=elsewhere, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["-u", "/other/host/server.py"]
