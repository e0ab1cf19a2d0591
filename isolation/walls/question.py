"""One question to one policy."""

from __future__ import annotations

from collections.abc import Callable

from isolation.iam import Decision

Question = tuple[str, str, str | None, Callable[[], Decision]]  #: name, what is tried, by whom, the question
Proper = tuple[str, Callable[[], Decision]]  #: the permitted one: what is tried, the question


def kebab(action: str) -> str:
    """``GetObject`` -> ``get-object``."""
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in action).lstrip("-")
