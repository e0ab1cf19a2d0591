"""Policy documents, weakened at one place each: every statement, condition, principal, action and resource."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]
ANYBODY = {"Sid": "Anybody", "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}


@dataclass(frozen=True)
class Weaker:
    """``name`` is part of an id, ``words`` say what was done, ``text`` is the document that allows more."""

    name: str
    words: str
    text: str


def weaker(text: str, *, anybody: bool) -> Iterator[Weaker]:
    """Each way in which the document can allow more. ``anybody``: it names principals, so that one may be added."""
    document: Document = json.loads(text)
    for index, statement in enumerate(document["Statement"]):
        sid = statement["Sid"]
        if statement["Effect"] == "Deny":
            yield Weaker(f"{sid}/gone", f"statement {sid} is gone", _without(document, index))
            yield from _fewer(document, index, "Action")
            continue
        for operator, keys in statement.get("Condition", {}).items():
            for key in keys:
                yield Weaker(f"{sid}/{operator}-{key}", f"{sid}: condition {operator} {key} is dropped",
                             _changed(document, index, lambda s, o=operator, k=key: _drop(s, o, k)))  # fmt: skip
        if "Principal" in statement and statement["Principal"] != "*":
            yield _set(document, index, "Principal", "*", "lets in everybody")
        service = _list(statement["Action"])[0].partition(":")[0]
        if statement["Action"] != f"{service}:*" and service != "sts":  # a trust policy takes no wildcard
            yield _set(document, index, "Action", f"{service}:*", f"allows {service}:*")
        if statement.get("Resource", "*") != "*":
            yield _set(document, index, "Resource", "*", "is for every resource")
    if anybody:
        more = deepcopy(document)
        more["Statement"].append(ANYBODY if "Resource" in document["Statement"][0] else _without_resource())
        yield Weaker("anybody", "a statement more allows everything to everybody", json.dumps(more))
    else:
        more = deepcopy(document)
        more["Statement"].append({"Sid": "All", "Effect": "Allow", "Action": "*", "Resource": "*"})
        yield Weaker("everything", "a statement more allows everything", json.dumps(more))


def _without_resource() -> Document:
    return {key: value for key, value in ANYBODY.items() if key != "Resource"} | {
        "Action": ["sts:AssumeRole", "sts:TagSession"]
    }


def _changed(document: Document, index: int, change: Any) -> str:
    copy = deepcopy(document)
    change(copy["Statement"][index])
    return json.dumps(copy)


def _drop(statement: Document, operator: str, key: str) -> None:
    del statement["Condition"][operator][key]
    if not statement["Condition"][operator]:
        del statement["Condition"][operator]
    if not statement["Condition"]:
        del statement["Condition"]


def _set(document: Document, index: int, element: str, value: str, words: str) -> Weaker:
    sid = document["Statement"][index]["Sid"]
    text = _changed(document, index, lambda statement: statement.update({element: value}))
    return Weaker(f"{sid}/{element.lower()}", f"{sid} {words}", text)


def _without(document: Document, index: int) -> str:
    copy = deepcopy(document)
    del copy["Statement"][index]
    return json.dumps(copy)


def _fewer(document: Document, index: int, element: str) -> Iterator[Weaker]:
    """Of a denial that names several actions, each left out in turn."""
    statement = document["Statement"][index]
    values = _list(statement[element])
    for value in values if len(values) > 1 else []:
        kept = [each for each in values if each != value]
        text = _changed(document, index, lambda statement, kept=kept: statement.update({element: kept}))
        yield Weaker(f"{statement['Sid']}/without-{value}", f"{statement['Sid']} does not deny {value}", text)


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def resource_policy(principal: Any, action: str, resource: str = "*") -> str:
    """A policy of one statement."""
    statement = {"Sid": "Shared", "Effect": "Allow", "Principal": principal, "Action": action, "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
