"""A rule of a bucket's lifecycle in the words of the provider and of the API."""

from __future__ import annotations

from typing import Any

from localcloud.aws.resource import tag_dict, tag_list

Rule = dict[str, Any]
_ACTIONS = {
    "abortIncompleteMultipartUpload": (
        "AbortIncompleteMultipartUpload",
        {"daysAfterInitiation": "DaysAfterInitiation"},
    ),
    "expiration": (
        "Expiration",
        {"date": "Date", "days": "Days", "expiredObjectDeleteMarker": "ExpiredObjectDeleteMarker"},
    ),
    "noncurrentVersionExpiration": (
        "NoncurrentVersionExpiration",
        {"noncurrentDays": "NoncurrentDays", "newerNoncurrentVersions": "NewerNoncurrentVersions"},
    ),
}
_TRANSITIONS = {
    "transitions": ("Transitions", {"date": "Date", "days": "Days", "storageClass": "StorageClass"}),
    "noncurrentVersionTransitions": (
        "NoncurrentVersionTransitions",
        {
            "noncurrentDays": "NoncurrentDays",
            "newerNoncurrentVersions": "NewerNoncurrentVersions",
            "storageClass": "StorageClass",
        },
    ),
}
_SIZES = {"objectSizeGreaterThan": "ObjectSizeGreaterThan", "objectSizeLessThan": "ObjectSizeLessThan"}


def to_api(rule: Rule) -> Rule:
    api: Rule = {"ID": rule["id"], "Status": rule["status"], "Filter": _filter_to_api(rule)}
    for name, (key, names) in _ACTIONS.items():
        if rule.get(name):
            api[key] = _rename(rule[name], names)
    for name, (key, names) in _TRANSITIONS.items():
        if rule.get(name):
            api[key] = [_rename(each, names) for each in rule[name]]
    return api


def from_api(api: Rule) -> Rule:
    rule: Rule = {"id": api.get("ID", ""), "status": api["Status"], "filter": _filter_from_api(api)}
    for name, (key, names) in _ACTIONS.items():
        if api.get(key):
            rule[name] = _rename(api[key], {v: k for k, v in names.items()})
    for name, (key, names) in _TRANSITIONS.items():
        if api.get(key):
            rule[name] = [_rename(each, {v: k for k, v in names.items()}) for each in api[key]]
    return rule


def _rename(values: Rule, names: dict[str, str]) -> Rule:
    return {names[key]: _text(value) for key, value in values.items() if key in names and value is not None}


def _text(value: Any) -> Any:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if hasattr(value, "strftime") else value


def _filter_to_api(rule: Rule) -> Rule:
    wanted = rule.get("filter") or {}
    if wanted.get("and"):
        both = _rename(wanted["and"], {"prefix": "Prefix", **_SIZES})
        return {"And": {**both, "Tags": tag_list(wanted["and"].get("tags") or {})}}
    if wanted.get("tag"):
        return {"Tag": {"Key": wanted["tag"]["key"], "Value": wanted["tag"]["value"]}}
    sizes = _rename(wanted, _SIZES)
    return sizes or {"Prefix": wanted.get("prefix", rule.get("prefix", ""))}


def _filter_from_api(api: Rule) -> Rule:
    live = api.get("Filter") or {}
    if live.get("And"):
        both = _rename(live["And"], {"Prefix": "prefix", **{v: k for k, v in _SIZES.items()}})
        tags = tag_dict(live["And"].get("Tags"))
        return {"and": {**both, **({"tags": tags} if tags else {})}}
    if live.get("Tag"):
        return {"tag": {"key": live["Tag"]["Key"], "value": live["Tag"]["Value"]}}
    sizes = _rename(live, {v: k for k, v in _SIZES.items()})
    return sizes or {"prefix": live.get("Prefix", api.get("Prefix", ""))}
