"""What is configured on an S3 bucket by resources of its own: each is one PUT, one GET and one DELETE on the bucket."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from localcloud.aws.client import Aws
from localcloud.aws.kms import usable_key
from localcloud.aws.policy import Kind, check_policy, is_public
from localcloud.aws.resource import AwsHandler, Checks, is_true, missing, refusal
from localcloud.aws.s3_lifecycle import from_api, to_api
from providers.base import Context, Properties, require

_POLICY_BYTES = 20 * 1024
_BUCKET_NAME = r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])"


class BucketPart(AwsHandler):
    """The id is the bucket's name, and ``,<account>`` behind it if the program names the expected owner."""

    tagged = False
    required = frozenset({"bucket"})
    replace_on = frozenset({"bucket"})
    name_property = "bucket"
    inputs = frozenset({"bucket"})
    #: what S3 answers to GET when there is no such configuration
    absent: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.replace_on |= cls.inputs & {"expectedBucketOwner"}

    def put(self, aws: Aws, bucket: dict[str, str], inputs: Properties) -> None:
        raise NotImplementedError

    def get(self, aws: Aws, bucket: dict[str, str], inputs: Properties) -> Properties | None:
        """The live inputs without the bucket, or None."""
        raise NotImplementedError

    def remove(self, aws: Aws, bucket: dict[str, str]) -> None:
        raise NotImplementedError

    def check(self, ctx: Context[Aws], inputs: Properties, old_inputs: Properties) -> Properties:
        checked = super().check(ctx, inputs, old_inputs)
        checks = Checks(checked)
        checks.string("bucket", _BUCKET_NAME, "is no bucket name", min=3, max=63)
        checks.string("expectedBucketOwner", r"\d{12}", "is no account id")
        require(checks.failures)
        return checked

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        aws = self.aws(ctx, inputs)
        self.put(aws, _address(inputs), inputs)
        owner = inputs.get("expectedBucketOwner")
        return inputs["bucket"] + (f",{owner}" if owner else ""), {"region": aws.region}

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        bucket, _, owner = id.partition(",")
        named = {"bucket": bucket, **({"expectedBucketOwner": owner} if owner else {})}
        try:
            live = self.get(aws, _address(named), inputs)
        except ClientError as error:
            if missing(error, "NoSuchBucket", "404", *self.absent):
                return None
            raise
        return None if live is None else (id, {**named, **live}, {"region": aws.region})

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        self.put(self.aws(ctx, state), _address(inputs), inputs)
        return {}

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        try:
            self.remove(self.aws(ctx, state), _address(state))
        except ClientError as error:
            if not missing(error, "NoSuchBucket", "404", *self.absent):
                raise


def _address(properties: Properties) -> dict[str, str]:
    owner = properties.get("expectedBucketOwner")
    return {"Bucket": properties["bucket"], **({"ExpectedBucketOwner": owner} if owner else {})}


class BucketVersioning(BucketPart):
    token = "aws:s3/bucketVersioning:BucketVersioning"
    inputs = frozenset({"bucket", "expectedBucketOwner", "mfa", "versioningConfiguration"})
    required = frozenset({"bucket", "versioningConfiguration"})
    local_inputs = frozenset({"mfa"})

    def validate(self, checks: Checks, inputs: Properties) -> None:
        status = (checks.known("versioningConfiguration") or {}).get("status")
        if checks.known("versioningConfiguration") is not None and status not in ("Enabled", "Suspended", "Disabled"):
            checks.fail("versioningConfiguration.status", f"{status!r} is not one of Enabled, Suspended, Disabled")

    def put(self, aws: Aws, bucket: dict[str, str], inputs: Properties) -> None:
        wanted = inputs["versioningConfiguration"]
        if wanted["status"] == "Disabled":
            # Versioning that was once on can only be suspended.
            if aws.client("s3").get_bucket_versioning(**bucket).get("Status"):
                raise refusal("PutBucketVersioning", "InvalidBucketState", "versioning can be suspended, not disabled")
            return
        configuration = {"Status": wanted["status"]}
        mfa = {"MFA": inputs["mfa"]} if "mfa" in inputs else {}
        if wanted.get("mfaDelete"):
            configuration["MFADelete"] = wanted["mfaDelete"]
        aws.client("s3").put_bucket_versioning(**bucket, **mfa, VersioningConfiguration=configuration)

    def get(self, aws: Aws, bucket: dict[str, str], inputs: Properties) -> Properties | None:
        live = aws.client("s3").get_bucket_versioning(**bucket)
        declared = inputs.get("versioningConfiguration", {})
        if "Status" not in live and declared.get("status") != "Disabled":
            return None
        configuration = {"status": live.get("Status", "Disabled")}
        if live.get("MFADelete", "Disabled") != "Disabled" or "mfaDelete" in declared:
            configuration["mfaDelete"] = live.get("MFADelete", "Disabled")
        return {"versioningConfiguration": configuration}

    def remove(self, aws: Aws, bucket: dict[str, str]) -> None:
        aws.client("s3").put_bucket_versioning(**bucket, VersioningConfiguration={"Status": "Suspended"})


class BucketServerSideEncryptionConfiguration(BucketPart):
    token = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    inputs = frozenset({"bucket", "expectedBucketOwner", "rules"})
    required = frozenset({"bucket", "rules"})
    absent = ("ServerSideEncryptionConfigurationNotFoundError",)

    def validate(self, checks: Checks, inputs: Properties) -> None:
        for index, rule in enumerate(checks.known("rules") or []):
            default = rule.get("applyServerSideEncryptionByDefault") or {}
            algorithm = default.get("sseAlgorithm")
            where = f"rules[{index}].applyServerSideEncryptionByDefault"
            if default and algorithm not in ("AES256", "aws:kms", "aws:kms:dsse"):
                checks.fail(f"{where}.sseAlgorithm", f"{algorithm!r} is not one of AES256, aws:kms, aws:kms:dsse")
            if algorithm == "AES256" and default.get("kmsMasterKeyId"):
                checks.fail(f"{where}.kmsMasterKeyId", "goes with aws:kms only")

    def put(self, aws: Aws, bucket: dict[str, str], inputs: Properties) -> None:
        rules = []
        for rule in inputs["rules"]:
            default = rule.get("applyServerSideEncryptionByDefault") or {}
            api: dict[str, Any] = {"BucketKeyEnabled": is_true(rule.get("bucketKeyEnabled"))}
            if default:
                api["ApplyServerSideEncryptionByDefault"] = {"SSEAlgorithm": default["sseAlgorithm"]}
            if default.get("kmsMasterKeyId"):
                usable_key(aws, default["kmsMasterKeyId"], "PutBucketEncryption")
                api["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] = default["kmsMasterKeyId"]
            rules.append(api)
        aws.client("s3").put_bucket_encryption(**bucket, ServerSideEncryptionConfiguration={"Rules": rules})

    def get(self, aws: Aws, bucket: dict[str, str], inputs: Properties) -> Properties | None:
        live = aws.client("s3").get_bucket_encryption(**bucket)["ServerSideEncryptionConfiguration"]["Rules"]
        rules = []
        for index, rule in enumerate(live):
            api = rule.get("ApplyServerSideEncryptionByDefault", {})
            default = {"sseAlgorithm": api.get("SSEAlgorithm")}
            if api.get("KMSMasterKeyID"):
                default["kmsMasterKeyId"] = api["KMSMasterKeyID"]
            result: Properties = {"applyServerSideEncryptionByDefault": default}
            declared = inputs.get("rules", [])
            named = index < len(declared) and "bucketKeyEnabled" in declared[index]
            if rule.get("BucketKeyEnabled") or named:
                result["bucketKeyEnabled"] = bool(rule.get("BucketKeyEnabled"))
            rules.append(result)
        return {"rules": rules}

    def remove(self, aws: Aws, bucket: dict[str, str]) -> None:
        aws.client("s3").delete_bucket_encryption(**bucket)


class BucketPublicAccessBlock(BucketPart):
    token = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
    _flags: ClassVar[dict[str, str]] = {
        "blockPublicAcls": "BlockPublicAcls",
        "blockPublicPolicy": "BlockPublicPolicy",
        "ignorePublicAcls": "IgnorePublicAcls",
        "restrictPublicBuckets": "RestrictPublicBuckets",
    }
    inputs = frozenset({"bucket", "skipDestroy", *_flags})
    defaults = MappingProxyType({**dict.fromkeys(_flags, False), "skipDestroy": False})
    local_inputs = frozenset({"skipDestroy"})
    absent = ("NoSuchPublicAccessBlockConfiguration",)

    def validate(self, checks: Checks, inputs: Properties) -> None:
        checks.boolean(*self._flags)

    def put(self, aws: Aws, bucket: dict[str, str], inputs: Properties) -> None:
        flags = {api: is_true(inputs.get(name)) for name, api in self._flags.items()}
        aws.client("s3").put_public_access_block(**bucket, PublicAccessBlockConfiguration=flags)

    def get(self, aws: Aws, bucket: dict[str, str], inputs: Properties) -> Properties | None:
        live = aws.client("s3").get_public_access_block(**bucket)["PublicAccessBlockConfiguration"]
        return {name: bool(live.get(api)) for name, api in self._flags.items()}

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        if not is_true(state.get("skipDestroy")):
            super().delete(ctx, id, state)

    def remove(self, aws: Aws, bucket: dict[str, str]) -> None:
        aws.client("s3").delete_public_access_block(**bucket)


class BucketPolicy(BucketPart):
    token = "aws:s3/bucketPolicy:BucketPolicy"
    inputs = frozenset({"bucket", "policy"})
    required = frozenset({"bucket", "policy"})
    json_properties = frozenset({"policy"})
    absent = ("NoSuchBucketPolicy",)

    def validate(self, checks: Checks, inputs: Properties) -> None:
        check_policy(checks, "policy", Kind.RESOURCE, max_bytes=_POLICY_BYTES)

    def put(self, aws: Aws, bucket: dict[str, str], inputs: Properties) -> None:
        if is_public(inputs["policy"]) and _blocks_public_policies(aws, bucket):
            raise refusal(
                "PutBucketPolicy",
                "AccessDenied",
                "the policy is public and the bucket's public access block has BlockPublicPolicy",
            )
        aws.client("s3").put_bucket_policy(**bucket, Policy=inputs["policy"])

    def get(self, aws: Aws, bucket: dict[str, str], inputs: Properties) -> Properties | None:
        return {"policy": aws.client("s3").get_bucket_policy(**bucket)["Policy"]}

    def remove(self, aws: Aws, bucket: dict[str, str]) -> None:
        aws.client("s3").delete_bucket_policy(**bucket)


def _blocks_public_policies(aws: Aws, bucket: dict[str, str]) -> bool:
    try:
        live = aws.client("s3").get_public_access_block(**bucket)["PublicAccessBlockConfiguration"]
    except ClientError as error:
        if missing(error, *BucketPublicAccessBlock.absent):
            return False
        raise
    return bool(live.get("BlockPublicPolicy"))


class BucketOwnershipControls(BucketPart):
    token = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
    inputs = frozenset({"bucket", "rule"})
    required = frozenset({"bucket", "rule"})
    absent = ("OwnershipControlsNotFoundError",)

    def validate(self, checks: Checks, inputs: Properties) -> None:
        ownership = (checks.known("rule") or {}).get("objectOwnership")
        allowed = ("BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter")
        if checks.known("rule") is not None and ownership not in allowed:
            checks.fail("rule.objectOwnership", f"{ownership!r} is not one of {', '.join(allowed)}")

    def put(self, aws: Aws, bucket: dict[str, str], inputs: Properties) -> None:
        rule = {"ObjectOwnership": inputs["rule"]["objectOwnership"]}
        aws.client("s3").put_bucket_ownership_controls(**bucket, OwnershipControls={"Rules": [rule]})

    def get(self, aws: Aws, bucket: dict[str, str], inputs: Properties) -> Properties | None:
        rules = aws.client("s3").get_bucket_ownership_controls(**bucket)["OwnershipControls"]["Rules"]
        return {"rule": {"objectOwnership": rules[0]["ObjectOwnership"]}} if rules else None

    def remove(self, aws: Aws, bucket: dict[str, str]) -> None:
        aws.client("s3").delete_bucket_ownership_controls(**bucket)


class BucketLogging(BucketPart):
    token = "aws:s3/bucketLogging:BucketLogging"
    inputs = frozenset({"bucket", "expectedBucketOwner", "targetBucket", "targetPrefix"})
    required = frozenset({"bucket", "targetBucket", "targetPrefix"})

    def put(self, aws: Aws, bucket: dict[str, str], inputs: Properties) -> None:
        target = {"TargetBucket": inputs["targetBucket"], "TargetPrefix": inputs["targetPrefix"]}
        aws.client("s3").put_bucket_logging(**bucket, BucketLoggingStatus={"LoggingEnabled": target})

    def get(self, aws: Aws, bucket: dict[str, str], inputs: Properties) -> Properties | None:
        live = aws.client("s3").get_bucket_logging(**bucket).get("LoggingEnabled")
        return {"targetBucket": live["TargetBucket"], "targetPrefix": live.get("TargetPrefix", "")} if live else None

    def remove(self, aws: Aws, bucket: dict[str, str]) -> None:
        aws.client("s3").put_bucket_logging(**bucket, BucketLoggingStatus={})


class BucketLifecycleConfiguration(BucketPart):
    token = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
    inputs = frozenset({"bucket", "expectedBucketOwner", "rules"})
    required = frozenset({"bucket", "rules"})
    absent = ("NoSuchLifecycleConfiguration",)

    def validate(self, checks: Checks, inputs: Properties) -> None:
        rules = checks.known("rules")
        if rules is None:
            return
        if not 1 <= len(rules) <= 1000:
            checks.fail("rules", f"{len(rules)} rules; 1 to 1000 are allowed")
        seen: set[str] = set()
        for index, rule in enumerate(rules):
            where = f"rules[{index}]"
            if rule.get("status") not in ("Enabled", "Disabled"):
                checks.fail(f"{where}.status", f"{rule.get('status')!r} is not one of Enabled, Disabled")
            if not rule.get("id") or len(rule["id"]) > 255 or rule["id"] in seen:
                checks.fail(f"{where}.id", "must be a unique text of 1 to 255 characters")
            seen.add(str(rule.get("id")))
            actions = {"abortIncompleteMultipartUpload", "expiration", "noncurrentVersionExpiration"}
            if (
                not actions & rule.keys()
                and not rule.get("transitions")
                and not rule.get("noncurrentVersionTransitions")
            ):
                checks.fail(where, "has no action: give an expiration, a transition or an abort of uploads")

    def put(self, aws: Aws, bucket: dict[str, str], inputs: Properties) -> None:
        rules = [to_api(rule) for rule in inputs["rules"]]
        aws.client("s3").put_bucket_lifecycle_configuration(**bucket, LifecycleConfiguration={"Rules": rules})

    def get(self, aws: Aws, bucket: dict[str, str], inputs: Properties) -> Properties | None:
        live = aws.client("s3").get_bucket_lifecycle_configuration(**bucket)["Rules"]
        rules = [from_api(rule) for rule in live]
        declared = inputs.get("rules", [])
        # Spelled differently but meaning the same (an empty filter, a prefix): the program's own words stay.
        if [from_api(to_api(rule)) for rule in declared] == rules:
            rules = declared
        return {"rules": rules}

    def remove(self, aws: Aws, bucket: dict[str, str]) -> None:
        aws.client("s3").delete_bucket_lifecycle(**bucket)


HANDLERS = (
    BucketVersioning(),
    BucketServerSideEncryptionConfiguration(),
    BucketPublicAccessBlock(),
    BucketPolicy(),
    BucketOwnershipControls(),
    BucketLogging(),
    BucketLifecycleConfiguration(),
)
