"""The page: complete, escaped, and readable however many tenants there are."""

from __future__ import annotations

import itertools
from html.parser import HTMLParser

import pytest

from isolation.attempts import Layer
from isolation.evidence.document import LeftOut, Scope, ScopeKind, SignedDocument, Trigger
from isolation.evidence.page import ROWS, lines, render
from isolation.evidence.resources import Resource, resource
from isolation.evidence.signing import SigningKey, sign
from tests.unit.isolation.evidence.documents import attempt, document, tenant

KEY = SigningKey.generate()


class Page(HTMLParser):
    """Tags, attributes and text, and that every tag is closed where it must be."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.text = ""
        self.rows = 0
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {(name, value or "") for name, value in attrs}
        self.rows += tag == "tr"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def page(*arguments: object, **keywords: object) -> Page:
    return Page(render(signed(*arguments, **keywords)))


def signed(*arguments: object, **keywords: object) -> SignedDocument:
    return SignedDocument.model_validate_json(sign(document(*arguments, **keywords), KEY))  # type: ignore[arg-type]


def test_nothing_is_fetched_and_nothing_runs() -> None:
    found = page()
    assert not found.tags & {"script", "link", "img", "iframe", "object", "form", "a", "base"}
    assert not {name for name, _ in found.attributes if name.startswith("on") or name in ("src", "href")}


def test_it_says_what_was_found_what_is_trusted_and_how_to_verify() -> None:
    found = page()
    for words in (
        "Isolated.",
        "2 attacks were made",
        "The credential broker is trusted",
        KEY.public.key_id,
        "openssl pkeyutl -verify",
        "not tried",
        "2026-11-24 02:30:00 to 2026-11-24 02:30:07 UTC",
    ):
        assert words in found.text


def test_failures_come_first_and_are_named() -> None:
    found = page([attempt(), attempt("globex", "acme", refused=False), attempt(name="other", allowed=False)])
    assert "NOT ISOLATED. 2 of 3 attempts" in " ".join(found.text.split())
    assert found.text.index("What failed") < found.text.index("Tenants and resources")
    assert "ok: reads a row of acme in project" in found.text
    assert "NOT ALLOWED" in found.text


def test_of_nothing_it_does_not_say_isolated() -> None:
    found = page([])
    assert "Not shown." in found.text
    assert "Isolated." not in found.text


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=y>{{ 7*7 }}"


def test_whatever_servers_and_tenants_wrote_is_text() -> None:
    bad = attempt(actual=HOSTILE, tried=HOSTILE, expected=HOSTILE, decided_by=HOSTILE, refused=False, name=HOSTILE)
    found = page([bad], left_out=[LeftOut(tenant_id=HOSTILE, reason=HOSTILE)])
    assert not found.tags & {"script", "img"}
    assert found.text.count(HOSTILE) >= 6


def test_a_hundred_tenants_make_a_page_that_can_be_read() -> None:
    ids = [f"tenant-{number}" for number in range(100)]
    attempts = [attempt(one, other) for one, other in itertools.permutations(ids[:60], 2)]
    attempts += [attempt(ids[1], ids[2], refused=False)]
    made = signed(attempts, [tenant(each) for each in ids])
    shown = lines(made)
    assert [(line.name, line.failed) for line in shown] == [(ids[1], True), (ids[2], True), ("98 tenants", False)]
    html = render(made)
    assert len(html) < 40_000
    assert Page(html).rows < ROWS


@pytest.mark.parametrize("number", [1, ROWS])
def test_few_tenants_have_a_row_each(number: int) -> None:
    ids = [f"tenant-{each}" for each in range(number)]
    assert [line.name for line in lines(signed([], [tenant(each) for each in ids]))] == ids


@pytest.mark.parametrize(
    ("kind", "tenants", "words"),
    [
        (ScopeKind.TENANT, ["acme"], "Tenant acme and outsiders, against 1 other tenants of its cell. The fast subset"),
        (ScopeKind.PAIR, ["acme", "globex"], "Tenant acme attacks tenant globex."),
        (ScopeKind.ALL, [], "All 2 tenants of cell default"),
    ],
)
def test_it_says_what_was_asked_for(kind: ScopeKind, tenants: list[str], words: str) -> None:
    scope = Scope(kind=kind, tenants=tenants, cell="default", fast=True, trigger=Trigger.OPERATION, operation_id=12)
    found = page(scope=scope)
    assert words in found.text
    assert "operation 12" in found.text


@pytest.mark.parametrize(
    ("layer", "name", "expected"),
    [
        (Layer.DATABASE, "connect-as-another", Resource.DATABASE),
        (Layer.DATABASE, "set-role", Resource.DATABASE),
        (Layer.DATABASE, "raw-select", Resource.ROWS),
        (Layer.IAM, "assume-role", Resource.ROLE),
        (Layer.IAM, "read-login-secret", Resource.SECRETS),
        (Layer.FILES, "get-object", Resource.FILES),
        (Layer.FILES, "decrypt-object", Resource.KEY),
        (Layer.FILES, "use-key-directly", Resource.KEY),
        (Layer.API, "wrong-token", Resource.API),
        (Layer.NETWORK, "reach-from-anywhere", Resource.NETWORK),
    ],
)
def test_an_attempt_counts_for_what_it_aims_at(layer: Layer, name: str, expected: Resource) -> None:
    [found] = document([attempt(layer=layer, name=name)]).attempts
    assert resource(found) is expected
