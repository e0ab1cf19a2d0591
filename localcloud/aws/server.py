"""The AWS provider as a server that engines attach to: ``python -m localcloud.aws``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from localcloud.aws.rds_servers import resume
from localcloud.aws.registry import aws_provider
from providers.base import main as serve


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m localcloud.aws", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one; it is printed as aws:<port>")
    parser.add_argument("--endpoint", default=os.environ.get("AWS_ENDPOINT_URL"), help="the AWS API to act on")
    parser.add_argument("--data-dir", type=Path, help="where the database servers of RDS instances live")
    options = parser.parse_args(arguments)
    if not options.endpoint:
        # Without it the handlers would create things in a real AWS account.
        parser.error("--endpoint or AWS_ENDPOINT_URL must name the local AWS API, as http://127.0.0.1:5000")
    if options.data_dir is not None:
        resume(options.endpoint, options.data_dir)
    return serve(aws_provider(options.endpoint, options.data_dir), options.port, announce="aws:{port}")
