"""Stripe's OpenAPI description as a judge of what the local Stripe takes and answers.

The description is of the API version before ours: what is new in ours it doesn't know, and lets pass.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs

Schema = dict[str, Any]
#: What the description is called, so that its parts can refer to one another.
BASE = "https://stripe.com/openapi"
#: Operations (patterns of paths) that came with our version; the library's own types are their reference.
NEWER = (r"/v1/subscriptions/[^/]+/pause",)
#: Objects that no operation answers with: the description leaves them out.
EVENTS_ONLY = ("entitlements.active_entitlement_summary",)


class Description:
    def __init__(self, file: Path) -> None:
        self._document = _nullable(json.loads(file.read_text()))
        self._kinds = set(self._document["components"]["schemas"])
        definitions = {"components": {"schemas": self._document["components"]["schemas"]}}
        self._registry = jsonschema_rs.Registry([(BASE, definitions)])
        self._paths = [(_pattern(path), operations) for path, operations in self._document["paths"].items()]
        self._validators: dict[tuple[str, str, str], Any] = {}

    def operation(self, method: str, path: str) -> tuple[str, Schema]:
        """The path as the description writes it, and the operation. ``AssertionError``: there is none."""
        for newer in NEWER:
            if re.fullmatch(newer, path):
                return newer, {}
        found = [
            (pattern.pattern, operations[method.lower()])
            for pattern, operations in self._paths
            if pattern.fullmatch(path) and method.lower() in operations
        ]
        assert found, f"Stripe has no {method} {path}"
        return min(found, key=lambda entry: entry[0].count("[^/]"))

    def check_request(self, method: str, path: str, params: dict[str, Any]) -> None:
        """Every parameter is known to Stripe, and of a type that it takes."""
        name, operation = self.operation(method, path)
        if name in NEWER:
            return
        if method in ("POST", "DELETE"):
            content = operation["requestBody"]["content"]
            schema = content.get("application/x-www-form-urlencoded", {"schema": {}})["schema"]
            self._check(("request", method, name), schema, params, f"request {method} {path}")
            return
        known = {entry["name"]: entry for entry in operation.get("parameters", [])}
        for key, value in params.items():
            assert key in known, f"{method} {path} has no parameter {key}"
            self._check((key, method, name), known[key]["schema"], value, f"{key} of {method} {path}")

    def check_answer(self, method: str, path: str, document: Any) -> None:
        """The answer has the shape that Stripe's would have."""
        name, operation = self.operation(method, path)
        if name in NEWER:
            self.check_object(document, f"answer to {method} {path}")
            return
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        self._check(("answer", method, name), schema, document, f"answer to {method} {path}")

    def check_object(self, document: dict[str, Any], what: str) -> None:
        """An object of any kind, as events carry them."""
        kind = document["object"]
        if kind in EVENTS_ONLY:
            return
        assert kind in self._kinds, f"{what}: Stripe has no object {kind}"
        self._check(("object", kind, ""), {"$ref": f"{BASE}#/components/schemas/{kind}"}, document, what)

    def _check(self, key: tuple[str, str, str], schema: Schema, value: Any, what: str) -> None:
        if key not in self._validators:
            self._validators[key] = jsonschema_rs.Draft202012Validator(schema, registry=self._registry)
        problems = [
            f"{'.'.join(map(str, error.instance_path))}: {error.message[:300]}"
            for error in self._validators[key].iter_errors(value)
        ]
        assert not problems, f"{what}:\n" + "\n".join(problems[:10])


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)))


def _nullable(node: Any) -> Any:
    """OpenAPI 3.0's ``nullable`` in the words of JSON Schema, and references that hold outside of the document too."""
    if isinstance(node, list):
        return [_nullable(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {
        key: f"{BASE}{value}" if key == "$ref" and isinstance(value, str) else _nullable(value)
        for key, value in node.items()
    }
    if made.pop("nullable", False) is True:
        return {"anyOf": [made, {"type": "null"}]}
    return made
