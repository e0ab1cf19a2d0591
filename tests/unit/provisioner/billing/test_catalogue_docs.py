"""What ``docs/catalogue.md`` shows is a catalogue, and what it calls a default is one."""

from __future__ import annotations

import re
from pathlib import Path

from provisioner.billing import catalogue_file
from provisioner.billing.catalogue import Catalogue
from provisioner.billing.terms import DEFAULT_TERMS, Deletion

DOCS = Path(__file__).parents[4] / "docs" / "catalogue.md"
PRICE = '[[plans.team.prices]]\nlookup_key = "k"\ninterval = "month"\nmodel = "graduated"\n'


def shown() -> Catalogue:
    plan, tables, terms = re.findall(r"```toml\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    (tiers,) = re.findall(r"`(tiers = \[.*?\])`", DOCS.read_text("utf-8"))
    features = 'sso = "Single sign-on"\n'
    tables = tables.replace('reports = "Reports"\n', 'reports = "Reports"\n' + features)
    return catalogue_file.parse("\n".join([plan, PRICE, tiers, tables, terms]), "docs/catalogue.md")


def test_every_key_that_is_shown_is_one() -> None:
    found = shown()
    plan = found.plan("team")
    assert plan.terms.deletion is Deletion.ARCHIVE
    assert plan.terms.trial.days == 14
    assert plan.rates
    assert plan.included
    assert found.coupons
    assert found.portal.return_url


def test_what_is_called_a_default_is_one() -> None:
    terms = shown().plan("team").terms
    assert terms.dunning == DEFAULT_TERMS.dunning
    for name in ("on_dispute", "on_dispute_lost", "on_refund", "throttled_percent", "archive_days", "asleep_after"):
        assert getattr(terms, name) == getattr(DEFAULT_TERMS, name), name
