"""The data source `aws.iam.get_policy_document`: builds the JSON of a policy as the AWS provider does."""

from __future__ import annotations

import json
import zlib
from typing import Any

from localcloud.aws.client import Aws
from providers.base import CheckFailed, Context, Function, Properties

_VERSION = "2012-10-17"


class GetPolicyDocument(Function[Aws]):
    token = "aws:iam/getPolicyDocument:getPolicyDocument"

    def invoke(self, ctx: Context[Aws], args: Properties) -> Properties:
        document = _merged([args["sourceJson"]] if args.get("sourceJson") else [], "sourceJson", unique=False)
        document = _combine(
            document, _merged(args.get("sourcePolicyDocuments") or [], "sourcePolicyDocuments", unique=True)
        )
        own: dict[str, Any] = {"Version": args.get("version") or _VERSION}
        if args.get("policyId"):
            own["Id"] = args["policyId"]
        own["Statement"] = [_statement(i, s, args) for i, s in enumerate(args.get("statements") or [])]
        _require_unique_sids(own["Statement"], "statements")
        document = _combine(document, own)
        overrides = args.get("overridePolicyDocuments") or []
        document = _combine(document, _merged(overrides, "overridePolicyDocuments", unique=False))
        if args.get("overrideJson"):
            document = _combine(document, _parsed(args["overrideJson"], "overrideJson"))
        ordered = {key: document[key] for key in ("Version", "Id", "Statement") if document.get(key)}
        text = json.dumps(ordered, indent=2, ensure_ascii=False)
        return {
            **args,
            "version": document.get("Version", _VERSION),
            "id": str(zlib.crc32(text.encode())),
            "json": text,
            "minifiedJson": json.dumps(ordered, separators=(",", ":"), ensure_ascii=False),
        }


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise CheckFailed([(where, f"is no valid JSON: {error}")]) from error
    if not isinstance(document, dict):
        raise CheckFailed([(where, "is no policy document")])
    statements = document.get("Statement", [])
    return {**document, "Statement": statements if isinstance(statements, list) else [statements]}


def _merged(texts: list[str], where: str, *, unique: bool) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for text in texts:
        if not text:
            continue
        document = _parsed(text, where)
        if unique:
            _require_unique_sids([*result.get("Statement", []), *document["Statement"]], where)
        result = _combine(result, document)
    return result


def _require_unique_sids(statements: list[dict[str, Any]], where: str) -> None:
    seen: set[str] = set()
    for statement in statements:
        sid = statement.get("Sid")
        if sid and sid in seen:
            raise CheckFailed([(where, f"duplicate Sid ({sid})")])
        seen.add(sid or "")


def _combine(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """A statement replaces the one with its Sid, else it is added; a later Id and Version win."""
    statements = list(base.get("Statement", []))
    for statement in over.get("Statement", []):
        sid = statement.get("Sid")
        at = next((i for i, s in enumerate(statements) if sid and s.get("Sid") == sid), None)
        if at is None:
            statements.append(statement)
        else:
            statements[at] = statement
    return {**base, **over, "Statement": statements}


def _statement(index: int, given: dict[str, Any], args: Properties) -> dict[str, Any]:
    statement: dict[str, Any] = {}
    if given.get("sid"):
        statement["Sid"] = given["sid"]
    statement["Effect"] = given.get("effect") or "Allow"
    for name, key in (("actions", "Action"), ("notActions", "NotAction")):
        if given.get(name):
            statement[key] = _list(given[name])
    for name, key in (("resources", "Resource"), ("notResources", "NotResource")):
        if given.get(name):
            statement[key] = _variables(_list(given[name]), args, f"statements[{index}].{name}")
    for name, key in (("principals", "Principal"), ("notPrincipals", "NotPrincipal")):
        if given.get(name):
            statement[key] = _principals(given[name], args)
    if given.get("conditions"):
        statement["Condition"] = _conditions(given["conditions"], args)
    return statement


def _list(values: list[str]) -> Any:
    """One value stands alone; several are sorted backwards, as the AWS provider does."""
    unique = sorted(set(values), reverse=True)
    return unique[0] if len(unique) == 1 else unique


def _variables(value: Any, args: Properties, where: str) -> Any:
    """``&{...}`` is the provider's way to write a policy variable, which needs the present version."""
    texts = value if isinstance(value, list) else [value]
    if any("&{" in text for text in texts) and (args.get("version") or _VERSION) == "2008-10-17":
        raise CheckFailed([(where, "policy variables need the version 2012-10-17")])
    replaced = [text.replace("&{", "${") for text in texts]
    return replaced if isinstance(value, list) else replaced[0]


def _principals(given: list[dict[str, Any]], args: Properties) -> Any:
    result: dict[str, Any] = {}
    for principal in given:
        identifiers = [i.replace("&{", "${") for i in principal["identifiers"]]
        if principal["type"] == "*" and identifiers == ["*"]:
            return "*"
        known = result.get(principal["type"], [])
        merged = sorted({*(known if isinstance(known, list) else [known]), *identifiers}, reverse=True)
        result[principal["type"]] = merged[0] if len(merged) == 1 else merged
    return result


def _conditions(given: list[dict[str, Any]], args: Properties) -> dict[str, Any]:
    result: dict[str, dict[str, Any]] = {}
    for condition in given:
        values = [str(v).replace("&{", "${") for v in condition["values"]]
        keys = result.setdefault(condition["test"], {})
        known = keys.get(condition["variable"])
        merged = [*(known if isinstance(known, list) else [] if known is None else [known]), *values]
        keys[condition["variable"]] = merged[0] if len(merged) == 1 else merged
    return {test: dict(sorted(keys.items())) for test, keys in sorted(result.items())}


FUNCTIONS = (GetPolicyDocument(),)
