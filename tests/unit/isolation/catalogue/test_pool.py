"""The token check that the proof compares with is the one that the provider installs."""

from __future__ import annotations

import hashlib

from isolation.catalogue.inspection import CHECKS
from isolation.catalogue.pool import TOKEN_CHECK_SHA256
from providers.postgres import pool_security


def test_the_digests_are_those_of_the_functions_bodies() -> None:
    bodies = pool_security.bodies()
    assert bodies.keys() == set(pool_security.FUNCTIONS)
    assert {name: hashlib.sha256(body.encode()).hexdigest() for name, body in bodies.items()} == TOKEN_CHECK_SHA256


def test_every_check_has_a_name_of_its_own() -> None:
    names = [check.name for check in CHECKS]
    assert len(names) == len(set(names))
