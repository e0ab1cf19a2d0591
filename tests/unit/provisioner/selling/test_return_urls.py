"""Where customers may be sent back to."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from provisioner.errors import ConfigurationInvalid
from provisioner.selling.errors import ReturnUrlRefused
from provisioner.selling.return_urls import ReturnUrls

URLS = ReturnUrls(["https://app.example.com", "http://localhost:8000"])


@pytest.mark.parametrize(
    "url",
    [
        "https://app.example.com",
        "https://app.example.com/",
        "https://APP.example.com:443/a?session={CHECKOUT_SESSION_ID}#done",
        "http://localhost:8000/billing",
    ],
)
def test_the_application_itself(url: str) -> None:
    assert URLS.check(url, "success_url") == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/relative",
        "//app.example.com/x",
        "http://app.example.com/",
        "https://app.example.com:8443/",
        "https://app.example.com.evil.example/",
        "https://evil.example/https://app.example.com",
        "https://app.example.com@evil.example/",
        "https://evil.example\\@app.example.com/",
        "https://app.example.com\\.evil.example/",
        "https://app.example.com%2eevil.example/",
        "https://{CHECKOUT_SESSION_ID}.example.com/",
        "https://evil.example#@app.example.com/",
        "https://app.example.com\n.evil.example/",
        "https://app.example.com\t/",
        " https://app.example.com/",
        "https://app.example.com/ü",
        "https://app.example.com:port/",
        "https://[app.example.com/",
        "javascript:alert(1)//https://app.example.com",
        "https:app.example.com/",
        "http://localhost/",
        "https://app.example.com/" + "a" * 2000,
    ],
)
def test_everything_else_is_refused(url: str) -> None:
    with pytest.raises(ReturnUrlRefused) as refused:
        URLS.check(url, "success_url")
    assert "TENANTRY_RETURN_URLS" in refused.value.hint


@given(
    st.text(max_size=60) | st.text("htps:/@.\\#?a-e{}%[]0123 \n", max_size=60).map("https://app.example.com".__add__)
)
@example("https://app.example.com:443@evil.example")
def test_what_is_let_through_has_the_applications_host_in_every_reading(url: str) -> None:
    try:
        URLS.check(url, "success_url")
    except ReturnUrlRefused:
        return
    # as a browser reads it: up to the first slash, question mark, hash or backslash after the scheme
    authority = url.split("://", 1)[1]
    for end in "/?#\\":
        authority = authority.split(end, 1)[0]
    assert authority.lower().removesuffix(":443") in ("app.example.com", "app.example.com:", "localhost:8000")
    assert urlsplit(url).hostname in ("app.example.com", "localhost")


@pytest.mark.parametrize(
    "origin",
    ["", "*", "app.example.com", "https://", "https://app.example.com/path", "https://a?b", "http://app.example.com"],
)
def test_only_encrypted_origins_can_be_allowed(origin: str) -> None:
    with pytest.raises(ConfigurationInvalid, match="TENANTRY_RETURN_URLS"):
        ReturnUrls([origin])


def test_without_any_nothing_is_allowed() -> None:
    with pytest.raises(ConfigurationInvalid, match="TENANTRY_RETURN_URLS"):
        ReturnUrls([]).check("https://app.example.com", "success_url")
