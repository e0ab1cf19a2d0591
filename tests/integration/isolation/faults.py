"""Ways to break isolation on purpose, each undone at the end of its block."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from tests.integration.isolation.estate import Estate

Break = Callable[[Estate], AbstractContextManager[None]]
ANYBODY = {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}


def statements(tenant: str, broken: str, mended: str) -> Break:
    """As the superuser in the database of ``tenant``; names in braces are filled in."""

    @contextmanager
    def breaking(estate: Estate) -> Iterator[None]:
        names = {
            f"{each}_{what}": getattr(outputs, what)
            for each, outputs in estate.tenants.items()
            for what in ("db_schema", "login")
        } | {f"{each}_database": outputs.database.name for each, outputs in estate.tenants.items()}
        names |= {
            "owner": estate.pool_login.replace("_app_", "_owner_"),
            "definer": f"{estate.shared_database}_tenantry",
        }
        with estate.owner(tenant) as admin:
            admin.execute(broken.format(**names).encode())
            try:
                yield
            finally:
                admin.execute(mended.format(**names).encode())

    return breaking


def role_name(estate: Estate, tenant: str) -> str:
    return estate.tenants[tenant].role_arn.rsplit("/", 1)[1]


def _changed(document: dict[str, Any] | str, change: Callable[[dict[str, Any]], None]) -> str:
    parsed = json.loads(document) if isinstance(document, str) else json.loads(json.dumps(document))
    change(parsed)
    return json.dumps(parsed)


def sid(document: dict[str, Any], name: str) -> dict[str, Any]:
    """The statement of that Sid."""
    found: dict[str, Any] = next(each for each in document["Statement"] if each["Sid"] == name)
    return found


def without_condition(name: str, operator: str, key: str | None = None) -> Callable[[dict[str, Any]], None]:
    """Drops a condition of a statement, or one key of it."""

    def change(document: dict[str, Any]) -> None:
        condition = sid(document, name)["Condition"]
        if key is None:
            del condition[operator]
        else:
            del condition[operator][key]
            if not condition[operator]:
                del condition[operator]

    return change


def without_statement(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["Statement"].remove(sid(document, name))


def with_statement(statement: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["Statement"].append(statement)


def with_action(name: str, action: str) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        statement = sid(document, name)
        actions = statement["Action"]
        statement["Action"] = [*([actions] if isinstance(actions, str) else actions), action]

    return change


def trust(tenant: str, change: Callable[[dict[str, Any]], None]) -> Break:
    @contextmanager
    def breaking(estate: Estate) -> Iterator[None]:
        iam, name = estate.aws.client("iam"), role_name(estate, tenant)
        before = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=_changed(before, change))
        try:
            yield
        finally:
            iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(before))

    return breaking


def role_policy(tenant: str, change: Callable[[dict[str, Any]], None]) -> Break:
    @contextmanager
    def breaking(estate: Estate) -> Iterator[None]:
        iam, policy = estate.aws.client("iam"), {"RoleName": role_name(estate, tenant), "PolicyName": "tenant-data"}
        before = iam.get_role_policy(**policy)["PolicyDocument"]
        iam.put_role_policy(**policy, PolicyDocument=_changed(before, change))
        try:
            yield
        finally:
            iam.put_role_policy(**policy, PolicyDocument=json.dumps(before))

    return breaking


def boundary(change: Callable[[dict[str, Any]], None]) -> Break:
    @contextmanager
    def breaking(estate: Estate) -> Iterator[None]:
        iam, arn = estate.aws.client("iam"), estate.installation_known().platforms[0].permissions_boundary_arn
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        before = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        made = iam.create_policy_version(PolicyArn=arn, PolicyDocument=_changed(before, change), SetAsDefault=True)
        try:
            yield
        finally:
            iam.set_default_policy_version(PolicyArn=arn, VersionId=version)
            iam.delete_policy_version(PolicyArn=arn, VersionId=made["PolicyVersion"]["VersionId"])

    return breaking


def bucket_policy(tenant: str, change: Callable[[dict[str, Any]], None]) -> Break:
    @contextmanager
    def breaking(estate: Estate) -> Iterator[None]:
        s3, bucket = estate.aws.client("s3"), estate.tenants[tenant].bucket
        before = s3.get_bucket_policy(Bucket=bucket)["Policy"]
        s3.put_bucket_policy(Bucket=bucket, Policy=_changed(before, change))
        try:
            yield
        finally:
            s3.put_bucket_policy(Bucket=bucket, Policy=before)

    return breaking


def key_policy(tenant: str, change: Callable[[dict[str, Any]], None]) -> Break:
    @contextmanager
    def breaking(estate: Estate) -> Iterator[None]:
        kms, key = estate.aws.client("kms"), estate.tenants[tenant].kms_key_arn.rsplit("/", 1)[1]
        before = kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]
        kms.put_key_policy(KeyId=key, PolicyName="default", Policy=_changed(before, change))
        try:
            yield
        finally:
            kms.put_key_policy(KeyId=key, PolicyName="default", Policy=before)

    return breaking


def calls(service: str, broken: Callable[[Any, Estate], Any], mended: Callable[[Any, Estate, Any], Any]) -> Break:
    """``mended`` gets what ``broken`` returned."""

    @contextmanager
    def breaking(estate: Estate) -> Iterator[None]:
        client = estate.aws.client(service)
        made = broken(client, estate)
        try:
            yield
        finally:
            mended(client, estate, made)

    return breaking
