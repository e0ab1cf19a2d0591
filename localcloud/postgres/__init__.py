"""PostgreSQL servers on this machine: the control plane's, and one behind every local RDS instance."""

from localcloud.postgres.binaries import PostgresUnavailable
from localcloud.postgres.cluster import SUPERUSER, Cluster, ClusterFailed, connection_url, reachable_directory
from localcloud.postgres.master import create_master
from localcloud.postgres.tls import Authority

__all__ = [
    "SUPERUSER",
    "Authority",
    "Cluster",
    "ClusterFailed",
    "PostgresUnavailable",
    "connection_url",
    "create_master",
    "reachable_directory",
]
