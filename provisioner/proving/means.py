"""What the attacks are told of the installation. What can't be had makes them fewer, and is logged."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import boto3
import psycopg
import structlog
from botocore.exceptions import BotoCoreError, ClientError

from components.spec import PlatformOutputs, TenantOutputs
from isolation.installation import Installation
from providers.postgres import migrations
from provisioner import stack_request
from tenantry import Tenantry
from tenantry.errors import TenantryError

log = structlog.get_logger(__name__)

_KEY_BYTES = 64


def installation_of(
    named: Sequence[TenantOutputs], cells: Sequence[PlatformOutputs], app_schema: Path, sdk: Tenantry, *, fast: bool
) -> Installation:
    """``app_schema``: the directory of the application's migrations. Raises ConfigurationInvalid if they are wrong."""
    stack_request.migrations(app_schema)
    tables = frozenset[str]().union(*(each.reference_tables for each in migrations.load(app_schema)))
    program = None if fast else pg_dump(named[0].tenant_id, sdk)
    return Installation(tuple(cells), tables, _token_key(cells), program)


def pg_dump(tenant_id: str, sdk: Tenantry) -> Path | None:
    """The first on PATH that is as new as the tenant's server: an older one refuses, which would prove nothing."""
    try:
        with sdk.session(tenant_id) as session:
            row = session.execute("SELECT current_setting('server_version_num')::integer / 10000").fetchone()
    except (TenantryError, psycopg.Error) as error:
        log.info("proof.without_pg_dump", why=type(error).__name__)
        return None
    assert row is not None
    for directory in os.get_exec_path():
        found = shutil.which("pg_dump", path=directory)
        if found is not None and _major(found) >= int(row[0]):
            return Path(found)
    log.info("proof.without_pg_dump", why=f"none on PATH is as new as the server, {row[0]}")
    return None


def _major(program: str) -> int:
    """0 if it doesn't say."""
    try:
        told = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    match = re.search(r"\(PostgreSQL\) (\d+)", told)
    return int(match[1]) if match else 0


def _token_key(cells: Sequence[PlatformOutputs]) -> Callable[[TenantOutputs], bytes] | None:
    """Of entry tokens, where this process may read it: it makes tokens that must be refused all the same."""
    keys: dict[str, bytes] = {}
    for cell in cells:
        client: Any = boto3.client("secretsmanager", region_name=cell.region)
        try:
            text = client.get_secret_value(SecretId=cell.pool_token_secret_arn)["SecretString"]
            key = bytes.fromhex(json.loads(text)["key"])
        except (ClientError, BotoCoreError, ValueError, LookupError, TypeError) as error:
            log.info("proof.without_token_key", cell=cell.cell, why=type(error).__name__)
            return None
        if len(key) != _KEY_BYTES:
            log.info("proof.without_token_key", cell=cell.cell, why="it is no key of 128 hex digits")
            return None
        keys[cell.cell] = key
    return (lambda tenant: keys[tenant.cell]) if keys else None
