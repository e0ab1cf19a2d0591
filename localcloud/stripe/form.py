"""Stripe's form encoding of nested parameters: ``items[0][price]=p&metadata[k]=v`` to a tree of dicts and strings.

Whether a dict with numeric keys is an array or a hash is known only to the schema (``params``), so lists stay dicts
here, keyed by their indices.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from localcloud.stripe.errors import invalid

Tree = dict[str, "Tree | str"]

MAX_FIELDS = 2000
MAX_DEPTH = 12
_KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")


def parse(encoded: str) -> Tree:
    """The tree of a query string or form body. 400 when a key is malformed, or a name is both a value and a hash."""
    try:
        pairs = parse_qsl(encoded, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError as error:
        raise invalid(f"Invalid request body: {error}") from None
    root: Tree = {}
    for key, value in pairs:
        match = _KEY.fullmatch(key)
        if match is None:
            raise invalid(f"Invalid parameter name: {key[:200]}")
        path = [match.group(1), *re.findall(r"\[([^\[\]]*)\]", match.group(2))]
        if len(path) > MAX_DEPTH:
            raise invalid(f"Parameter nested too deeply: {key[:200]}")
        _insert(root, path, value, key)
    return root


def tree_of(params: dict[str, Any]) -> Tree:
    """The tree that ``params`` (nested dicts, lists and plain values) have when they come in form encoding.

    ``None``, ``[]`` and ``{}`` have no such form: they are left out, as the library leaves them out.
    """
    return {name: _text(value) for name, value in params.items() if value is not None and value != [] and value != {}}


def _text(value: Any) -> Tree | str:
    if isinstance(value, dict):
        return tree_of(value)
    if isinstance(value, list | tuple):
        return {str(index): _text(item) for index, item in enumerate(value)}
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _insert(root: Tree, path: list[str], value: str, key: str) -> None:
    node = root
    for position, part in enumerate(path):
        part = part or str(len(node))
        if position == len(path) - 1:
            if isinstance(node.get(part), dict):
                raise invalid(f"Invalid parameter: {key[:200]} is both a value and a hash", param=key[:200])
            node[part] = value
            return
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            raise invalid(f"Invalid parameter: {key[:200]} is both a value and a hash", param=key[:200])
        node = child
