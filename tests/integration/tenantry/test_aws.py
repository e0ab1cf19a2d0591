"""AWS credentials of the broker, and files in what is the tenant's own: sync and async alike."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.postgres import Cluster
from tenantry import InvalidFileName, Tenantry, TenantSuspended, UnknownTenant
from tenantry.aws import MANDATORY_REFRESH
from tenantry.files import TenantFiles, encryption_arguments
from tests.integration.isolation.estate import Estate, make_estate
from tests.integration.tenantry.conftest import AsyncDriver, Driver, SyncDriver
from tests.unit.tenantry.placements import placement

ALL = ("acme", "globex", "initech", "hooli")


@pytest.fixture(scope="module")
def estate(postgres_server: Cluster, moto_server: str, service_directory: Path) -> Iterator[Estate]:
    tenants = {"acme": "pool", "globex": "pool", "initech": "bridge", "hooli": "silo"}
    with make_estate(postgres_server, moto_server, service_directory, tenants) as made:
        yield made


@pytest.fixture(params=[SyncDriver, AsyncDriver], ids=["sync", "async"])
def sdk(request: pytest.FixtureRequest, estate: Estate) -> Iterator[Driver]:
    driver = request.param(estate.config(listen=False))
    yield driver
    driver.close()


@pytest.mark.parametrize("tenant", ALL)
def test_a_session_is_the_tenants_role_and_named_after_it(sdk: Driver, estate: Estate, tenant: str) -> None:
    role = estate.tenants[tenant].role_arn.rsplit("/", 1)[1]
    identity = sdk.aws(tenant).client("sts").get_caller_identity()
    assert identity["Arn"].endswith(f":assumed-role/{role}/tenantry-{tenant}")


@pytest.mark.parametrize("tenant", ALL)
def test_files_lie_where_the_tenants_stack_says(sdk: Driver, estate: Estate, tenant: str) -> None:
    outputs, files = estate.tenants[tenant], sdk.files(tenant)
    assert (files.bucket, files.prefix) == (outputs.bucket, outputs.prefix)
    files.put("a/b.txt", b"content", content_type="text/plain")
    found = estate.aws.client("s3").head_object(Bucket=outputs.bucket, Key=f"{outputs.prefix}a/b.txt")
    assert found["ContentType"] == "text/plain"
    assert (found["ServerSideEncryption"], found["SSEKMSKeyId"]) == ("aws:kms", outputs.kms_key_arn)
    assert files.get("a/b.txt") == b"content"
    files.delete("a/b.txt")
    files.delete("a/b.txt")
    with pytest.raises(FileNotFoundError):
        files.get("a/b.txt")


def test_listings_show_names_without_the_prefix_and_nobody_elses(sdk: Driver) -> None:
    for tenant in ALL:
        files = sdk.files(tenant)
        for name in ("reports/1", "reports/2", f"of-{tenant}"):
            files.put(name, b"x")
    for tenant in ALL:
        names = [each.name for each in sdk.files(tenant).list()]
        assert names == [f"of-{tenant}", "reports/1", "reports/2"]
        assert [each.name for each in sdk.files(tenant).list("reports/")] == ["reports/1", "reports/2"]


def test_the_encryption_context_names_the_tenant(sdk: Driver, estate: Estate) -> None:
    arguments = encryption_arguments(sdk.placement("acme"))
    assert json.loads(base64.b64decode(arguments["SSEKMSEncryptionContext"])) == {"tenant_id": "acme"}
    assert arguments["SSEKMSKeyId"] == estate.tenants["acme"].kms_key_arn


@pytest.mark.parametrize(
    "name", ["", "/x", "../globex/x", "a/../../x", "a//b", "./x", "a\\b", "a\nb", "\ud800", "x" * 1100, "a/.", ".."]
)
def test_names_that_lead_out_are_refused_before_s3_is_asked(sdk: Driver, name: str) -> None:
    files = sdk.files("acme")
    for use in (files.get, files.delete, lambda each: files.put(each, b"x")):
        with pytest.raises(InvalidFileName):
            use(name)


def test_no_credentials_for_who_does_not_stand(sdk: Driver, estate: Estate) -> None:
    with pytest.raises(UnknownTenant):
        sdk.aws("nobody")
    with estate.server.admin(estate.control) as admin:
        admin.execute("UPDATE registry.placement SET access = 'suspended' WHERE tenant_id = 'globex'")
        try:
            with pytest.raises(TenantSuspended):
                sdk.files("globex")
        finally:
            admin.execute("UPDATE registry.placement SET access = 'full' WHERE tenant_id = 'globex'")


def _credentials(sdk: Tenantry) -> Any:
    return sdk.aws("acme").get_credentials()


def test_credentials_are_shared_by_sessions_and_renewed_before_they_expire(
    estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued: list[str] = []
    with Tenantry(estate.config(listen=False)) as sdk:
        broker: Any = sdk._broker
        genuine = broker.aws

        def counted(tenant_id: str) -> Any:
            issued.append(tenant_id)
            return genuine(tenant_id)

        monkeypatch.setattr(broker, "aws", counted)
        first, second = _credentials(sdk), _credentials(sdk)
        assert second is first
        assert issued == ["acme"]
        first._expiry_time = datetime.now(UTC) + timedelta(seconds=MANDATORY_REFRESH - 1)
        first.get_frozen_credentials()
        assert issued == ["acme", "acme"]


def test_a_missing_file_is_told_from_one_that_may_not_be_read() -> None:
    """S3 answers AccessDenied to both unless the caller may list the whole bucket."""
    denied = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetObject")

    class S3:
        def __init__(self, contents: list[dict[str, Any]] | None) -> None:
            self.contents = contents

        def get_object(self, **arguments: Any) -> Any:
            raise denied

        def list_objects_v2(self, **arguments: Any) -> Any:
            if self.contents is None:
                raise denied
            return {"Contents": self.contents}

    with pytest.raises(FileNotFoundError):
        TenantFiles(S3([]), placement("acme")).get("x")
    with pytest.raises(FileNotFoundError):
        TenantFiles(S3([{"Key": "acme/x2"}]), placement("acme")).get("x")
    for contents in ([{"Key": "acme/x"}], None):
        with pytest.raises(ClientError):
            TenantFiles(S3(contents), placement("acme")).get("x")
