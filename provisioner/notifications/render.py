"""From a kind and its fields to subject, text and HTML. Templates may be replaced one by one; none is trusted.

A template is looked for in the operator's directory, then in ours, in each of the customer's languages in turn:
``de_AT/payment_failed.html.j2``, ``de_AT/payment_failed.j2``, then ``de``, then the policy's language, then ``en``.
One ``.j2`` file serves both formats: its macros ``p``, ``facts`` and ``button`` write what the format needs.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from provisioner.errors import NotFound, Quarantined
from provisioner.notifications import fields as clean
from provisioner.notifications.facts import Recipient
from provisioner.notifications.kinds import Kind
from provisioner.notifications.locales import Format, Place, place_of
from provisioner.notifications.policy import Policy

OURS = Path(__file__).with_name("templates")
LONGEST_SUBJECT = 150
LONGEST_BODY = 200_000
FORMATS = ("txt", "html")
_BREAKS = re.compile(r"[ \t\r\n]+")  #: an amount and its currency are kept together by a space that is none of these


class TemplateFailed(Quarantined):
    """A template can't be rendered: its message waits for an operator, the others don't."""

    code = "template_failed"


@dataclass(frozen=True)
class Rendered:
    subject: str
    text: str
    html: str
    language: str


class _Absent(jinja2.ChainableUndefined):
    """What a message doesn't have is empty text, however deep a template looks into it."""

    __slots__ = ()

    def __str__(self) -> str:
        return ""


def _finalize(value: Any) -> Any:
    return "" if value is None else value


@dataclass(frozen=True)
class Renderer:
    """``own``: the operator's directory of templates, or None."""

    policy: Policy
    own: Path | None = None

    def render(self, kind: str, recipient: Recipient, fields: Mapping[str, object]) -> Rendered:
        """``TemplateFailed`` says which template, which line and why; whatever the fields are, ours never fail."""
        place = place_of(recipient, self.policy)
        if kind not in set(Kind):
            raise NotFound(f"there is no message {kind[:40]!r}", hint=f"There are {', '.join(Kind)}")
        subject, bodies, language = "", {}, ""
        for form in FORMATS:
            language, template = self._find(kind, form, place)
            context = self._context(recipient, fields, Format.of(language, place), form)
            try:
                if form == "txt":
                    subject = self._block(template, "subject", context)
                body = template.render(context)
            except Exception as error:  # a template of the operator's may raise whatever it can reach
                raise _failed(template.name, error) from None
            if len(body) > LONGEST_BODY:
                raise TemplateFailed(f"template {template.name} makes {len(body):,} characters of one message")
            bodies[form] = body
        subject = clean.line(subject, LONGEST_SUBJECT) or clean.line(self.policy.product)
        return Rendered(subject, _tidy(bodies["txt"]), bodies["html"], language)

    def _find(self, kind: str, form: str, place: Place) -> tuple[str, jinja2.Template]:
        for language in place.languages:
            for name in (f"{language}/{kind}.{form}.j2", f"{language}/{kind}.j2"):
                try:
                    return language, self._environments[form].get_template(name)
                except jinja2.TemplateNotFound as missing:
                    if missing.name != name:  # what it extends or includes
                        raise _failed(name, missing) from None
                except Exception as error:
                    raise _failed(name, error) from None
        raise TemplateFailed(f"there is no template of {kind} in {', '.join(place.languages)}")

    @staticmethod
    def _block(template: jinja2.Template, name: str, context: dict[str, Any]) -> str:
        block = template.blocks.get(name)
        return "" if block is None else "".join(block(template.new_context(dict(context))))

    @cached_property
    def _environments(self) -> dict[str, ImmutableSandboxedEnvironment]:
        directories = [OURS] if self.own is None else [self.own, OURS]
        environments = {}
        for form in FORMATS:
            environment = ImmutableSandboxedEnvironment(
                loader=jinja2.FileSystemLoader(directories),
                autoescape=form == "html",
                undefined=_Absent,
                finalize=_finalize,
                trim_blocks=True,
                lstrip_blocks=True,
                keep_trailing_newline=True,
            )
            environment.globals["format"] = form
            environment.globals["layout"] = f"layout.{form}.j2"
            environment.globals["parts"] = f"parts.{form}.j2"
            environment.filters["paragraph"] = _paragraph
            environments[form] = environment
        return environments

    def _context(self, recipient: Recipient, fields: Mapping[str, object], write: Format, form: str) -> dict[str, Any]:
        """Only text, numbers and truths: a template can reach no object of the program through them."""
        values = {str(name): _written(str(name), value, write) for name, value in fields.items()}
        return {
            **values,
            "name": clean.name(recipient.name),
            "product": clean.line(self.policy.product),
            "support": clean.line(self.policy.support),
            "billing_url": clean.link(self.policy.billing_url),
            "app_url": clean.link(self.policy.app_url),
            "pay_url": clean.link(fields.get("url")) or clean.link(self.policy.billing_url),
            "language": str(write.locale).replace("_", "-"),
            "direction": write.direction,
        }


def _written(name: str, value: object, write: Format) -> str | bool | int:
    """A field as a template may print it. Its name says what it is: ``at`` a day, ``..._at`` a time."""
    if name.endswith(("url", "link")):
        return clean.link(value)
    if isinstance(value, bool):
        return value
    found = clean.money(value)
    if found is not None:
        return write.money(*found)
    if name in ("at", "until") or name.endswith(("_at", "_until", "until")):
        moment = clean.moment(value)
        try:
            return "" if moment is None else write.date(moment)
        except (ValueError, OverflowError):  # the first and the last day of the calendar have no neighbours
            return ""
    number = clean.whole(value)
    return write.number(number) if number is not None else clean.line(value)


def _paragraph(text: object) -> str:
    """Wrapped for a plain text message; addresses stay whole."""
    words = _BREAKS.sub(" ", str(text)).strip(" ")
    return "\n".join(textwrap.wrap(words, 72, break_long_words=False, break_on_hyphens=False) or [""])


def _tidy(text: str) -> str:
    lines = [line.rstrip() for line in text.replace("\r", "").split("\n")]
    tidied: list[str] = []
    for line in lines:
        if line or (tidied and tidied[-1]):
            tidied.append(line)
    return "\n".join(tidied).strip("\n") + "\n"


def _failed(name: str | None, error: Exception) -> TemplateFailed:
    line = getattr(error, "lineno", None)
    where = f"{name}, line {line}" if line is not None else str(name)
    reason = clean.line(f"{type(error).__name__}: {error}", 300)
    return TemplateFailed(
        f"template {where} can't be rendered: {reason}",
        hint="correct it, look at it with `tenantry notifications preview`, then: tenantry notifications retry",
    )
