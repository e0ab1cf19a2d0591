"""The token check that the proof compares with is the one that the provider installs."""

from __future__ import annotations

import hashlib
from importlib import resources

from isolation.catalogue.inspection import CHECKS
from isolation.catalogue.pool import CURRENT_TENANT_SHA256


def test_the_digest_is_that_of_the_functions_body() -> None:
    script = resources.files("providers.postgres").joinpath("sql/pool_security.sql").read_text()
    _, body, _ = script.split("$function$")
    assert hashlib.sha256(body.strip(" \n\t").encode()).hexdigest() == CURRENT_TENANT_SHA256


def test_every_check_has_a_name_of_its_own() -> None:
    names = [check.name for check in CHECKS]
    assert len(names) == len(set(names))
