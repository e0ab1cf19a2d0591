"""The Condition element: operators with IfExists, Null, and the two qualifiers for keys of several values.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from isolation.iam.elements import Condition, PolicyError
from isolation.iam.matching import Unresolved, expand
from isolation.iam.operators import OPERATORS, Operator

Context = Mapping[str, tuple[str, ...]]

_QUALIFIERS = ("", "ForAllValues", "ForAnyValue")


def holds(condition: Condition, context: Context, *, variables: bool) -> bool:
    """Whether one operator-and-key of a Condition is met. ``context`` has lower-case keys.

    Raises PolicyError for an operator that doesn't exist: AWS refuses such a document.
    """
    name, qualifier, if_exists = _parts(condition.operator)
    present = context.get(condition.key.lower(), ())
    if name == "Null":
        return any((value.lower() == "true") == (not present) for value in condition.values)
    if qualifier is not None and not any(present):
        present = ()  # AWS takes a set of nothing but empty strings for no set
    operator = OPERATORS[name]
    if qualifier == "ForAllValues":
        # true on an absent key: AWS warns to add Null, and so do we
        return all(_one(condition, value, context, operator, variables) for value in present)
    if not present:
        # a negated operator is true of a key that isn't there
        return if_exists or (operator.negated and qualifier is None)
    results = [_one(condition, value, context, operator, variables) for value in present]
    # several values without a qualifier: AWS documents no meaning; a negated match must hold for all of them
    return all(results) if operator.negated and qualifier is None else any(results)


def _one(condition: Condition, value: str, context: Context, operator: Operator, variables: bool) -> bool:
    """``value`` meets one of the alternatives; negated: meets none of them, those without a value included."""
    met = False
    for text in condition.values:
        try:
            pattern = expand(text, context, variables=variables and operator.variables)
        except Unresolved:
            continue
        met = met or operator.test(pattern, value)
    return met != operator.negated


def check(condition: Condition) -> None:
    """Raises PolicyError if the operator doesn't exist, or if Null is given anything but true and false."""
    name, _, _ = _parts(condition.operator)
    if name == "Null" and not all(value.lower() in ("true", "false") for value in condition.values):
        raise PolicyError(f"condition operator Null of {condition.key!r} takes true or false")


@lru_cache(maxsize=256)
def _parts(operator: str) -> tuple[str, str | None, bool]:
    """Name, qualifier and whether it ends in IfExists."""
    qualifier, _, rest = operator.rpartition(":")
    if qualifier not in _QUALIFIERS or operator.startswith(":"):
        raise PolicyError(f"condition operator {operator!r} has an unknown qualifier")
    base = rest.removesuffix("IfExists")
    if base == "Null" and (qualifier or rest != base):
        raise PolicyError(f"condition operator {operator!r} does not exist")
    if base != "Null" and base not in OPERATORS:
        raise PolicyError(f"condition operator {operator!r} does not exist")
    return base, qualifier or None, rest != base
