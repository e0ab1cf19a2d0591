"""The master user of a local RDS instance administers, and is no superuser by any way."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from localcloud.postgres import create_master
from tests.integration.conftest import Login


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE ROLE evil SUPERUSER",
        "CREATE ROLE evil BYPASSRLS",
        "CREATE ROLE evil REPLICATION",
        "ALTER ROLE CURRENT_USER SUPERUSER",
        "ALTER ROLE CURRENT_USER BYPASSRLS",
        "ALTER ROLE rdsadmin PASSWORD 'mine'",
        "ALTER ROLE rdsadmin NOSUPERUSER",
        "GRANT rdsadmin TO CURRENT_USER",
        "SET ROLE rdsadmin",
        "SET SESSION AUTHORIZATION rdsadmin",
        "GRANT pg_read_server_files TO CURRENT_USER",
        "GRANT pg_write_server_files TO CURRENT_USER",
        "GRANT pg_execute_server_program TO CURRENT_USER",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "COPY (SELECT 1) TO '/tmp/never'",
        "SELECT pg_read_file('postgresql.conf')",
        "SELECT pg_read_binary_file('/etc/passwd')",
        "SELECT pg_ls_dir('/')",
        "SELECT lo_import('/etc/passwd')",
        "SELECT * FROM pg_authid",
        "SELECT * FROM pg_hba_file_rules",
        "ALTER SYSTEM SET fsync = off",
        "ALTER SYSTEM SET log_statement = 'all'",
        "SET session_replication_role = 'replica'",
        "CREATE EXTENSION file_fdw",
        "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'libc', 'getpid'",
        "LOAD '/lib/x86_64-linux-gnu/libc.so.6'",
        "SELECT pg_create_physical_replication_slot('s')",
        "SELECT pg_reload_conf()",
    ],
)
def test_what_a_master_may_not(rds_master: Login, statement: str) -> None:
    with psycopg.connect(rds_master.url, autocommit=True) as connection:
        with pytest.raises(psycopg.Error) as raised:
            connection.execute(statement)
        assert raised.value.sqlstate == errors.InsufficientPrivilege.sqlstate


def test_what_a_master_may(rds_master: Login) -> None:
    with psycopg.connect(rds_master.url, autocommit=True) as connection:
        suffix = rds_master.username.removeprefix("master_")
        for statement in (
            f"CREATE ROLE owner_{suffix} NOLOGIN",
            f"CREATE ROLE login_{suffix} LOGIN PASSWORD 'x' CONNECTION LIMIT 5",
            f"GRANT owner_{suffix} TO {rds_master.username} WITH SET TRUE",
            f"CREATE SCHEMA s_{suffix} AUTHORIZATION owner_{suffix}",
            f"CREATE DATABASE d_{suffix}",
            f"GRANT CONNECT ON DATABASE d_{suffix} TO login_{suffix}",
            "CREATE EXTENSION pgcrypto",
            "SELECT pg_terminate_backend(0)",
            "SELECT query FROM pg_stat_activity",
            "CHECKPOINT",
        ):
            connection.execute(statement)


def test_a_master_has_the_attributes_of_an_rds_master(rds_master: Login) -> None:
    with psycopg.connect(rds_master.url) as connection:
        row = connection.execute(
            "SELECT rolsuper, rolbypassrls, rolreplication, rolcreaterole, rolcreatedb, rolcanlogin"
            " FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert row == (False, False, False, True, True, True)
        assert connection.execute("SELECT pg_has_role('rds_superuser', 'MEMBER')").fetchone() == (True,)


def test_row_level_security_holds_for_the_master(rds_master: Login) -> None:
    with psycopg.connect(rds_master.url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA app")
        connection.execute("CREATE TABLE app.t (tenant_id text)")
        connection.execute("INSERT INTO app.t VALUES ('a')")
        connection.execute("ALTER TABLE app.t ENABLE ROW LEVEL SECURITY")
        connection.execute("ALTER TABLE app.t FORCE ROW LEVEL SECURITY")
        assert connection.execute("SELECT count(*) FROM app.t").fetchone() == (0,)


def test_a_base_backup_over_the_replication_protocol_is_refused(rds_master: Login) -> None:
    for kind in ("database", "true"):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(rds_master.url + f"&replication={kind}")


def test_a_password_change_replaces_the_old_one_and_is_not_in_the_log(rds_master: Login) -> None:
    with rds_master.cluster.admin() as admin:
        admin.execute("SET log_statement = 'all'")
        create_master(admin, rds_master.username, "the-next-password")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(rds_master.url)
    url = rds_master.cluster.url(rds_master.username, "the-next-password", rds_master.database)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT current_user").fetchone() == (rds_master.username,)
    log = rds_master.cluster.log.read_text()
    assert "ALTER ROLE" in log
    assert "the-next-password" not in log
