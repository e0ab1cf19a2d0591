"""S3 buckets. What is configured on a bucket by resources of its own is in `s3_configuration`."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Any

from botocore.exceptions import ClientError

from localcloud.aws import s3_configuration
from localcloud.aws.client import Aws
from localcloud.aws.resource import (
    AwsHandler,
    Checks,
    all_tags,
    is_true,
    live_tags,
    missing,
    refusal,
    tag_changes,
    tag_dict,
    tag_list,
)
from providers.base import AutoName, Context, InitializationFailed, Properties

_RESERVED_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_SUFFIXES = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
_HOSTED_ZONES = {
    "us-east-1": "Z3AQBSTGFYJSTF",
    "us-east-2": "Z2O1EMRO9K5GLX",
    "us-west-1": "Z2F56UZL2M1ACD",
    "us-west-2": "Z3BJ6K6RIION7M",
    "ca-central-1": "Z1QDHH18159H29",
    "eu-west-1": "Z1BKCTXD74EZPE",
    "eu-west-2": "Z3GKZC51ZF0DB4",
    "eu-west-3": "Z3R1K369G5AVDG",
    "eu-central-1": "Z21DNDUVLTQW6Q",
    "eu-north-1": "Z3BAZG2TWCNX0D",
    "ap-south-1": "Z11RGJOFQNVJUP",
    "ap-northeast-1": "Z2M4EHUR26P7ZW",
    "ap-southeast-1": "Z3O0J2DXBE1FTB",
    "ap-southeast-2": "Z1WCIGYICN2BYD",
    "sa-east-1": "Z7KQH4QJS55SO",
}
_GONE = ("NoSuchBucket", "404", "NotFound")


class Bucket(AwsHandler):
    token = "aws:s3/bucket:Bucket"
    inputs = frozenset({"forceDestroy", "objectLockEnabled"})
    outputs = frozenset({"arn", "bucketDomainName", "bucketRegion", "bucketRegionalDomainName", "hostedZoneId"})
    replace_on = frozenset({"bucket", "bucketPrefix", "objectLockEnabled"})
    local_inputs = frozenset({"forceDestroy"})
    defaults = MappingProxyType({"forceDestroy": False, "objectLockEnabled": False})
    auto_name = AutoName(
        "bucket",
        63,
        allowed="abcdefghijklmnopqrstuvwxyz0123456789-.",
        lower=True,
        prefix_property="bucketPrefix",
    )

    def validate(self, checks: Checks, inputs: Properties) -> None:
        checks.string(
            "bucket",
            r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])",
            "a bucket name has lower-case letters, digits, dots and hyphens and begins and ends with a letter or digit",
            min=3,
            max=63,
        )
        name = str(checks.known("bucket") or "")
        if ".." in name or re.fullmatch(r"\d+\.\d+\.\d+\.\d+", name):
            checks.fail("bucket", f"{name!r}: a bucket name has no two adjacent dots and is no IP address")
        if name.startswith(_RESERVED_PREFIXES) or name.endswith(_RESERVED_SUFFIXES):
            checks.fail("bucket", f"{name!r} begins or ends with what S3 reserves")
        checks.boolean("forceDestroy", "objectLockEnabled")

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        aws = self.aws(ctx, inputs)
        s3 = aws.client("s3")
        name = inputs["bucket"]
        arguments: dict[str, Any] = {"Bucket": name}
        if aws.region == "us-east-1":
            # S3 answers 200 there to whoever creates a bucket of their own again: it would be taken over silently.
            _require_absent(s3, name)
        else:
            arguments["CreateBucketConfiguration"] = {"LocationConstraint": aws.region}
        if is_true(inputs.get("objectLockEnabled")):
            arguments["ObjectLockEnabledForBucket"] = True
        s3.create_bucket(**arguments)
        outputs = {**_outputs(aws, name), "tagsAll": all_tags(inputs)}
        try:
            if all_tags(inputs):
                s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": tag_list(all_tags(inputs))})
        except ClientError as error:
            raise InitializationFailed(name, outputs, [str(error)]) from error
        return name, outputs

    def planned(self, ctx: Context[Aws], inputs: Properties, state: Properties | None) -> Properties:
        known = super().planned(ctx, inputs, state)
        name = inputs.get("bucket")
        return {**known, **_outputs(self.aws(ctx, inputs), name)} if isinstance(name, str) else known

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        s3 = aws.client("s3")
        try:
            s3.head_bucket(Bucket=id)
        except ClientError as error:
            if missing(error, *_GONE):
                return None
            raise
        try:
            tags = tag_dict(s3.get_bucket_tagging(Bucket=id)["TagSet"])
        except ClientError as error:
            if not missing(error, "NoSuchTagSet"):
                raise
            tags = {}
        live: Properties = {"bucket": id, **live_tags(aws, tags, inputs)}
        if _has_object_lock(s3, id):
            live["objectLockEnabled"] = True
        return id, live, {**_outputs(aws, id), "tagsAll": tags}

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        s3 = self.aws(ctx, state).client("s3")
        if any(tag_changes(state, inputs)):
            if all_tags(inputs):
                s3.put_bucket_tagging(Bucket=id, Tagging={"TagSet": tag_list(all_tags(inputs))})
            else:
                s3.delete_bucket_tagging(Bucket=id)
        return {"tagsAll": all_tags(inputs)}

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        s3 = self.aws(ctx, state).client("s3")
        try:
            if is_true(state.get("forceDestroy")):
                _empty(ctx, s3, id)
            s3.delete_bucket(Bucket=id)
        except ClientError as error:
            if missing(error, *_GONE):
                return
            if missing(error, "BucketNotEmpty"):
                raise refusal(
                    "DeleteBucket",
                    "BucketNotEmpty",
                    f"the bucket {id} still has objects or versions: delete them, or set forceDestroy and update first",
                ) from error
            raise


def _outputs(aws: Aws, name: str) -> Properties:
    return {
        "arn": aws.arn("s3", name, region=False, account=False),
        "bucketDomainName": f"{name}.s3.amazonaws.com",
        "bucketRegion": aws.region,
        "bucketRegionalDomainName": f"{name}.s3.{aws.region}.amazonaws.com",
        "hostedZoneId": _HOSTED_ZONES.get(aws.region),
        "region": aws.region,
    }


def _require_absent(s3: Any, name: str) -> None:
    try:
        s3.head_bucket(Bucket=name)
    except ClientError as error:
        if missing(error, *_GONE):
            return
        if not missing(error, "403", "AccessDenied", "Forbidden"):
            raise
        raise refusal("CreateBucket", "BucketAlreadyExists", f"the bucket name {name} is taken") from error
    raise refusal("CreateBucket", "BucketAlreadyOwnedByYou", f"the bucket {name} exists already and is yours")


def _has_object_lock(s3: Any, name: str) -> bool:
    try:
        configuration = s3.get_object_lock_configuration(Bucket=name)["ObjectLockConfiguration"]
    except ClientError as error:
        if missing(error, "ObjectLockConfigurationNotFoundError", "NoSuchObjectLockConfiguration", "InvalidRequest"):
            return False
        raise
    return bool(configuration.get("ObjectLockEnabled") == "Enabled")


def _empty(ctx: Context[Aws], s3: Any, name: str) -> None:
    """Delete every version and delete marker, a thousand a call."""
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
        ctx.wait(0)
        found = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        if not found:
            continue
        keys = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found]
        errors = s3.delete_objects(Bucket=name, Delete={"Objects": keys, "Quiet": True}).get("Errors")
        if errors:
            first = errors[0]
            raise refusal("DeleteObjects", first["Code"], f"{first['Key']}: {first['Message']}")


HANDLERS = (Bucket(), *s3_configuration.HANDLERS)
