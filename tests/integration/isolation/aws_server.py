"""The local AWS, which stores bucket policies and does not judge by them.

moto refuses what any Deny of a bucket's policy names, whatever its conditions say: with a policy that denies uploads
without TLS it takes no upload at all.
"""

from __future__ import annotations

import argparse

from localcloud import moto as local


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    from moto.iam.access_control import PermissionResult
    from moto.s3.models import FakeBucket

    FakeBucket.get_permission = lambda self, action, resource: PermissionResult.NEUTRAL  # type: ignore[method-assign]
    local.serve(announce=lambda port: print(port, flush=True))


if __name__ == "__main__":
    main()
