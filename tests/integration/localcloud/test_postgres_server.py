"""A local PostgreSQL server: durable, TLS only, its master no superuser, and survives what kills it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from localcloud.postgres import SUPERUSER, Authority, Cluster, ClusterFailed, processes, reachable_directory
from tests.integration.conftest import Login


def eventually(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


@pytest.fixture
def home(service_directory: Path, request: pytest.FixtureRequest) -> Path:
    return reachable_directory(service_directory / "postgres", service_directory.name)


@pytest.fixture
def cluster(home: Path, service_directory: Path, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    made = Cluster.create(home / f"c{time.monotonic_ns()}", authority=Authority.create(service_directory / "tls"))
    yield made
    made.destroy()


def test_a_server_is_ready_within_two_seconds(cluster: Cluster, home: Path) -> None:
    started = time.monotonic()
    other = Cluster.create(home / "timed", authority=cluster.authority)
    try:
        other.start()
        with other.admin() as admin:
            assert admin.execute("SELECT 1").fetchone() == (1,)
        assert time.monotonic() - started <= 2
    finally:
        other.destroy()


def test_commits_are_durable(postgres_server: Cluster) -> None:
    with postgres_server.admin() as admin:
        rows = admin.execute(
            "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes')"
        ).fetchall()
        assert dict(rows) == {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
        assert admin.execute("SHOW data_checksums").fetchone() == ("on",)


def test_no_setting_can_turn_durability_or_tls_off(cluster: Cluster) -> None:
    cluster.configure({"fsync": "off", "ssl": "off", "listen_addresses": "*", "work_mem": "6MB"})
    cluster.start()
    with cluster.admin() as admin:
        shown = {name: admin.execute(f"SHOW {name}").fetchone() for name in ("fsync", "ssl", "listen_addresses")}
        assert shown == {"fsync": ("on",), "ssl": ("on",), "listen_addresses": ("127.0.0.1",)}
        assert admin.execute("SHOW work_mem").fetchone() == ("6MB",)


def test_a_login_comes_in_over_verified_tls(database: Login) -> None:
    with psycopg.connect(database.url) as connection:
        row = connection.execute("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()
        assert row is not None
        assert row[0] is True
        assert row[1] in ("TLSv1.2", "TLSv1.3")


def test_a_connection_without_tls_is_refused(database: Login) -> None:
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        psycopg.connect(database.url.replace("sslmode=verify-full", "sslmode=disable"))


def test_a_client_that_trusts_another_authority_refuses_the_server(database: Login, tmp_path: Path) -> None:
    stranger = Authority.create(tmp_path / "other").bundle
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        psycopg.connect(database.url.replace(str(database.cluster.authority.bundle), str(stranger)))


def test_a_wrong_password_is_refused(database: Login) -> None:
    wrong = database.cluster.url(database.username, database.password + "x", database.database)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)


def test_the_superuser_is_refused_over_tcp_even_with_its_password(cluster: Cluster) -> None:
    cluster.start()
    with cluster.admin() as admin:
        admin.execute(f"ALTER ROLE {SUPERUSER} PASSWORD 'known'")
    for mode in ("verify-full", "disable"):
        url = cluster.url(SUPERUSER, "known", "postgres").replace("sslmode=verify-full", f"sslmode={mode}")
        with pytest.raises(psycopg.OperationalError, match="rejects connection"):
            psycopg.connect(url)


def test_the_socket_lets_no_ordinary_login_in(database: Login) -> None:
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
        psycopg.connect(
            host=str(database.cluster.socket_directory),
            port=database.cluster.port,
            user=database.username,
            password=database.password,
            dbname=database.database,
        )


def test_files_are_closed_to_other_users(cluster: Cluster) -> None:
    cluster.start()
    for path in (cluster.data, cluster.directory / "tls", cluster.socket_directory):
        assert path.stat().st_mode & 0o077 == 0, path
    for path in (cluster.directory / "tls" / "server.key", cluster.log, cluster.directory / "cluster.json"):
        assert path.stat().st_mode & 0o177 == 0, path


def test_what_was_committed_survives_a_restart_on_the_same_port(cluster: Cluster) -> None:
    cluster.start()
    with cluster.admin() as admin:
        admin.execute("CREATE TABLE kept AS SELECT 1 AS id")
    cluster.restart()
    again = Cluster.load(cluster.directory, cluster.authority)
    assert again.port == cluster.port
    with again.admin() as admin:
        assert admin.execute("SELECT id FROM kept").fetchone() == (1,)


def test_what_was_committed_survives_the_kill_of_the_server_and_its_busy_sessions(cluster: Cluster) -> None:
    cluster.start()
    with cluster.admin() as admin:
        admin.execute("CREATE TABLE kept AS SELECT 1 AS id")
        session = admin.info.backend_pid
        # Doesn't look up from its work when the server dies.
        busy = threading.Thread(
            target=lambda: _ignore(lambda: admin.execute("SELECT sum(i) FROM generate_series(1, 1e8) i"))
        )
        busy.start()
        eventually(lambda: psutil.Process(session).cpu_times().user > 0.05)
        first = cluster.pid()
        assert first is not None
        os.kill(first, signal.SIGKILL)
        eventually(lambda: cluster.pid() is None)
        cluster.start()
        busy.join()
    assert cluster.pid() not in (None, first)
    with cluster.admin() as admin:
        assert admin.execute("SELECT id FROM kept").fetchone() == (1,)


def _ignore(action: Callable[[], object]) -> None:
    with contextlib.suppress(psycopg.Error):
        action()


def test_start_twice_and_stop_twice_are_one(cluster: Cluster) -> None:
    cluster.start()
    pid = cluster.pid()
    cluster.start()
    assert cluster.pid() == pid
    cluster.stop()
    cluster.stop()
    assert cluster.pid() is None


def test_a_stale_pid_file_of_another_process_is_not_taken_for_the_server(cluster: Cluster) -> None:
    cluster.start()
    cluster.stop()
    (cluster.data / "postmaster.pid").write_text(f"{os.getpid()}\n{cluster.data}\n1\n")
    assert cluster.pid() is None
    cluster.start()
    assert cluster.is_ready()


def test_destroy_leaves_no_process_and_no_file(home: Path, service_directory: Path) -> None:
    cluster = Cluster.create(home / "gone", authority=Authority.create(service_directory / "tls"))
    cluster.start()
    sockets = cluster.socket_directory
    pid = cluster.pid()
    cluster.destroy()
    assert pid is not None
    assert not processes.is_alive(pid)
    assert not sockets.exists()
    assert [path.name for path in home.iterdir() if "gone" in path.name] == []


def test_a_deep_directory_gets_its_socket_elsewhere(home: Path, service_directory: Path) -> None:
    deep = home / ("d" * 60) / ("e" * 60)
    deep.parent.mkdir(mode=0o711)
    if os.geteuid() == 0:
        deep.parent.chmod(0o711)
    cluster = Cluster.create(deep, authority=Authority.create(service_directory / "tls"))
    try:
        assert not cluster.socket_directory.is_relative_to(deep)
        cluster.start()
        with cluster.admin() as admin:
            assert admin.execute("SELECT 1").fetchone() == (1,)
    finally:
        cluster.destroy()
    assert not cluster.socket_directory.exists()


def test_a_setting_that_does_not_exist_is_an_error_with_the_log(cluster: Cluster) -> None:
    cluster.configure({"no_such_setting": "1"})
    with pytest.raises(ClusterFailed, match="no_such_setting"):
        cluster.start()


def test_a_half_made_cluster_is_made_again(home: Path, service_directory: Path) -> None:
    directory = home / "half"
    (directory / "data").mkdir(parents=True)
    (directory / "data" / "PG_VERSION").write_text("17\n")
    cluster = Cluster.create(directory, authority=Authority.create(service_directory / "tls"))
    try:
        cluster.start()
        assert cluster.is_ready()
    finally:
        cluster.destroy()


def test_what_a_killed_process_still_copies_is_in_nobodys_way(home: Path, service_directory: Path) -> None:
    """The program that copies outlives whoever was killed waiting for it, and goes on writing."""
    directory = home / "copied"
    left = directory.parent / f".{directory.name}.partial-before"
    left.mkdir()
    script = (
        'n=0; while mkdir -p "$0/data/base" && : > "$0/data/base/$n"; do n=$((n + 1)); [ $n -lt 300 ] || exit; done'
    )
    copying = subprocess.Popen(["/bin/sh", "-c", script, str(left)])
    cluster = Cluster.create(directory, authority=Authority.create(service_directory / "tls"))
    try:
        cluster.start()
        assert cluster.is_ready()
    finally:
        copying.wait(30)
        cluster.destroy()
    assert [path.name for path in home.iterdir() if "copied" in path.name] == []


def test_two_at_once_create_one_cluster(home: Path, service_directory: Path) -> None:
    authority = Authority.create(service_directory / "tls")
    made: list[Cluster] = []

    def create() -> None:
        cluster = Cluster.create(home / "twice", authority=authority)
        cluster.start()
        made.append(cluster)

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert len(made) == 4
        assert len({cluster.port for cluster in made}) == 1
        assert len({cluster.pid() for cluster in made}) == 1
    finally:
        made[0].destroy()


def test_the_servers_run_as_an_unprivileged_user(postgres_server: Cluster) -> None:
    pid = postgres_server.pid()
    assert pid is not None
    assert psutil.Process(pid).uids().effective != 0


def test_the_environment_of_the_user_does_not_reach_a_server(
    home: Path, service_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=1MB")
    cluster = Cluster.create(home / "clean", authority=Authority.create(service_directory / "tls"))
    try:
        cluster.start()
        pid = cluster.pid()
        assert pid is not None
        assert not [name for name in psutil.Process(pid).environ() if name.startswith("PG") and name != "PGDATA"]
    finally:
        cluster.destroy()
