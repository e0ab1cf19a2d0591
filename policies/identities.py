"""The policies of identities that a resource carries, whatever the resource is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from policies.documents import Malformed, Statement, statements
from policies.model import Facts, Resource

POLICIES = (
    "aws:iam/policy:Policy",
    "aws:iam/rolePolicy:RolePolicy",
    "aws:iam/userPolicy:UserPolicy",
    "aws:iam/groupPolicy:GroupPolicy",
    "aws:iam/role:Role",  # inlinePolicies
    "aws:ssoadmin/permissionSetInlinePolicy:PermissionSetInlinePolicy",
)


def documents(resource: Resource) -> Iterator[tuple[str, Any]]:
    """Each policy of an identity on the resource: what it is called in a message, and the document."""
    properties = resource.properties
    if resource.type == "aws:iam/role:Role":
        for index, each in enumerate(properties.get("inlinePolicies") or []):
            if each.get("policy") is not None:
                yield f"its inline policy {each.get('name') or index + 1}", each["policy"]
    elif resource.type.startswith("aws:ssoadmin/"):
        yield "its policy", properties.get("inlinePolicy")
    else:
        yield "its policy", properties.get("policy")


def of_each_statement(judge: Callable[[Statement, Resource, Facts], Iterator[str]]) -> Any:
    """A resource check that asks ``judge`` about each statement, and reports documents that AWS would refuse."""

    def check(resource: Resource, facts: Facts) -> Iterator[str]:
        for what, value in documents(resource):
            try:
                found = statements(value)
            except Malformed as wrong:
                yield f"{what} {wrong}"
                continue
            for statement in found:
                for message in judge(statement, resource, facts):
                    yield f"{what}, {statement.name}: {message}"

    return check
