"""Which configuration parameters the local server knows."""

from __future__ import annotations

import functools

from localcloud.postgres import binaries


@functools.cache
def known_parameters() -> frozenset[str]:
    """Names of the server's own parameters; those of extensions are not among them."""
    done = binaries.account().run([binaries.bin_directory() / "postgres", "--describe-config"])
    if done.returncode != 0:
        raise binaries.PostgresUnavailable(
            f"postgres --describe-config failed with exit code {done.returncode}: {done.stderr.strip()[-1000:]}",
            hint="`tenantry doctor` checks the prerequisites",
        )
    return frozenset(line.partition("\t")[0] for line in done.stdout.splitlines() if line)
