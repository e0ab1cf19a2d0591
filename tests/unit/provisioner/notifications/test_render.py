"""Every message in every language, with every field missing or hostile; and templates that are wrong."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.headerregistry import Address
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioner.errors import ConfigurationInvalid, NotFound
from provisioner.notifications import mime
from provisioner.notifications import policy as policies
from provisioner.notifications.facts import Recipient
from provisioner.notifications.kinds import TRAITS, Kind
from provisioner.notifications.mime import AddressUnusable
from provisioner.notifications.policy import Policy
from provisioner.notifications.render import OURS, Rendered, Renderer, TemplateFailed
from provisioner.notifications.samples import SAMPLES

ROOT = Path(__file__).parents[4]
POLICY = policies.load(ROOT / "example" / "notifications.toml")
RENDERER = Renderer(POLICY)
SENDER = Address("Example", "billing", "example.com")
NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
LANGUAGES = ("en", "de")

HOSTILE: list[Any] = [
    None,
    "",
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "Ada\r\nBcc: victim@example.com",
    "Ada\nSubject: other\n\nbody",
    "\x00\x1b[31m\x7f\x85\u2028\u2029",
    "\u202egnp.exe\u2066\u200b\ufeff",
    "عميل مهم",
    "👩‍👩‍👧‍👦 🇦🇹",
    "\ud800",
    "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L" * 20,
    "x" * 10_000,
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "https://evil.example/\r\nSet-Cookie: a=b",
    "https://user:password@evil.example/",
    'https://evil.example/"onmouseover="alert(1)',
    "http://evil.example/",
    "Win a prize at https://evil.example/claim now",
    0,
    -1,
    10**30,
    True,
    float("nan"),
    ["a"],
    {"amount": None},
    {"amount": 10**20, "currency": "eur"},
    {"amount": 1, "currency": "<b>"},
    {"amount": 5, "currency": "xyz"},
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-12:00",
    "2026-13-45",
]
NAMES = sorted({name for sample in SAMPLES.values() for name in sample} | {"unheard_of", "self", "caller", "format"})
VALUES = st.sampled_from(HOSTILE) | st.text(max_size=200) | st.integers() | st.booleans() | st.none()
CODES = st.sampled_from(
    ["en", "de-AT", "pt-BR", "zh-Hant-TW", "ar", "he", "xx-YY", "", "../../etc", "de\0", "x" * 99, "_"]
)
RECIPIENTS = st.builds(
    Recipient,
    email=st.just("a@example.com"),
    name=VALUES.filter(lambda value: value is None or isinstance(value, str)),
    locales=st.lists(CODES, max_size=3).map(tuple),
    country=st.none() | st.sampled_from(["AT", "US", "zz", "<b>", "", "ÄÖ"]),
    time_zone=st.none()
    | st.sampled_from(["Europe/Vienna", "Mars/Base", "../../../etc/passwd", "", "Europe", "/etc", "a\0b", "x" * 999]),
)
ALLOWED = {"html", "head", "meta", "title", "body", "div", "p", "a", "table", "tr", "td"}


class Page(HTMLParser):
    """What a mail program would make of it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs


def check_contents(kind: Kind, recipient: Recipient, fields: dict[str, Any]) -> Rendered:
    """Whatever the fields are, the result is sound."""
    rendered = RENDERER.render(kind, recipient, fields)
    assert rendered.subject.strip()
    assert re.sub("[\u200c\u200d]", "", rendered.subject).isprintable()
    page = Page(rendered.html)
    assert page.tags <= ALLOWED
    for name, value in page.attributes:
        assert not name.startswith("on")
        if name == "href":
            assert value is not None
            assert value.startswith("https://")
    assert len(rendered.html) < 30_000
    return rendered


def check(kind: Kind, recipient: Recipient, fields: dict[str, Any]) -> EmailMessage:
    """As ``check_contents``, and the message that travels is sound too."""
    rendered = check_contents(kind, recipient, fields)
    message = mime.compose(
        rendered, mime.address("a@example.com", recipient.name), SENDER, reply_to=None, key="key", date=NOW
    )
    content = message.as_bytes()
    arrived = message_from_bytes(content, policy=policy.default)
    assert isinstance(arrived, EmailMessage)
    assert [name for name, _ in arrived.items()] == [
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type",
        "Content-Language",
    ]  # fmt: skip
    assert [each.addr_spec for each in arrived["To"].addresses] == ["a@example.com"]
    assert not arrived.defects
    assert max(map(len, content.split(b"\r\n"))) <= 998
    return arrived


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message_renders_whole_and_empty_in_every_language(kind: Kind, language: str) -> None:
    recipient = Recipient("a@example.com", "Ada", (language,), "AT", None)
    whole = RENDERER.render(kind, recipient, SAMPLES[kind])
    assert whole.language == language
    empty = RENDERER.render(kind, Recipient(locales=(language,)), {})
    for rendered in (whole, empty):
        text = " ".join(rendered.text.split())
        for torn in ("  ", " ,", " .", "()", "None", "{{", "Undefined", " !", " ;"):
            assert torn not in text, (torn, text)
        assert POLICY.product in rendered.text
    check(kind, recipient, SAMPLES[kind])


@pytest.mark.parametrize("kind", Kind)
def test_every_field_is_missing_once(kind: Kind) -> None:
    for name in SAMPLES[kind]:
        check_contents(kind, Recipient(), {key: value for key, value in SAMPLES[kind].items() if key != name})


@pytest.mark.parametrize("kind", Kind)
def test_every_field_is_hostile_in_every_way(kind: Kind) -> None:
    names = sorted(SAMPLES[kind])
    for index, value in enumerate(HOSTILE):
        name = value if isinstance(value, str) else None
        recipient = Recipient(name=name, locales=("de",))
        # all pairs of a field and a value would be as many as the others of the suite together
        field = names[index % len(names)]
        check_contents(kind, recipient, {**SAMPLES[kind], field: value})
        check(kind, recipient, dict.fromkeys(SAMPLES[kind], value))


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(st.sampled_from(list(Kind)), RECIPIENTS, st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8))
def test_any_fields_make_a_sound_message(kind: Kind, recipient: Recipient, fields: dict[str, Any]) -> None:
    check(kind, recipient, {**SAMPLES[kind], **fields})
    check(kind, recipient, fields)


def test_a_name_can_neither_inject_a_header_nor_advertise() -> None:
    message = check(Kind.WELCOME, Recipient(name="Ada\r\nBcc: victim@example.com"), {})
    assert message["Bcc"] is None
    spam = RENDERER.render(Kind.WELCOME, Recipient(name="Win at https://evil.example/"), {})
    assert "evil" not in spam.text + spam.html


def test_dates_and_amounts_are_written_as_the_customer_writes_them() -> None:
    fields = {**SAMPLES[Kind.PAYMENT_FAILED], "amount": {"amount": 123456, "currency": "eur"}}
    german = RENDERER.render(Kind.PAYMENT_FAILED, Recipient(locales=("de-DE",), country="DE"), fields).text
    assert "1.234,56\xa0€" in german
    assert "15. Dezember 2026" in german
    american = RENDERER.render(Kind.PAYMENT_FAILED, Recipient(locales=("en-US",), country="US"), fields).text
    assert "€1,234.56" in american
    assert "December 15, 2026" in " ".join(american.split())
    french = RENDERER.render(Kind.PAYMENT_FAILED, Recipient(locales=("fr-FR",), country="FR"), fields)
    assert french.language == "en"  # no French templates: not one word of another language among them
    assert "Dezember" not in french.text
    assert "décembre" not in french.text


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [
        (500, "jpy", "¥500"),
        (500, "usd", "$5.00"),
        (5000, "kwd", "KWD 5.000"),
        (150000, "huf", "HUF 1,500"),
        (150050, "huf", "HUF 1,500.50"),
        (500, "isk", "ISK 5"),
    ],
)
def test_the_smallest_unit_is_stripes(amount: int, currency: str, written: str) -> None:
    fields = {"amount": {"amount": amount, "currency": currency}}
    text = RENDERER.render(Kind.PAYMENT_FAILED, Recipient(locales=("en-US",)), fields).text
    assert written.replace(" ", "") in text.replace("\xa0", "").replace(" ", "")


def test_a_time_is_of_the_customers_day() -> None:
    late = {"at": "2026-12-15T23:30:00+00:00"}
    there = Recipient(locales=("de",), time_zone="Europe/Vienna")
    assert "16. Dezember" in RENDERER.render(Kind.CANCELLED, there, late).text
    assert "15. Dezember" in RENDERER.render(Kind.CANCELLED, Recipient(locales=("de",)), late).text
    by_country = Recipient(locales=("de",), country="AT")  # it has one time zone
    assert "16. Dezember" in RENDERER.render(Kind.CANCELLED, by_country, late).text


def test_our_templates_are_complete_in_every_language() -> None:
    for language in LANGUAGES:
        present = {path.name for path in (OURS / language).iterdir()}
        assert present == {f"{kind.value}.j2" for kind in Kind} | {"base.j2"}
    assert set(SAMPLES) == set(TRAITS) == set(Kind)


def test_templates_of_the_operators_own_come_first_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "de").mkdir()
    (tmp_path / "de" / "welcome.txt.j2").write_text(
        "{% block subject %}Hallo {{ name }}{% endblock %}Nur Text, {{ name }}"
    )
    own = Renderer(POLICY, tmp_path)
    german = own.render(Kind.WELCOME, Recipient(name="Ada", locales=("de",)), {})
    assert german.text == "Hallo AdaNur Text, Ada\n"
    assert german.subject == "Hallo Ada"
    assert "ist bereit" in german.html  # ours, as there is no own HTML
    assert "ready" in own.render(Kind.WELCOME, Recipient(locales=("en",)), {}).text


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% block subject %}{{ 1 / 0 }}{% endblock %}", "ZeroDivisionError"),
        ("{{ name | no_such_filter }}", "no_such_filter"),
        ("\n\n{% if %}", "line 3"),
        ("{% include 'nothing.j2' %}", "nothing.j2"),
        ("{% extends 'nothing.j2' %}", "nothing.j2"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "SecurityError"),
        ("{{ cycler.__init__.__globals__.os.popen('id').read() }}", "SecurityError"),
        ("{% for i in range(999999999) %}x{% endfor %}", "OverflowError"),
        ("{{ 'x' * 10000000 }}", "10,000,0"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "RecursionError"),
        ("{{ undefined_function() }}", "undefined"),
    ],
)  # fmt: skip
def test_a_template_that_is_wrong_is_named_with_its_reason(tmp_path: Path, template: str, reason: str) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "welcome.j2").write_text(template)
    own = Renderer(POLICY, tmp_path)
    with pytest.raises(TemplateFailed) as caught:
        own.render(Kind.WELCOME, Recipient(name="Ada"), {})
    assert "en/welcome.j2" in caught.value.message
    assert reason in caught.value.message
    assert own.render(Kind.DELETED, Recipient(), {}).subject  # the others go on


def test_a_template_sees_nothing_of_the_program(tmp_path: Path) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "welcome.j2").write_text(
        "{{ self.__class__ }}{{ format.__globals__ }}{{ name.__class__ }}{{ missing.deep.down() if false }}{{ config }}"
    )
    text = Renderer(POLICY, tmp_path).render(Kind.WELCOME, Recipient(name="Ada"), {}).text
    assert "class" not in text


def test_an_unknown_kind_is_an_error_with_the_known_ones() -> None:
    with pytest.raises(NotFound, match="payment_failed"):
        RENDERER.render("nonsense", Recipient(), {})


@pytest.mark.parametrize(
    "spec",
    [
        None,
        "",
        "  ",
        "ada",
        "ada@",
        "@example.com",
        "ada@localhost",
        "a b@example.com",
        "ada@example.com\r\nBcc: v@example.com",
        "ada@example.com, v@example.com",
        "ada@exa mple.com",
        "ada@-example.com",
        "x" * 300 + "@example.com",
        "ada@[127.0.0.1]",
        "äda@example.com",
        7,
    ],
)
def test_an_address_that_nobody_could_deliver_to(spec: Any) -> None:
    with pytest.raises(AddressUnusable) as caught:
        mime.address(spec)
    assert "Stripe" in caught.value.hint


def test_addresses_are_taken_with_domains_of_any_script() -> None:
    found = mime.address(" ada@straße.example.com ", "Ada, Lovelace <x>")
    assert found.addr_spec == "ada@xn--strae-oqa.example.com"
    assert found.display_name == "Ada, Lovelace <x>"


def test_the_same_message_has_the_same_id_and_another_has_another() -> None:
    first, again, other = (mime.message_id(key, "example.com") for key in ("a", "a", "b"))
    assert first == again != other


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("weekends = 3.5", "weekends"),
        ('quiet_hours = "8-20"', "20:00-08:00"),
        ('time_zone = "Mars/Base"', "Mars/Base"),
        ('locale = "xx-yy-zz"', "no locale"),
        ('billing_url = "http://example.com"', "https://"),
        ("[kinds.nonsense]\non = true", "kinds.nonsense"),
        ("[kinds.trial_ending]\ndays_before = [-1]", "kinds.trial_ending.days_before.0"),
        ('[kinds.access_ahead]\nsteps = ["deleted"]', "no step down"),
        ('[kinds.renewal_upcoming]\nintervals = ["week"]', "month and year"),
        ("nonsense = 1\nproduct = 7", "nonsense"),
        ("=", "no TOML"),
    ],
)
def test_a_policy_that_is_wrong_says_which_key(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "notifications.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationInvalid) as caught:
        policies.load(path)
    assert str(path) in caught.value.message
    assert said in caught.value.message


def test_every_default_of_the_policy_is_sound(tmp_path: Path) -> None:
    empty = tmp_path / "notifications.toml"
    empty.write_text("")
    assert policies.load(empty) == Policy()
