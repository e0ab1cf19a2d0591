"""Sets quotas of a running local cloud."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

from localcloud import environment, lifecycle
from localcloud.home import Home
from localcloud.moto import QUOTA_PATH
from provisioner.errors import OperatorNeeded, Reject
from provisioner.quotas.table import QUOTAS, Quota


class UnknownQuota(Reject):
    code = "unknown_quota"


class QuotaNotSet(OperatorNeeded):
    code = "quota_not_set"


def find(code: str) -> Quota:
    """By quota code, ``L-7B6409FD``. Raises UnknownQuota."""
    for quota in QUOTAS.values():
        if code in (quota.code, quota.key):
            return quota
    known = ", ".join(f"{quota.code} {quota.name}" for quota in QUOTAS.values())
    raise UnknownQuota(f"there is no quota {code}", hint=f"Quotas: {known}")


def set_quota(home: Home, code: str, value: int | None) -> Quota:
    """In the Region of the local cloud; None: AWS's default again. Raises NotRunning, UnknownQuota, QuotaNotSet."""
    quota = find(code)
    lifecycle.require_ready(home)
    exports = environment.load(home)
    url = urlsplit(exports["AWS_ENDPOINT_URL"])
    connection = http.client.HTTPConnection(url.hostname or "127.0.0.1", url.port, timeout=10)
    try:
        body = json.dumps({"region": exports["AWS_REGION"], "quota": quota.key, "value": value})
        connection.request("POST", QUOTA_PATH, body, {"Content-Type": "application/json"})
        status = connection.getresponse().status
    except OSError as error:
        raise QuotaNotSet(f"the local AWS does not answer: {error}", hint="`tenantry local status`") from None
    finally:
        connection.close()
    if status != 204:
        raise QuotaNotSet(f"the local AWS answered {status}", hint="`tenantry local logs moto`")
    return quota
