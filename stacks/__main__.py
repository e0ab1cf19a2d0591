"""The program of plain ``pulumi up``: the stack's name picks the platform's or a tenant's."""

# ruff: noqa: E402
from __future__ import annotations

import os
import sys

# Pulumi runs this directory, which puts it first on the path: `platform` would then be ours, not the library's.
_HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:] = [os.path.dirname(_HERE), *(entry for entry in sys.path if os.path.realpath(entry or ".") != _HERE)]

import pulumi

from stacks import config


def main() -> None:
    if config.is_platform(pulumi.get_stack()):
        from stacks import platform

        cell = config.platform_spec()
        platform.program(cell, config.app_schema(cell.app_schema_version))
    else:
        from stacks import tenant

        spec = config.tenant_spec()
        tenant.program(spec, config.platform_outputs(), config.app_schema(spec.app_schema_version))


main()
