"""Lets time pass for the stopped RDS instances of a running local cloud."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

from localcloud import environment, lifecycle
from localcloud.home import Home
from localcloud.moto import ACCOUNT_ID, TIME_PATH
from provisioner.errors import OperatorNeeded


class TimeNotPassed(OperatorNeeded):
    code = "time_not_passed"


def pass_days(home: Home, days: float) -> None:
    """As if ``days`` had passed: AWS starts an instance that has been stopped for seven. Raises NotRunning."""
    lifecycle.require_ready(home)
    exports = environment.load(home)
    url = urlsplit(exports["AWS_ENDPOINT_URL"])
    connection = http.client.HTTPConnection(url.hostname or "127.0.0.1", url.port, timeout=10)
    try:
        body = json.dumps({"account": ACCOUNT_ID, "region": exports["AWS_REGION"], "seconds": days * 86_400})
        connection.request("POST", TIME_PATH, body, {"Content-Type": "application/json"})
        status = connection.getresponse().status
    except OSError as error:
        raise TimeNotPassed(f"the local AWS does not answer: {error}", hint="`tenantry local status`") from None
    finally:
        connection.close()
    if status != 204:
        raise TimeNotPassed(f"the local AWS answered {status}", hint="`tenantry local logs moto`")
