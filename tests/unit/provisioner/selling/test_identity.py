"""Whose trial it was, told by addresses."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.selling.errors import InvalidRequest
from provisioner.selling.identity import normalized, trial_identity


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ada@acme.com", "bob@acme.com"),
        ("ada@acme.com", "ADA@ACME.COM"),
        ("ada@mail.acme.co.uk", "bob@acme.co.uk"),
        ("ada.love+x@gmail.com", "adalove@googlemail.com"),
        ("ada+1@gmx.de", "ada+2@gmx.de"),
        ("a@mailinator.com", "b@eu.mailinator.com"),
        ("a@bücher.example", "b@xn--bcher-kva.example"),
    ],
)
def test_one_company_or_person_is_known_again(one: str, other: str) -> None:
    assert trial_identity(one) == trial_identity(other) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ada@gmail.com", "bob@gmail.com"),
        ("ada@outlook.com", "ada@gmail.com"),
        ("ada@tuta.io", "bob@tuta.io"),
        ("ada@acme.co.uk", "ada@globex.co.uk"),
        ("ada@acme.com", "ada@acme.org"),
    ],
)
def test_others_are_not_taken_for_one(one: str, other: str) -> None:
    assert trial_identity(one) != trial_identity(other)


@pytest.mark.parametrize("address", [None, "", "nobody", "@", "a@", "a" * 300 + "@acme.com", "a b@acme.com", "a@b@c.d"])
def test_what_is_no_address_has_no_identity(address: str | None) -> None:
    assert trial_identity(address) is None


@given(st.text(max_size=80))
def test_no_text_makes_it_fail(text: str) -> None:
    for address in (text, f"{text}@acme.com", f"ada@{text}"):
        trial_identity(address)
        with contextlib.suppress(InvalidRequest):
            normalized(address)


@given(st.emails(domains=st.just("acme.com")))
def test_every_address_of_a_company_is_the_companys(address: str) -> None:
    assert trial_identity(address) in ("acme.com", None)


def test_a_refused_address_is_not_repeated() -> None:
    with pytest.raises(InvalidRequest) as refused:
        normalized("secret value@")
    assert "secret" not in str(refused.value)
