"""``python -m provisioner.engine ensure``: find the Pulumi engine or install it; ``path`` prints where it is."""

from __future__ import annotations

import os
import sys

from provisioner.engine import paths, shims, versions
from provisioner.engine.resolve import Resolver
from provisioner.errors import TenantryError


def main(arguments: list[str]) -> int:
    if arguments not in (["ensure"], ["path"]):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        engine = Resolver(os.environ).resolve()
        shims.provide(engine, paths.shims_dir(paths.cache_dir(os.environ)))
    except TenantryError as error:
        print(f"engine: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130
    if arguments == ["path"]:
        print(engine.pulumi)
    elif sys.stderr.isatty():
        print(f"engine: pulumi {versions.show(engine.version)} ({engine.source})", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
