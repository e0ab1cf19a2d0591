"""Builders for policy tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isolation.iam import AssumedRole, PolicyDocument, Role, User

ACCOUNT = "111122223333"
OTHER = "444455556666"


def document(*statements: Mapping[str, Any], source: str = "policy", version: str = "2012-10-17") -> PolicyDocument:
    return PolicyDocument.parse({"Version": version, "Statement": list(statements)}, source)


def allow(action: Any = "s3:GetObject", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any = "s3:GetObject", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {**allow(action, resource, **more), "Effect": "Deny"}


def trust(principal: Any = None, *actions: str, **more: Any) -> PolicyDocument:
    return document(
        {
            "Effect": "Allow",
            "Principal": principal or {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
            "Action": list(actions) or ["sts:AssumeRole", "sts:TagSession"],
            **more,
        },
        source="trust",
    )


def role(*statements: Mapping[str, Any], account: str = ACCOUNT, name: str = "app", **more: Any) -> Role:
    policies = (document(*statements, source="identity"),) if statements else ()
    return Role(f"arn:aws:iam::{account}:role/{name}", more.pop("trust", trust()), policies, **more)


def session(*statements: Mapping[str, Any], tags: Mapping[str, str] | None = None, **more: Any) -> AssumedRole:
    session_policies = more.pop("session_policies", ())
    return AssumedRole(role(*statements, **more), "s1", tags or {}, session_policies=session_policies)


def user(*statements: Mapping[str, Any], account: str = ACCOUNT, **more: Any) -> User:
    policies = (document(*statements, source="identity"),) if statements else ()
    return User(f"arn:aws:iam::{account}:user/alice", policies, **more)
