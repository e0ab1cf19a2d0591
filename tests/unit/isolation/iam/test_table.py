"""AWS's documentation as a table of decisions, in ``table/*.yaml``. Expectations come from the page that each cites.

``identity``: statements of one policy, or a list of such for several; ``identity_documents``: whole documents.
``by``: the deciding statements, or (of an implicit deny) what the reason speaks of, alternatives parted by ``|``.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from isolation.iam import AssumedRole, Decision, Grant, PolicyDocument, Principal, Role, User, assume_role, simulate
from isolation.iam.principals import IdentityProvider, Service

TABLE = Path(__file__).parent / "table"
CASES: dict[str, list[dict[str, Any]]] = {
    path.stem: yaml.safe_load(path.read_text()) for path in sorted(TABLE.glob("*.yaml"))
}
DECISIONS = [
    pytest.param(case, id=f"{name}: {case['name']}")
    for name, cases in CASES.items()
    if name != "assume_role"
    for case in cases
]
SESSIONS = [pytest.param(case, id=case["name"]) for case in CASES["assume_role"]]


def document(statements: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": statements}


def documents(statements: list[Any]) -> list[dict[str, Any]]:
    """Of a list of statements, or of such lists."""
    several = statements if not statements or isinstance(statements[0], list) else [statements]
    return [document(each) for each in several]


def check(decision: Decision, case: dict[str, Any]) -> None:
    __tracebackhide__ = True
    assert str(decision.outcome) == case["expect"], decision
    if decision.outcome == "implicit deny":
        assert any(words in decision.reason for words in case["by"].split("|")), decision
    else:
        assert [statement.name for statement in decision.statements] == case["by"], decision


@pytest.mark.parametrize("case", DECISIONS)
def test_decision(case: dict[str, Any]) -> None:
    check(decide(case), case)


def decide(case: dict[str, Any]) -> Decision:
    known = {"name", "page", "expect", "by", "identity", "identity_documents", "boundary", "grants", "at"}
    passed = {"principal", "action", "resource", "resource_account", "role_arn", "principal_tags", "session_tags"}
    policies = {"session_policies", "resource_policy", "service_control_policies", "resource_control_policies"}
    policies |= {"vpc_endpoint_policy"}
    assert set(case) <= known | passed | policies | {"context"}, "a field that no test reads"
    given: dict[str, Any] = {name: case[name] for name in passed if name in case}
    given |= {name: document(case[name]) for name in ("resource_policy", "vpc_endpoint_policy") if name in case}
    for name in ("service_control_policies", "resource_control_policies"):
        given[name] = [[document(each) for each in level] for level in case.get(name, ())]
    return simulate(
        **given,
        identity_policies=case.get("identity_documents") or documents(case.get("identity", ())),
        permissions_boundary=document(case["boundary"]) if "boundary" in case else None,
        session_policies=[document(each) for each in case.get("session_policies", ())],
        grants=[grant(each) for each in case.get("grants", ())],
        context=case.get("context", {}),
        at=datetime.fromisoformat(case["at"]) if "at" in case else None,
    )


def grant(fields: dict[str, Any]) -> Grant:
    operations = frozenset(fields["operations"])
    return Grant("g", fields["grantee"], operations, fields.get("equals"), fields.get("subset"))


@pytest.mark.parametrize("case", SESSIONS)
def test_session(case: dict[str, Any]) -> None:
    optional = ("tags", "transitive", "external_id", "source_identity", "duration", "session_name", "context")
    role = Role(
        "arn:aws:iam::111122223333:role/target",
        PolicyDocument.parse(document(case["trust"]), "trust policy"),
        tags=case.get("role_tags", {}),
        max_session_duration=case.get("max_session_duration", 3600),
    )
    decision, session = assume_role(role, caller(case), **{name: case[name] for name in optional if name in case})
    check(decision, case)
    assert (session is None) == (case["expect"] != "allowed")
    if session is not None and "principal_tags" in case:
        assert session.principal_tags == case["principal_tags"]


def caller(case: dict[str, Any]) -> Principal:
    name, tags = case["principal"], case.get("caller_tags", {})
    policies = tuple(
        PolicyDocument.parse(each, f"identity policy {number}")
        for number, each in enumerate(documents(case["identity"]) if "identity" in case else (), 1)
    )
    if ":assumed-role/" in name:
        role_name, session_name = name.split("/")[1:]
        nobody = PolicyDocument.parse(document([{"Effect": "Deny", "Principal": "*", "Action": "*"}]), "trust")
        role = Role(f"arn:aws:iam::{name.split(':')[4]}:role/{role_name}", nobody, policies, tags=tags)
        made = dict(case.get("session", {}))
        made["transitive"] = frozenset(made.get("transitive", ()))
        return AssumedRole(role, session_name, **made)
    if ":user/" in name:
        return User(name, policies, tags=tags)
    return Service(name) if name.endswith(".amazonaws.com") else IdentityProvider(name)


def test_the_table_is_large_and_every_case_cites_its_page() -> None:
    cases = [case for each in CASES.values() for case in each]
    assert len(cases) >= 150
    assert all(case["page"].startswith("https://docs.aws.amazon.com/") for case in cases)
    names = [(name, case["name"]) for name, each in CASES.items() for case in each]
    assert len(names) == len(set(names))
    assert len({str({**case, "name": ""}) for case in cases}) == len(cases), "two cases are one"


def test_the_table_speaks_of_everything_the_evaluator_decides() -> None:
    text = "".join(path.read_text() for path in TABLE.glob("*.yaml"))
    wanted = [
        "boundary:",
        "session_policies:",
        "resource_policy:",
        "grants:",
        "NotAction",
        "NotResource",
        "NotPrincipal",
    ]
    wanted += ["ForAllValues:", "ForAnyValue:", "IfExists", "Null", "transitive:", "kms:EncryptionContext:", "${"]
    assert [word for word in wanted if word not in text] == []
    outcomes = {case["expect"] for each in CASES.values() for case in each}
    assert outcomes == {"allowed", "explicit deny", "implicit deny"}
