"""All rules, by theme."""

from policies.model import Rule
from policies.rules import encryption, exposure, ownership

RULES: tuple[Rule, ...] = (*encryption.RULES, *exposure.RULES, *ownership.RULES)
