"""What each tier's stack holds, and that two tenants never meet in it."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from components.app_schema import AppMigrations
from components.naming import Names
from components.spec import ENFORCED_ACCESS, Access, Environment, InstanceSpec, TenantOutputs
from components.tags import REQUIRED_TAGS
from components.tenants import COMPONENTS, component_for
from components.tenants.tenant import TenantArgs
from components.tiers import Tier
from stacks import tenant
from tests.unit.components.recording import ACCOUNT, BROKER, PLATFORM, Recorded, Run, run, tenant_spec

MIGRATIONS = AppMigrations(
    "/srv/app_schema",
    tuple({"version": version, "name": f"step{version}", "sha256": f"{version:064x}"} for version in (1, 2, 3)),
)
UNTAGGED = {
    "InstanceDesiredState",
    "Alias",
    "BucketLifecycleConfiguration",
    "BucketOwnershipControls",
    "BucketPolicy",
    "BucketPublicAccessBlock",
    "BucketServerSideEncryptionConfiguration",
    "BucketVersioning",
    "RolePolicy",
}
"""AWS has no tags for these."""


@cache
def declared(tier: Tier, tenant_id: str = "acme", **changes: Any) -> Run:
    spec = tenant_spec(tier, tenant_id=tenant_id, app_schema_version=3, **changes)
    return run(lambda: tenant.program(spec, PLATFORM, MIGRATIONS), stack_name=spec.stack_name)


def aws(program: Run) -> list[Recorded]:
    return [each for each in program.custom if each.type.startswith("aws:")]


def test_every_tier_has_a_component_of_that_tier() -> None:
    assert set(COMPONENTS) == set(Tier)
    for tier in Tier:
        assert component_for(tier).TIER is tier


def test_a_pool_tenant_is_a_registration_and_nothing_else() -> None:
    program = declared(Tier.POOL)
    assert [each.type for each in program.custom] == ["tenantry-postgres:index:PoolTenant"]
    registration = program.one("PoolTenant")
    assert registration.inputs == {
        "database": "tenantry",
        "schema": "pool",
        "tenantId": "acme",
        "epoch": 1,
        "access": "full",
    }
    assert program.result == TenantOutputs.model_validate(
        {
            "tenant_id": "acme",
            "generation": 1,
            "cell": "default",
            "tier": "pool",
            "epoch": 1,
            "access": "full",
            "database": PLATFORM.shared_database,
            "db_schema": "pool",
            "login": "pool_app",
            "login_secret_arn": PLATFORM.pool_login_secret_arn,
            "bucket": PLATFORM.shared_bucket,
            "prefix": "acme/",
            "kms_key_arn": PLATFORM.platform_key_arn,
            "role_arn": PLATFORM.shared_role_arn,
            "app_schema_version": 3,
        }
    )


def test_a_pool_tenants_program_loads_nothing_of_awss() -> None:
    code = (
        "import sys\n"
        "import stacks.tenant\n"
        "from components.tenants import component_for\n"
        "component_for('pool')\n"
        "sys.exit(str([name for name in sys.modules if name.startswith(('pulumi_aws', 'components.tenants.silo'))]))\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"


def test_a_bridge_tenant_has_a_schema_a_login_and_its_secret_under_the_platforms_key() -> None:
    program = declared(Tier.BRIDGE)
    names = Names("demo", "acme")
    assert [each.type for each in aws(program)] == ["aws:secretsmanager/secret:Secret"]
    assert program.one("Secret").inputs["kmsKeyId"] == PLATFORM.platform_key_arn
    assert program.one("Schema").inputs == {
        "database": "tenantry",
        "name": names.postgres,
        "owner": names.postgres_owner,
    }
    assert program.result.bucket == PLATFORM.shared_bucket
    assert program.result.prefix == "acme/"
    assert program.result.db_schema == names.postgres
    assert program.result.login == names.postgres_login
    assert program.result.database == PLATFORM.shared_database


@pytest.mark.parametrize("tier", [Tier.BRIDGE, Tier.SILO])
def test_the_login_owns_nothing_and_the_owner_can_not_log_in(tier: Tier) -> None:
    program = declared(tier)
    roles = {each.inputs["name"]: each for each in program.of_type("tenantry-postgres:index:Role")}
    names = Names("demo", "acme")
    owner, login = roles[names.postgres_owner], roles[names.postgres_login]
    assert owner.inputs["login"] is False
    assert "secretArn" not in owner.inputs
    assert login.inputs["login"] is True
    assert login.inputs["secretArn"] == program.one("Secret").outputs["arn"]
    assert login.inputs["searchPath"] == names.postgres
    assert login.inputs["connectionLimit"] == 20
    assert program.one("Schema").inputs["owner"] == names.postgres_owner


@pytest.mark.parametrize("tier", [Tier.BRIDGE, Tier.SILO])
def test_tables_come_after_privileges_and_these_after_schema_and_roles(tier: Tier) -> None:
    program = declared(tier)
    tables, privileges = program.one("AppSchema"), program.one("Privileges")
    assert privileges.urn in program.all_dependencies(tables)
    needed = program.all_dependencies(privileges)
    assert program.one("Schema").urn in needed
    assert {each.urn for each in program.of_type("tenantry-postgres:index:Role")} <= needed


@pytest.mark.parametrize("tier", [Tier.BRIDGE, Tier.SILO])
def test_the_applications_tables_are_pinned_to_the_tenant(tier: Tier) -> None:
    tables = declared(tier).one("AppSchema")
    assert tables.inputs["mode"] == "dedicated"
    assert tables.inputs["tenantId"] == "acme"
    assert [each["version"] for each in tables.inputs["migrations"]] == [1, 2, 3]
    assert declared(tier).result.app_schema_version == 3


@pytest.mark.parametrize("tier", [Tier.BRIDGE, Tier.SILO])
def test_version_zero_is_a_schema_without_tables(tier: Tier) -> None:
    spec = tenant_spec(tier)
    program = run(lambda: tenant.program(spec, PLATFORM, None))
    assert not program.of_type("AppSchema")
    assert program.result.app_schema_version == 0


def test_a_silo_uses_its_own_key_for_everything_that_is_encrypted() -> None:
    program = declared(Tier.SILO)
    key = program.one("aws:kms/key:Key").outputs["arn"]
    instance = program.one("Instance").inputs
    (rule,) = program.one("BucketServerSideEncryptionConfiguration").inputs["rules"]
    used = [
        instance["kmsKeyId"],
        instance["masterUserSecretKmsKeyId"],
        rule["applyServerSideEncryptionByDefault"]["kmsMasterKeyId"],
        *(each.inputs["kmsKeyId"] for each in program.of_type("Secret")),
        *(each.inputs["kmsKeyId"] for each in program.of_type("LogGroup")),
        program.result.kms_key_arn,
    ]
    assert set(used) == {key}
    everything = str([each.inputs for each in program.resources])
    assert PLATFORM.platform_key_arn not in everything
    assert PLATFORM.shared_bucket + '"' not in everything
    assert PLATFORM.shared_role_arn not in everything


@pytest.mark.parametrize(("environment", "standby"), [(Environment.PRODUCTION, True), (Environment.DEVELOPMENT, False)])
def test_a_silos_instance_has_a_standby_in_production(environment: Environment, standby: bool) -> None:
    assert declared(Tier.SILO, environment=environment).one("Instance").inputs["multiAz"] is standby


def test_a_silos_instance_is_private_encrypted_backed_up_and_protected() -> None:
    instance = declared(Tier.SILO, instance=InstanceSpec(backup_days=14, multi_az=True)).one("Instance")
    inputs = instance.inputs
    assert inputs["identifier"] == Names("demo", "acme").instance
    assert int(inputs["engineVersion"].split(".")[0]) >= 17
    assert inputs["storageEncrypted"] is True
    assert inputs["publiclyAccessible"] is False
    assert inputs["manageMasterUserPassword"] is True
    assert "password" not in inputs
    assert inputs["backupRetentionPeriod"] == 14
    assert inputs["multiAz"] is True
    assert inputs["deletionProtection"] is True
    assert inputs["skipFinalSnapshot"] is False
    assert inputs["finalSnapshotIdentifier"] == Names("demo", "acme").final_snapshot
    assert inputs["copyTagsToSnapshot"] is True
    assert inputs["autoMinorVersionUpgrade"] is True
    assert inputs["dbSubnetGroupName"] == PLATFORM.db_subnet_group
    assert inputs["parameterGroupName"] == PLATFORM.db_parameter_group
    assert inputs["applyImmediately"] is False
    assert instance.protect


def test_rds_finds_its_log_groups_there_already_so_it_makes_none_unencrypted() -> None:
    program = declared(Tier.SILO)
    instance = program.one("Instance")
    groups = program.of_type("LogGroup")
    identifier = instance.inputs["identifier"]
    assert {each.inputs["name"] for each in groups} == {
        f"/aws/rds/instance/{identifier}/{log}" for log in instance.inputs["enabledCloudwatchLogsExports"]
    }
    assert {each.urn for each in groups} <= program.all_dependencies(instance)


def test_only_the_app_tier_reaches_a_silos_database() -> None:
    program = declared(Tier.SILO)
    rule = program.one("SecurityGroupIngressRule").inputs
    assert rule["referencedSecurityGroupId"] == PLATFORM.app_security_group_id
    assert (rule["fromPort"], rule["toPort"], rule["ipProtocol"]) == (5432, 5432, "tcp")
    assert "cidrIpv4" not in rule
    assert not program.of_type("SecurityGroupEgressRule")
    group = program.one("aws:ec2/securityGroup:SecurityGroup")
    assert "egress" not in group.inputs
    assert "ingress" not in group.inputs
    assert program.one("Instance").inputs["vpcSecurityGroupIds"] == [rule["securityGroupId"]]


def test_a_silos_role_is_pinned_to_the_tenant_and_bounded() -> None:
    program = declared(Tier.SILO)
    role = program.one("aws:iam/role:Role")
    assert role.inputs["permissionsBoundary"] == PLATFORM.permissions_boundary_arn
    assert role.inputs["maxSessionDuration"] == 3600
    (trust,) = role.policy("assumeRolePolicy")["Statement"]
    assert trust["Principal"] == {"AWS": [BROKER]}
    assert trust["Condition"]["StringEquals"] == {"aws:RequestTag/tenant_id": "acme"}
    assert program.result.role_arn == role.outputs["arn"] == Names("demo", "acme").role_arn(ACCOUNT)


def test_a_silos_bucket_is_private_versioned_and_named_for_the_world() -> None:
    program = declared(Tier.SILO)
    bucket = program.one("aws:s3/bucket:Bucket")
    assert bucket.inputs["bucket"] == Names("demo", "acme").bucket(ACCOUNT)
    assert bucket.inputs["forceDestroy"] is False
    public = program.one("BucketPublicAccessBlock").inputs
    assert all(public[key] for key in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls"))
    assert public["restrictPublicBuckets"] is True
    assert program.one("BucketVersioning").inputs["versioningConfiguration"]["status"] == "Enabled"
    assert program.one("BucketOwnershipControls").inputs["rule"]["objectOwnership"] == "BucketOwnerEnforced"
    (encryption,) = program.one("BucketServerSideEncryptionConfiguration").inputs["rules"]
    assert encryption["bucketKeyEnabled"] is True
    assert encryption["applyServerSideEncryptionByDefault"]["sseAlgorithm"] == "aws:kms"
    (rule,) = program.one("BucketLifecycleConfiguration").inputs["rules"]
    assert rule["abortIncompleteMultipartUpload"]["daysAfterInitiation"] == 7
    assert rule["noncurrentVersionExpiration"]["noncurrentDays"] == 90


def test_a_silos_key_is_rotated_and_waits_before_it_is_gone() -> None:
    key = declared(Tier.SILO).one("aws:kms/key:Key").inputs
    assert key["enableKeyRotation"] is True
    assert key["deletionWindowInDays"] == 30
    development = declared(Tier.SILO, environment=Environment.DEVELOPMENT)
    assert development.one("aws:kms/key:Key").inputs["deletionWindowInDays"] == 7
    assert development.one("Secret").inputs["recoveryWindowInDays"] == 7


def test_alarms_reach_the_cells_operators() -> None:
    alarms = declared(Tier.SILO).of_type("MetricAlarm")
    assert {each.inputs["metricName"] for each in alarms} >= {"CPUUtilization", "FreeStorageSpace"}
    for each in alarms:
        assert each.inputs["alarmActions"] == [PLATFORM.alarm_topic_arn]
    by_namespace = {each.inputs["namespace"]: each.inputs["dimensions"] for each in alarms}
    assert by_namespace == {
        "AWS/RDS": {"DBInstanceIdentifier": Names("demo", "acme").instance},
        "AWS/S3": {"BucketName": Names("demo", "acme").bucket(ACCOUNT), "StorageType": "StandardStorage"},
    }


@pytest.mark.parametrize("tier", list(Tier))
def test_everything_that_can_be_tagged_is_completely(tier: Tier) -> None:
    spec = tenant_spec(tier)
    for each in aws(declared(tier)):
        kind = each.type.split(":")[-1]
        if kind in UNTAGGED:
            assert "tags" not in each.inputs
            continue
        tags = each.inputs["tags"]
        assert tags.keys() >= REQUIRED_TAGS, f"{each.type} {each.name}"
        assert tags["tenant_id"] == "acme"
        assert tags["tier"] == tier.value
        assert tags["plan"] == spec.plan


STATEFUL = {
    Tier.POOL: {"PoolTenant"},
    Tier.BRIDGE: {"Schema", "AppSchema", "Secret"},
    Tier.SILO: {"Key", "Instance", "Bucket", "Secret", "LogGroup", "Database", "Schema", "AppSchema"},
}


@pytest.mark.parametrize("tier", list(Tier))
@pytest.mark.parametrize("protect", [True, False])
def test_what_holds_data_is_protected_until_offboarding_is_authorised(tier: Tier, protect: bool) -> None:
    program = declared(tier, protect=protect)
    protected = {each.type.split(":")[-1] for each in program.resources if each.protect}
    assert protected == (STATEFUL[tier] if protect else set())


def test_authorised_offboarding_lets_instance_and_bucket_go_and_keeps_a_snapshot() -> None:
    program = declared(Tier.SILO, protect=False)
    instance = program.one("Instance").inputs
    assert instance["deletionProtection"] is False
    assert instance["skipFinalSnapshot"] is False
    assert instance["deleteAutomatedBackups"] is False
    assert program.one("aws:s3/bucket:Bucket").inputs["forceDestroy"] is True
    without = declared(Tier.SILO, protect=False, final_snapshot=False).one("Instance").inputs
    assert without["skipFinalSnapshot"] is True
    assert without["deleteAutomatedBackups"] is True


@pytest.mark.parametrize("tier", list(Tier))
def test_suspension_closes_the_tenant_and_changes_nothing_else(tier: Tier) -> None:
    full, suspended = declared(tier), declared(tier, access=Access.SUSPENDED)
    before = {each.urn: each.inputs for each in full.resources}
    after = {each.urn: each.inputs for each in suspended.resources}
    assert before.keys() == after.keys(), "no resource comes or goes"
    changed = {urn.split("::")[2].split(":")[-1] for urn in before if before[urn] != after[urn]}
    assert (
        changed
        == {
            Tier.POOL: {"PoolTenant"},
            Tier.BRIDGE: {"Role", "Privileges"},
            Tier.SILO: {"Role", "Privileges", "RolePolicy"},
        }[tier]
    )
    roles = [each for each in suspended.of_type("tenantry-postgres:index:Role") if each.inputs["login"]]
    assert all(each.inputs["access"] == "suspended" for each in roles)
    assert suspended.result.access is Access.SUSPENDED
    (privileges,) = suspended.of_type("tenantry-postgres:index:Privileges") or (None,)
    assert privileges is None or privileges.inputs["access"] == "read_only"
    if tier is Tier.SILO:
        (trust,) = suspended.one("aws:iam/role:Role").policy("assumeRolePolicy")["Statement"]
        (policy,) = suspended.one("RolePolicy").policy()["Statement"]
        assert trust["Effect"] == policy["Effect"] == "Deny"


@pytest.mark.parametrize("tier", list(Tier))
def test_every_resource_has_an_explicit_provider(tier: Tier) -> None:
    for each in declared(tier).custom:
        assert each.provider, f"{each.type} {each.name} would use an ambient provider"


def test_the_aws_provider_refuses_other_accounts_than_the_cells() -> None:
    (provider,) = [each for each in declared(Tier.SILO).resources if each.type == "pulumi:providers:aws"]
    assert "123456789012" in str(provider.inputs["allowedAccountIds"])
    assert provider.inputs["region"] == "eu-central-1"


def test_a_silos_database_objects_go_down_with_its_instance() -> None:
    program = declared(Tier.SILO)
    instance = program.one("Instance").urn
    objects = [each for each in program.custom if each.type.startswith("tenantry-postgres:")]
    assert objects
    assert {each.deleted_with for each in objects} == {instance}


def test_every_component_registers_its_outputs() -> None:
    program = declared(Tier.SILO)
    components = {each.urn for each in program.resources if each.type.startswith("tenantry:index:")}
    assert components <= program.outputs.keys()


def test_no_resource_hangs_loose_from_its_tenant() -> None:
    program = declared(Tier.SILO)
    by_urn = {each.urn: each for each in program.resources}
    (root,) = [each.urn for each in program.resources if each.type == "tenantry:index:SiloTenant"]
    for each in program.custom:
        parent = each
        while parent.urn != root:
            parent = by_urn[parent.parent]


def physical_names(program: Run) -> set[tuple[str, str]]:
    keys = ("name", "bucket", "identifier", "finalSnapshotIdentifier")
    names = {
        (each.type, str(each.inputs[key]))
        for each in program.custom
        for key in keys
        if key in each.inputs and each.type != "aws:iam/rolePolicy:RolePolicy"
    }
    return names | {(each.type, each.inputs["tenantId"]) for each in program.of_type("PoolTenant")}


@pytest.mark.parametrize("tier", list(Tier))
@pytest.mark.parametrize("other", ["acme-two", "acm"])
def test_two_tenants_never_share_a_physical_name(tier: Tier, other: str) -> None:
    one = physical_names(declared(tier))
    assert one
    assert not one & physical_names(declared(tier, other))


@pytest.mark.parametrize("tier", [Tier.BRIDGE, Tier.SILO])
def test_a_second_life_of_an_id_meets_nothing_of_the_first(tier: Tier) -> None:
    assert not physical_names(declared(tier)) & physical_names(declared(tier, generation=2))


@pytest.mark.parametrize("tier", [Tier.BRIDGE, Tier.SILO])
def test_a_full_length_id_is_legal_everywhere(tier: Tier) -> None:
    tenant_id = "a" + "b1-" * 12 + "xyz"
    assert len(tenant_id) == 40
    program = declared(tier, tenant_id)
    for each in program.of_type("tenantry-postgres:index:Role"):
        assert len(each.inputs["name"]) <= 63
    for kind, key in (("aws:s3/bucket:Bucket", "bucket"), ("Instance", "identifier"), ("aws:iam/role:Role", "name")):
        for each in program.of_type(kind):
            assert len(each.inputs[key]) <= 63


def test_a_tenant_of_another_cell_is_refused() -> None:
    with pytest.raises(ValueError, match="belongs to cell eu1"):
        TenantArgs(spec=tenant_spec(Tier.POOL, cell="eu1"), platform=PLATFORM)


def test_a_component_refuses_a_spec_of_another_tier() -> None:
    args = TenantArgs(spec=tenant_spec(Tier.POOL), platform=PLATFORM)
    with pytest.raises(ValueError, match="SiloTenant is tier silo, the spec asks for pool"):
        component_for(Tier.SILO)("acme", args)


def test_migrations_past_the_specs_version_are_refused() -> None:
    with pytest.raises(ValueError, match="migration 3 is past"):
        TenantArgs(spec=tenant_spec(Tier.BRIDGE, app_schema_version=2), platform=PLATFORM, app_schema=MIGRATIONS)


def test_two_tenants_can_be_parts_of_one_program() -> None:
    def program() -> None:
        for tenant_id in ("acme", "globex"):
            tenant.program(tenant_spec(Tier.POOL, tenant_id=tenant_id), PLATFORM)

    assert {each.inputs["tenantId"] for each in run(program).of_type("PoolTenant")} == {"acme", "globex"}


@pytest.mark.parametrize("tier", list(Tier))
def test_a_tenant_that_may_only_read_loses_what_writes_and_nothing_else(tier: Tier) -> None:
    full, read_only = declared(tier), declared(tier, access=Access.READ_ONLY)
    before = {each.urn: each.inputs for each in full.resources}
    after = {each.urn: each.inputs for each in read_only.resources}
    assert before.keys() == after.keys(), "no resource comes or goes"
    changed = {urn.split("::")[2].split(":")[-1] for urn in before if before[urn] != after[urn]}
    assert (
        changed
        == {
            Tier.POOL: {"PoolTenant"},
            Tier.BRIDGE: {"Privileges"},
            Tier.SILO: {"Privileges", "RolePolicy"},
        }[tier]
    )
    assert read_only.result.access is Access.READ_ONLY
    if tier is Tier.SILO:
        assert full.one("aws:iam/role:Role").policy("assumeRolePolicy") == read_only.one("aws:iam/role:Role").policy(
            "assumeRolePolicy"
        )


def test_only_a_silo_is_stopped_when_its_tenant_hibernates() -> None:
    for tier in (Tier.POOL, Tier.BRIDGE):
        suspended, hibernated = declared(tier, access=Access.SUSPENDED), declared(tier, access=Access.HIBERNATED)
        assert {each.urn: each.inputs for each in suspended.resources} == {
            each.urn: each.inputs for each in hibernated.resources
        }
        assert not any(each.ignore_changes for each in hibernated.resources)
        assert not any("InstanceDesiredState" in each.type for each in hibernated.resources)
    states = {
        access: declared(Tier.SILO, access=access).one("InstanceDesiredState").inputs for access in ENFORCED_ACCESS
    }
    assert {access: inputs["state"] for access, inputs in states.items()} == {
        Access.FULL: "available",
        Access.READ_ONLY: "available",
        Access.SUSPENDED: "available",
        Access.HIBERNATED: "stopped",
    }


POSTGRES = "tenantry-postgres:index:"


def test_an_instance_runs_before_anything_is_asked_of_it_and_is_stopped_after_everything_was() -> None:
    running = declared(Tier.SILO)
    (server,) = (each for each in running.resources if each.type == "pulumi:providers:tenantry-postgres")
    assert running.one("InstanceDesiredState").urn in server.dependencies
    stopping = declared(Tier.SILO, access=Access.HIBERNATED)
    (server,) = (each for each in stopping.resources if each.type == "pulumi:providers:tenantry-postgres")
    state = stopping.one("InstanceDesiredState")
    assert state.urn not in server.dependencies
    asked = {each.urn for each in stopping.resources if each.type.startswith(POSTGRES)}
    assert len(asked) == 6
    assert asked <= state.dependencies


def test_nothing_that_needs_a_stopped_instance_can_change_but_what_closes_it() -> None:
    full, hibernated = declared(Tier.SILO), declared(Tier.SILO, access=Access.HIBERNATED)
    (server,) = (each for each in hibernated.resources if each.type == "pulumi:providers:tenantry-postgres")
    assert server.inputs["stopped"] in (True, "true")
    for each in full.resources:
        assert each.ignore_changes == ()
    for each in hibernated.resources:
        if not each.type.startswith(POSTGRES):
            continue
        left = {key for key, value in each.inputs.items() if value is not None} - set(each.ignore_changes)
        login = each.type == f"{POSTGRES}Role" and each.inputs["login"]
        assert left == ({"access"} if login or each.type == f"{POSTGRES}Privileges" else set()), each.urn
    instance = hibernated.one("aws:rds/instance:Instance")
    free = set(instance.inputs) - set(instance.ignore_changes)
    assert free <= {
        *("identifier", "engine", "username", "storageEncrypted", "kmsKeyId", "manageMasterUserPassword"),  # replace it
        *("applyImmediately", "skipFinalSnapshot", "finalSnapshotIdentifier", "deleteAutomatedBackups", "tags"),
    }
