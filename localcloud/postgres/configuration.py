"""``postgresql.conf``, ``pg_hba.conf`` and ``pg_ident.conf`` of a local server."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from localcloud.postgres.template import SUPERUSER

#: Many servers share a laptop: small buffers. Durability is PostgreSQL's default (on).
DEFAULTS: Mapping[str, str] = {
    "shared_buffers": "32MB",
    "max_connections": "200",
    "superuser_reserved_connections": "3",
    "reserved_connections": "5",
    "min_wal_size": "8MB",
    "max_wal_size": "256MB",
    "password_encryption": "scram-sha-256",
    "lc_messages": "C",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "ssl_min_protocol_version": "TLSv1.2",
}
#: What no caller's setting replaces.
_FIXED = ("listen_addresses", "port", "unix_socket_directories", "unix_socket_permissions", "ssl", "fsync")


def server_settings(
    settings: Mapping[str, str], *, port: int, socket_directory: Path, certificate: Path, key: Path
) -> dict[str, str]:
    """All settings of a server: the defaults, the caller's, and those that make it reachable and safe."""
    # The one zone that needs no time zone database, which minimal systems lack.
    zone = "UTC" if Path("/usr/share/zoneinfo/UTC").exists() else "GMT"
    return {
        **DEFAULTS,
        "timezone": zone,
        "log_timezone": zone,
        **{name: value for name, value in settings.items() if name not in _FIXED},
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": str(socket_directory),
        "unix_socket_permissions": "0700",
        "ssl": "on",
        "ssl_cert_file": str(certificate),
        "ssl_key_file": str(key),
        "fsync": "on",
    }


def configuration_file(settings: Mapping[str, str]) -> str:
    lines = (f"{name} = {quoted(value)}\n" for name, value in sorted(settings.items()))
    return "# Written at every start; changes are lost.\n" + "".join(lines)


def quoted(value: str) -> str:
    """``value`` as a string of a configuration file; it can't leave its line."""
    if "\n" in value or "\r" in value or "\0" in value:
        raise ValueError("a setting's value must be one line")
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def host_based_authentication(*, force_ssl: bool) -> str:
    """Over TCP a password, by SCRAM and, if ``force_ssl``, only under TLS; the superuser never.

    The superuser is who starts servers, known by the socket's peer credentials: there is no password to lose.
    """
    kind = "hostssl" if force_ssl else "host"
    return (
        f"local all {SUPERUSER} peer map=supervisor\n"
        f"host all {SUPERUSER} all reject\n"
        f"{kind} all all 127.0.0.1/32 scram-sha-256\n"
        f"{kind} all all ::1/128 scram-sha-256\n"
    )


def identities() -> str:
    """The one user of the operating system that may be the superuser: this process's."""
    return f'supervisor "{pwd.getpwuid(os.geteuid()).pw_name}" {SUPERUSER}\n'
