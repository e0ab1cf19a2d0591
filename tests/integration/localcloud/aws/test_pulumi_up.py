"""Plain `pulumi` commands with the unmodified `pulumi_aws` SDK on the attached provider."""

from __future__ import annotations

from typing import Any

KEY_AND_BUCKET = """
    provider = aws.Provider("cell", region="us-east-1", default_tags={{"tags": {{"managed-by": "tenantry"}}}})
    opts = pulumi.ResourceOptions(provider=provider)
    key = aws.kms.Key("data", description="{description}", enable_key_rotation=True, deletion_window_in_days=7,
                      tags={{"tenant_id": "acme"}}, opts=opts)
    aws.kms.Alias("data", name="alias/{unique}", target_key_id=key.key_id, opts=opts)
    bucket = aws.s3.Bucket("files", bucket="{bucket}", force_destroy=True, opts=opts)
    aws.s3.BucketServerSideEncryptionConfiguration(
        "files", bucket=bucket.id, opts=opts,
        rules=[{{"apply_server_side_encryption_by_default":
                 {{"sse_algorithm": "aws:kms", "kms_master_key_id": key.arn}}}}])
    pulumi.export("key", key.arn)
    pulumi.export("bucket", bucket.bucket_regional_domain_name)
    pulumi.export("tags", key.tags_all)
"""


def _program(project: Any, **changes: str) -> str:
    values = {"description": "tenant data", "unique": project.unique, "bucket": f"files-{project.unique}"}
    return KEY_AND_BUCKET.format(**{**values, **changes})


def test_up_creates_preview_and_second_up_find_nothing_to_do(project: Any) -> None:
    project.write(_program(project))
    preview = project.run("preview")
    assert "+ 6 to create" in preview  # the stack, the provider and four resources
    aliases = project.client("kms").list_aliases()["Aliases"]
    assert f"alias/{project.unique}" not in {alias["AliasName"] for alias in aliases}, "a preview touches nothing"

    project.up()
    outputs = project.outputs()
    assert outputs["bucket"] == f"files-{project.unique}.s3.us-east-1.amazonaws.com"
    assert outputs["tags"] == {"managed-by": "tenantry", "tenant_id": "acme"}
    encryption = project.client("s3").get_bucket_encryption(Bucket=f"files-{project.unique}")
    rule = encryption["ServerSideEncryptionConfiguration"]["Rules"][0]["ApplyServerSideEncryptionByDefault"]
    assert rule["KMSMasterKeyID"] == outputs["key"]

    assert "6 unchanged" in project.up()
    assert "6 unchanged" in project.run("refresh", "--yes", "--skip-preview")


def test_drift_is_shown_by_refresh_and_repaired_by_up(project: Any) -> None:
    project.up(_program(project))
    key = project.outputs()["key"]
    kms = project.client("kms")
    kms.disable_key_rotation(KeyId=key)
    kms.update_key_description(KeyId=key, Description="somebody was here")

    refreshed = project.run("refresh", "--yes", "--skip-preview", "--diff")
    assert "somebody was here" in refreshed
    repaired = project.up()
    assert "~ 1 updated" in repaired
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"]
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["Description"] == "tenant data"


def test_a_resource_that_is_gone_is_created_anew_after_a_refresh(project: Any) -> None:
    project.up(_program(project))
    project.client("s3").delete_bucket(Bucket=f"files-{project.unique}")
    project.run("refresh", "--yes", "--skip-preview")
    assert f"files-{project.unique}" not in {r["id"] for r in project.resources()}
    project.up()
    project.client("s3").head_bucket(Bucket=f"files-{project.unique}")


def test_a_new_name_replaces_the_bucket_and_what_depends_on_it(project: Any) -> None:
    project.up(_program(project))
    replaced = project.up(_program(project, bucket=f"renamed-{project.unique}"))
    assert "+-2 replaced" in replaced
    buckets = {b["Name"] for b in project.client("s3").list_buckets()["Buckets"]}
    assert f"renamed-{project.unique}" in buckets
    assert f"files-{project.unique}" not in buckets


def test_what_a_check_refuses_is_shown_with_its_property_and_nothing_is_created(project: Any) -> None:
    project.write('aws.kms.Key("data", deletion_window_in_days=3)')
    for refused in (project.run("preview", succeeds=False), project.up(succeeds=False)):
        assert "deletionWindowInDays" in refused
        assert "3 is not between 7 and 30" in refused
    assert project.resources() == []


def test_a_name_that_is_taken_gives_the_clouds_own_error(project: Any) -> None:
    project.client("s3").create_bucket(Bucket=f"files-{project.unique}")
    failed = project.up(_program(project), succeeds=False)
    assert "BucketAlreadyOwnedByYou" in failed
    project.client("s3").delete_bucket(Bucket=f"files-{project.unique}")


def test_providers_of_one_update_act_in_their_own_regions(project: Any) -> None:
    project.up(
        f"""
        for region in ("eu-west-1", "us-west-2"):
            provider = aws.Provider(region, region=region, default_tags={{"tags": {{"cell": region}}}})
            key = aws.kms.Key(region, opts=pulumi.ResourceOptions(provider=provider))
            where = aws.get_region_output(opts=pulumi.InvokeOptions(provider=provider)).region
            pulumi.export(region, [key.arn, key.tags_all["cell"], where])
        pulumi.export("unique", "{project.unique}")
        """
    )
    outputs = project.outputs()
    for region in ("eu-west-1", "us-west-2"):
        arn, tag, where = outputs[region]
        assert arn.split(":")[3] == region
        assert (tag, where) == (region, region)


def test_an_existing_resource_is_imported_by_the_id_of_the_real_provider(project: Any) -> None:
    kms = project.client("kms")
    key = kms.create_key(Description="tenant data")["KeyMetadata"]
    project.up(
        f"""
        key = aws.kms.Key("data", description="tenant data", opts=pulumi.ResourceOptions(import_="{key["KeyId"]}"))
        pulumi.export("key", key.arn)
        """
    )
    assert project.outputs()["key"] == key["Arn"]


def test_importing_what_does_not_exist_fails_clearly(project: Any) -> None:
    failed = project.up(
        'aws.s3.Bucket("b", bucket="no-such-bucket", opts=pulumi.ResourceOptions(import_="no-such-bucket"))',
        succeeds=False,
    )
    assert "does not exist" in failed


def test_a_type_that_is_not_implemented_is_named(project: Any) -> None:
    failed = project.up('aws.dynamodb.Table("t", hash_key="k")', succeeds=False)
    assert "does not implement the resource type aws:dynamodb/table:Table" in failed


def test_secret_values_are_encrypted_in_the_state(project: Any) -> None:
    project.up(
        f"""
        aws.ssm.Parameter("p", name="/{project.unique}/p", type="SecureString", value=pulumi.Output.secret("hunter-2"))
        """
    )
    state = project.run("stack", "export")
    assert "hunter-2" not in state
    assert (
        project.client("ssm").get_parameter(Name=f"/{project.unique}/p", WithDecryption=True)["Parameter"]["Value"]
        == "hunter-2"
    )
