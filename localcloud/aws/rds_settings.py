"""What a parameter group means to the PostgreSQL server of an instance on this machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from localcloud.aws.client import Aws
from localcloud.postgres.parameters import known_parameters

#: Sized for the instance's own machine, or in need of libraries that only RDS has: a laptop keeps its own.
_OF_THE_MACHINE = frozenset(
    {
        "autovacuum_work_mem",
        "effective_cache_size",
        "huge_pages",
        "maintenance_work_mem",
        "max_connections",
        "max_parallel_workers",
        "max_wal_size",
        "max_worker_processes",
        "min_wal_size",
        "shared_buffers",
        "shared_preload_libraries",
        "wal_buffers",
        "work_mem",
    }
)
_ON = ("1", "on", "true")


@dataclass(frozen=True)
class ServerSettings:
    """``postgresql.conf`` entries, and whether connections without TLS are refused."""

    settings: dict[str, str] = field(default_factory=dict)
    force_ssl: bool = True


def server_settings(aws: Aws, parameter_group: str | None) -> ServerSettings:
    """The settings of the group's own parameters. A default group (or none) has RDS's: TLS is required."""
    if parameter_group is None or parameter_group.startswith("default."):
        return ServerSettings()
    parameters: dict[str, str] = {}
    pages = aws.client("rds").get_paginator("describe_db_parameters").paginate(DBParameterGroupName=parameter_group)
    for page in pages:
        for parameter in page["Parameters"]:
            if parameter.get("ParameterValue"):
                parameters[parameter["ParameterName"]] = str(parameter["ParameterValue"])
    return translate(parameters)


def translate(parameters: dict[str, Any]) -> ServerSettings:
    """RDS's own parameters (``rds.``) become PostgreSQL's; formulas over the instance class are left out."""
    settings = {
        name: value
        for name, value in parameters.items()
        if name in known_parameters() and name not in _OF_THE_MACHINE and "{" not in value
    }
    if parameters.get("rds.logical_replication", "0") in _ON:
        settings["wal_level"] = "logical"
    return ServerSettings(settings, parameters.get("rds.force_ssl", "1") in _ON)
