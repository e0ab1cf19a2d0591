"""The message as it travels: MIME with a text and an HTML part, headers that robots understand."""

from __future__ import annotations

import hashlib
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr

from email_validator import EmailNotValidError, validate_email

from provisioner.errors import ConfigurationInvalid, Quarantined
from provisioner.notifications import fields as clean
from provisioner.notifications.render import Rendered

#: Old header parsers break longer lines; addresses never need them.
_LONGEST_NAME = 60


class AddressUnusable(Quarantined):
    code = "address_unusable"


def address(value: object, name: object = None) -> Address:
    """``AddressUnusable`` for what no mail server could deliver to. Domains of any script are taken; the part before
    the @ must be ASCII, as most servers still want it."""
    fix = "correct the customer's e-mail address in Stripe, then: tenantry notifications retry"
    if not isinstance(value, str) or not value.strip():
        raise AddressUnusable("the customer has no e-mail address", hint=fix)
    try:
        found = validate_email(value.strip(), check_deliverability=False, allow_smtputf8=False)
    except EmailNotValidError as error:
        raise AddressUnusable(f"the customer's e-mail address can't be used: {error}", hint=fix) from None
    assert found.ascii_local_part is not None
    return Address(clean.name(name)[:_LONGEST_NAME], found.ascii_local_part, found.ascii_domain)


def mailbox(value: str, setting: str) -> Address:
    """An address of a setting: ``Acme Billing <billing@acme.example>``. ``ConfigurationInvalid`` names the setting."""
    name, spec = parseaddr(value)
    try:
        return address(spec, name)
    except AddressUnusable:
        raise ConfigurationInvalid(
            f"{setting} is no mailbox", hint=f'write it as {setting}="Acme Billing <billing@acme.example>"'
        ) from None


def message_id(key: str, domain: str) -> str:
    """The same for every attempt at a message: who gets it twice can tell."""
    return f"<{hashlib.sha256(key.encode()).hexdigest()[:40]}@{domain}>"


def compose(
    rendered: Rendered, to: Address, sender: Address, *, reply_to: Address | None, key: str, date: datetime
) -> EmailMessage:
    """``key``: what makes the message the only one of its kind; its Message-ID comes from it."""
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = to
    if reply_to is not None:
        message["Reply-To"] = reply_to
    message["Subject"] = rendered.subject
    message["Date"] = format_datetime(date)
    message["Message-ID"] = message_id(key, sender.domain)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    message.set_content(rendered.text, cte="quoted-printable")
    message.add_alternative(rendered.html, subtype="html", cte="quoted-printable")
    message["Content-Language"] = rendered.language.replace("_", "-")  # contents that are set delete such headers
    return message
