"""Faults planted one at a time: the probe that is meant for each fails, the proof of the mended estate passes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from isolation.attempts import Attempt
from isolation.proof import prove_tenant
from tenantry import Tenantry
from tests.integration.isolation.estate import Estate
from tests.integration.isolation.estate_cloud import BLOCKED, from_group
from tests.integration.isolation.faults import (
    ANYBODY,
    Break,
    boundary,
    bucket_policy,
    calls,
    key_policy,
    role_name,
    role_policy,
    sid,
    statements,
    trust,
    with_action,
    with_statement,
    without_condition,
    without_statement,
)


def failures(attempts: list[Attempt]) -> set[str]:
    assert attempts
    return {each.name for each in attempts if not each.passed}


def prove(estate: Estate, sdk: Tenantry, tenant: str, *others: str, fast: bool = True) -> set[str]:
    """Names of the probes that fail. Without ``others`` what stands is judged, and not whether it can be exploited."""
    means = {"sdk": sdk, "aws": estate.aws, "installation": estate.installation_known()}
    return failures(prove_tenant(estate.tenants[tenant], estate.outputs(*others), fast=fast, **means))


def sql(broken: str, mended: str) -> Break:
    return statements("acme", broken, mended)


USING = "tenant_id = (SELECT tenantry.current_tenant())"
CHECK = "tenant_id = (SELECT tenantry.writing_tenant())"
IN_DATABASE: dict[str, tuple[Break, set[str]]] = {
    "row-level security off": (
        sql(
            "ALTER TABLE pool.comment DISABLE ROW LEVEL SECURITY", "ALTER TABLE pool.comment ENABLE ROW LEVEL SECURITY"
        ),
        {"row-security"},
    ),
    "row-level security not forced": (
        sql(
            "ALTER TABLE pool.comment NO FORCE ROW LEVEL SECURITY",
            "ALTER TABLE pool.comment FORCE ROW LEVEL SECURITY",
        ),
        {"row-security"},
    ),
    "a policy without WITH CHECK": (
        sql(
            f"DROP POLICY tenantry_tenant ON pool.comment;"
            f" CREATE POLICY tenantry_tenant ON pool.comment USING ({USING})",
            f"DROP POLICY tenantry_tenant ON pool.comment;"
            f" CREATE POLICY tenantry_tenant ON pool.comment USING ({USING}) WITH CHECK ({CHECK})",
        ),
        {"policies"},
    ),
    "a policy whose WITH CHECK is true": (
        sql(
            "ALTER POLICY tenantry_tenant ON pool.comment WITH CHECK (true)",
            f"ALTER POLICY tenantry_tenant ON pool.comment WITH CHECK ({CHECK})",
        ),
        {"policies"},
    ),
    "a policy that lets a tenant write that may only read": (
        sql(
            f"ALTER POLICY tenantry_tenant ON pool.comment WITH CHECK ({USING})",
            f"ALTER POLICY tenantry_tenant ON pool.comment WITH CHECK ({CHECK})",
        ),
        {"policies"},
    ),
    "no policy that lets only writing tenants delete": (
        sql(
            "DROP POLICY tenantry_delete ON pool.comment",
            f"CREATE POLICY tenantry_delete ON pool.comment AS RESTRICTIVE FOR DELETE USING ({CHECK})",
        ),
        {"policies"},
    ),
    "a policy of deletion that asks nobody": (
        sql(
            "ALTER POLICY tenantry_delete ON pool.comment USING (true)",
            f"ALTER POLICY tenantry_delete ON pool.comment USING ({CHECK})",
        ),
        {"policies"},
    ),
    "a check of writers without a pinned search_path": (
        sql(
            "ALTER FUNCTION tenantry.writing_tenant() RESET search_path",
            "ALTER FUNCTION tenantry.writing_tenant() SET search_path = pg_catalog, pg_temp",
        ),
        {"token-check"},
    ),
    "a policy for SELECT only": (
        sql(
            f"DROP POLICY tenantry_tenant ON pool.comment;"
            f" CREATE POLICY tenantry_tenant ON pool.comment FOR SELECT USING ({USING})",
            f"DROP POLICY tenantry_tenant ON pool.comment;"
            f" CREATE POLICY tenantry_tenant ON pool.comment USING ({USING}) WITH CHECK ({CHECK})",
        ),
        {"policies"},
    ),
    "a forgeable policy": (
        sql(
            "ALTER POLICY tenantry_tenant ON pool.comment"
            " USING (tenant_id = current_setting('app.current_tenant', true))",
            f"ALTER POLICY tenantry_tenant ON pool.comment USING ({USING})",
        ),
        {"policies"},
    ),
    "a permissive policy beside": (
        sql("CREATE POLICY open ON pool.comment USING (true)", "DROP POLICY open ON pool.comment"),
        {"policies"},
    ),
    "a table of tenants that somebody forgot": (
        sql(
            "CREATE TABLE pool.invoice (tenant_id text NOT NULL, id int, PRIMARY KEY (tenant_id, id))",
            "DROP TABLE pool.invoice",
        ),
        {"row-security", "policies", "owners"},
    ),
    "a table without tenants that no migration declares": (
        sql(
            "CREATE TABLE pool.customer (name text); GRANT SELECT ON pool.customer TO {acme_login}",
            "DROP TABLE pool.customer",
        ),
        {"forgotten-table", "owners", "grants"},
    ),
    "a reference table that may be written": (
        sql(
            "GRANT INSERT ON pool.task_status TO {acme_login}",
            "REVOKE INSERT ON pool.task_status FROM {acme_login}",
        ),
        {"forgotten-table"},
    ),
    "a unique key across tenants": (
        sql("CREATE UNIQUE INDEX once ON pool.comment (body)", "DROP INDEX pool.once"),
        {"keys-across-tenants"},
    ),
    "a foreign key across tenants": (
        sql(
            "ALTER TABLE pool.project ADD CONSTRAINT only_id UNIQUE (project_id); ALTER TABLE pool.task"
            " ADD CONSTRAINT across FOREIGN KEY (project_id) REFERENCES pool.project (project_id)",
            "ALTER TABLE pool.task DROP CONSTRAINT across; ALTER TABLE pool.project DROP CONSTRAINT only_id",
        ),
        {"keys-across-tenants"},
    ),
    "a view with its owner's rights": (
        sql("ALTER VIEW pool.open_task RESET (security_invoker)", "ALTER VIEW pool.open_task SET (security_invoker)"),
        {"views"},
    ),
    "a materialised view": (
        sql(
            "CREATE MATERIALIZED VIEW pool.copied AS SELECT 1 AS x;"
            " ALTER MATERIALIZED VIEW pool.copied OWNER TO {owner}",
            "DROP MATERIALIZED VIEW pool.copied",
        ),
        {"views"},
    ),
    "a function with its owner's rights": (
        sql(
            "CREATE FUNCTION pool.all_names() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER"
            " AS 'SELECT name FROM pool.project'; ALTER FUNCTION pool.all_names() OWNER TO {owner}",
            "DROP FUNCTION pool.all_names()",
        ),
        {"functions"},
    ),
    "a function with its owner's rights in another schema": (
        sql(
            "CREATE SCHEMA helpers; GRANT USAGE ON SCHEMA helpers TO {acme_login}; CREATE FUNCTION helpers.all_names()"
            " RETURNS SETOF text LANGUAGE sql SECURITY DEFINER AS 'SELECT name FROM pool.project'",
            "DROP SCHEMA helpers CASCADE",
        ),
        {"functions"},
    ),
    "a leakproof function": (
        sql(
            "CREATE FUNCTION pool.peek(text) RETURNS boolean LANGUAGE sql LEAKPROOF AS 'SELECT true';"
            " ALTER FUNCTION pool.peek(text) OWNER TO {owner}",
            "DROP FUNCTION pool.peek(text)",
        ),
        {"functions"},
    ),
    "a trigger that runs as a superuser": (
        sql(
            "CREATE SCHEMA audit; CREATE FUNCTION audit.log() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
            " AS 'BEGIN RETURN new; END'; REVOKE ALL ON FUNCTION audit.log() FROM PUBLIC;"
            " CREATE TRIGGER audit AFTER INSERT ON pool.comment FOR EACH ROW EXECUTE FUNCTION audit.log()",
            "DROP TRIGGER audit ON pool.comment; DROP SCHEMA audit CASCADE",
        ),
        {"functions"},
    ),
    "a grant to PUBLIC": (
        sql("GRANT SELECT ON pool.comment TO PUBLIC", "REVOKE SELECT ON pool.comment FROM PUBLIC"),
        {"grants"},
    ),
    "a grant to another tenant's login": (
        sql("GRANT SELECT ON pool.comment TO {initech_login}", "REVOKE SELECT ON pool.comment FROM {initech_login}"),
        {"grants"},
    ),
    "a grant of a column": (
        sql("GRANT SELECT (body) ON pool.comment TO PUBLIC", "REVOKE SELECT (body) ON pool.comment FROM PUBLIC"),
        {"grants"},
    ),
    "TRUNCATE, which no policy is asked about": (
        sql("GRANT TRUNCATE ON pool.comment TO {acme_login}", "REVOKE TRUNCATE ON pool.comment FROM {acme_login}"),
        {"grants"},
    ),
    "REFERENCES, which tells of keys": (
        sql("GRANT REFERENCES ON pool.comment TO {acme_login}", "REVOKE REFERENCES ON pool.comment FROM {acme_login}"),
        {"grants"},
    ),
    "a right to pass on": (
        sql(
            "GRANT SELECT ON pool.comment TO {acme_login} WITH GRANT OPTION",
            "REVOKE GRANT OPTION FOR SELECT ON pool.comment FROM {acme_login}",
        ),
        {"grants"},
    ),
    "a schema that the login creates in": (
        sql("GRANT CREATE ON SCHEMA pool TO {acme_login}", "REVOKE CREATE ON SCHEMA pool FROM {acme_login}"),
        {"grants"},
    ),
    "default privileges that open future tables": (
        sql(
            "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA pool GRANT SELECT ON TABLES TO PUBLIC",
            "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA pool REVOKE SELECT ON TABLES FROM PUBLIC",
        ),
        {"default-privileges"},
    ),
    "a database that everybody enters": (
        sql(
            "GRANT CONNECT ON DATABASE {acme_database} TO PUBLIC", "REVOKE ALL ON DATABASE {acme_database} FROM PUBLIC"
        ),
        {"databases"},
    ),
    "a database in which tenants make temporary tables": (
        sql(
            "GRANT TEMPORARY ON DATABASE {acme_database} TO {acme_login}",
            "REVOKE TEMPORARY ON DATABASE {acme_database} FROM {acme_login}",
        ),
        {"databases"},
    ),
    "schema public open to everybody": (
        sql("GRANT USAGE ON SCHEMA public TO PUBLIC", "REVOKE ALL ON SCHEMA public FROM PUBLIC"),
        {"databases"},
    ),
    "a login above row-level security": (
        sql("ALTER ROLE {acme_login} BYPASSRLS", "ALTER ROLE {acme_login} NOBYPASSRLS"),
        {"roles"},
    ),
    "a role above row-level security that is nobody's": (
        sql("CREATE ROLE reporting LOGIN BYPASSRLS", "DROP ROLE reporting"),
        {"roles"},
    ),
    "a login that makes roles": (
        sql("ALTER ROLE {acme_login} CREATEROLE", "ALTER ROLE {acme_login} NOCREATEROLE"),
        {"roles"},
    ),
    "an owner that logs in": (sql("ALTER ROLE {owner} LOGIN", "ALTER ROLE {owner} NOLOGIN"), {"roles"}),
    "a login in its owner's role": (
        sql("GRANT {owner} TO {acme_login}", "REVOKE {owner} FROM {acme_login}"),
        {"memberships", "set-any-role"},
    ),
    "a login that reads everything": (
        sql("GRANT pg_read_all_data TO {acme_login}", "REVOKE pg_read_all_data FROM {acme_login}"),
        {"memberships"},
    ),
    "somebody in the owner's role": (
        sql("CREATE ROLE analyst; GRANT {owner} TO analyst", "DROP ROLE analyst"),
        {"memberships"},
    ),
    "row-level security off for a login's sessions": (
        sql("ALTER ROLE {acme_login} SET row_security = off", "ALTER ROLE {acme_login} RESET row_security"),
        {"settings"},
    ),
    "a tenant set for the whole database": (
        sql(
            "ALTER DATABASE {acme_database} SET app.current_tenant = 'globex'",
            "ALTER DATABASE {acme_database} RESET app.current_tenant",
        ),
        {"settings"},
    ),
    "a token key that the login reads": (
        sql("GRANT SELECT ON tenantry.pool_key TO {acme_login}", "REVOKE ALL ON tenantry.pool_key FROM {acme_login}"),
        {"token-check"},
    ),
    "a register of tenants that everybody reads": (
        sql("GRANT SELECT ON tenantry.pool_tenant TO PUBLIC", "REVOKE ALL ON tenantry.pool_tenant FROM PUBLIC"),
        {"token-check"},
    ),
    "a token check whose search path is open": (
        sql(
            "ALTER FUNCTION tenantry.current_tenant() RESET search_path",
            "ALTER FUNCTION tenantry.current_tenant() SET search_path = pg_catalog, pg_temp",
        ),
        {"token-check"},
    ),
    "a token check without its owner's rights": (
        sql(
            "ALTER FUNCTION tenantry.current_tenant() OWNER TO CURRENT_USER",
            "ALTER FUNCTION tenantry.current_tenant() OWNER TO {definer}",
        ),
        {"token-check", "not-tried"},  # who writes is asked by a function that may not call this one any more
    ),
    "a large object": (sql("SELECT lo_create(4711)", "SELECT lo_unlink(4711)"), {"beside-the-schemas"}),
    "a server elsewhere": (
        sql(
            "CREATE FOREIGN DATA WRAPPER dummy; CREATE SERVER elsewhere FOREIGN DATA WRAPPER dummy",
            "DROP FOREIGN DATA WRAPPER dummy CASCADE",
        ),
        {"beside-the-schemas"},
    ),
}


@pytest.mark.parametrize("case", IN_DATABASE)
def test_a_fault_in_the_pools_database_is_found(estate: Estate, sdk: Tenantry, case: str) -> None:
    breaking, expected = IN_DATABASE[case]
    with breaking(estate):
        assert prove(estate, sdk, "acme") == expected


def test_a_tables_pin_that_is_gone_is_found(estate: Estate, sdk: Tenantry) -> None:
    unpinned = statements(
        "initech",
        "ALTER TABLE {initech_db_schema}.comment DROP CONSTRAINT tenantry_tenant_id",
        "ALTER TABLE {initech_db_schema}.comment ADD CONSTRAINT tenantry_tenant_id CHECK (tenant_id = 'initech')",
    )
    with unpinned(estate):
        assert prove(estate, sdk, "initech") == {"pinned-tables"}


# -- in AWS --------------------------------------------------------------------------------------------------------

ELSEWHERE = {"AWS": "arn:aws:iam::210987654321:root"}
FILES = "FilesOfTenantSessions"


def files_of(tenant: str, **settings: Any) -> Break:
    """The public access block with ``settings``."""
    return calls(
        "s3",
        lambda s3, estate: s3.put_public_access_block(
            Bucket=estate.tenants[tenant].bucket, PublicAccessBlockConfiguration={**BLOCKED, **settings}
        ),
        lambda s3, estate, _: s3.put_public_access_block(
            Bucket=estate.tenants[tenant].bucket, PublicAccessBlockConfiguration=BLOCKED
        ),
    )


def ingress(permission: dict[str, Any]) -> Break:
    """One more rule of the security group of hooli's database."""

    def group(estate: Estate) -> str:
        instance = role_name(estate, "hooli")
        found = estate.aws.client("rds").describe_db_instances(DBInstanceIdentifier=instance)["DBInstances"][0]
        return str(found["VpcSecurityGroups"][0]["VpcSecurityGroupId"])

    return calls(
        "ec2",
        lambda ec2, estate: ec2.authorize_security_group_ingress(GroupId=group(estate), IpPermissions=[permission]),
        lambda ec2, estate, _: ec2.revoke_security_group_ingress(GroupId=group(estate), IpPermissions=[permission]),
    )


def instance(**changes: Any) -> Break:
    def change(rds: Any, estate: Estate, values: dict[str, Any]) -> None:
        rds.modify_db_instance(DBInstanceIdentifier=role_name(estate, "hooli"), ApplyImmediately=True, **values)

    return calls(
        "rds",
        lambda rds, estate: change(rds, estate, changes),
        lambda rds, estate, _: change(rds, estate, {key: not value for key, value in changes.items()}),
    )


IN_AWS: dict[str, tuple[Break, str]] = {
    "a bucket that may be public": (files_of("hooli", BlockPublicPolicy=False), "bucket-settings"),
    "a bucket encrypted with another key": (
        calls(
            "s3",
            lambda s3, estate: s3.delete_bucket_encryption(Bucket=estate.tenants["hooli"].bucket),
            lambda s3, estate, _: s3.put_bucket_encryption(
                Bucket=estate.tenants["hooli"].bucket,
                ServerSideEncryptionConfiguration={
                    "Rules": [
                        {
                            "ApplyServerSideEncryptionByDefault": {
                                "SSEAlgorithm": "aws:kms",
                                "KMSMasterKeyID": estate.tenants["hooli"].kms_key_arn,
                            }
                        }
                    ]
                },
            ),
        ),
        "bucket-settings",
    ),
    "a bucket policy without TLS": (bucket_policy("hooli", without_statement("OnlyTls")), "bucket-without-tls"),
    "a bucket policy that lets in everybody": (
        bucket_policy("hooli", with_statement({**ANYBODY, "Action": "s3:ListBucket"})),
        "bucket-list-bucket-anonymous",
    ),
    "a bucket policy that lets in another account": (
        bucket_policy(
            "hooli",
            with_statement(
                {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "s3:DeleteObject", "Resource": "*"}
            ),
        ),
        "bucket-delete-object-foreign",
    ),
    "a bucket whose content administrators read": (
        bucket_policy("hooli", without_statement("ContentForTenantSessionsOnly")),
        "bucket-get-object-administrator",
    ),
    "a bucket that forgot its tenant": (
        bucket_policy("hooli", without_statement("OwnTenantOnly")),
        "bucket-get-object-as-another",
    ),
    "a shared bucket that forgot the prefix": (
        bucket_policy("acme", without_statement("OwnPrefixOnly")),
        "bucket-get-object-as-another",
    ),
    "a bucket that takes other encryption": (
        bucket_policy("hooli", without_statement("OnlyKms")),
        "bucket-put-double-encryption",
    ),
    "a key used past S3": (
        key_policy("hooli", without_condition(FILES, "StringEquals", "kms:ViaService")),
        "key-decrypt-directly",
    ),
    "a key used for other buckets": (
        key_policy("hooli", without_condition(FILES, "StringLike", "kms:EncryptionContext:aws:s3:arn")),
        "key-decrypt-elsewhere",
    ),
    "a key that forgot the tag": (
        key_policy("hooli", without_condition(FILES, "StringLike", "aws:PrincipalTag/tenant_id")),
        "key-decrypt-as-another",
    ),
    "a key for every role": (
        key_policy("hooli", without_condition(FILES, "StringEquals", "aws:PrincipalArn")),
        "key-decrypt-administrator",
    ),
    "a key for everybody": (key_policy("hooli", with_statement(ANYBODY)), "key-decrypt-anonymous"),
    "a key that administrators use": (
        key_policy("hooli", with_action("Administration", "kms:Decrypt")),
        "key-decrypt-administrator-directly",
    ),
    "a key that another account administers": (
        key_policy(
            "hooli",
            with_statement({**ANYBODY, "Principal": {"AWS": "*"}, "Action": "kms:PutKeyPolicy"}),
        ),
        "key-put-key-policy-foreign",
    ),
    "a key granted to somebody": (
        calls(
            "kms",
            lambda kms, estate: kms.create_grant(
                KeyId=estate.tenants["hooli"].kms_key_arn.rsplit("/", 1)[1],
                GranteePrincipal=estate.tenants["acme"].role_arn,
                Operations=["Decrypt"],
            ),
            lambda kms, estate, made: kms.revoke_grant(
                KeyId=estate.tenants["hooli"].kms_key_arn.rsplit("/", 1)[1], GrantId=made["GrantId"]
            ),
        ),
        "key-grants",
    ),
    "a key that is not rotated": (
        calls(
            "kms",
            lambda kms, estate: kms.disable_key_rotation(KeyId=estate.tenants["hooli"].kms_key_arn.rsplit("/", 1)[1]),
            lambda kms, estate, _: kms.enable_key_rotation(KeyId=estate.tenants["hooli"].kms_key_arn.rsplit("/", 1)[1]),
        ),
        "key-settings",
    ),
    "a role without its tag pin": (
        trust("hooli", lambda document: document["Statement"][0]["Condition"].pop("StringEquals")),
        "trust-as-another",
    ),
    "a role that asks for no tag": (
        trust("hooli", lambda document: document["Statement"][0].pop("Condition")),
        "trust-untagged",
    ),
    "a role that takes more tags": (
        trust("hooli", lambda document: document["Statement"][0]["Condition"].pop("ForAllValues:StringEquals")),
        "trust-more-tags",
    ),
    "a role that everybody assumes": (
        trust("hooli", lambda document: document["Statement"][0].update(Principal={"AWS": "*"})),
        "trust-foreign",
    ),
    "a role that a service assumes": (
        trust(
            "hooli",
            lambda document: document["Statement"][0].update(
                Principal={**document["Statement"][0]["Principal"], "Service": "lambda.amazonaws.com"}
            ),
        ),
        "trust-lambda",
    ),
    "a role without its boundary": (
        calls(
            "iam",
            lambda iam, estate: iam.delete_role_permissions_boundary(RoleName=role_name(estate, "hooli")),
            lambda iam, estate, _: iam.put_role_permissions_boundary(
                RoleName=role_name(estate, "hooli"),
                PermissionsBoundary=estate.installation_known().platforms[0].permissions_boundary_arn,
            ),
        ),
        "role-settings",
    ),
    "a role with a policy more": (
        calls(
            "iam",
            lambda iam, estate: iam.attach_role_policy(
                RoleName=role_name(estate, "hooli"),
                PolicyArn=estate.installation_known().platforms[0].permissions_boundary_arn,
            ),
            lambda iam, estate, _: iam.detach_role_policy(
                RoleName=role_name(estate, "hooli"),
                PolicyArn=estate.installation_known().platforms[0].permissions_boundary_arn,
            ),
        ),
        "role-settings",
    ),
    "a role with a wildcard": (
        role_policy("hooli", lambda document: sid(document, "OwnFiles").update(Action="s3:*")),
        "role-delete-object-version",
    ),
    "a shared role that forgot the prefix": (
        role_policy("acme", lambda document: sid(document, "OwnFiles").update(Resource="*")),
        "role-get-elsewhere",
    ),
    "a shared role that lists everything": (
        role_policy("acme", without_condition("ListOwnFiles", "StringLike")),
        "role-list-all",
    ),
    "a role that uses its key past S3": (
        role_policy("hooli", without_condition("KeyForOwnFiles", "StringEquals", "kms:ViaService")),
        "role-decrypt-directly",
    ),
    "a boundary that allows everything": (
        boundary(with_statement({"Effect": "Allow", "Action": "*", "Resource": "*"})),
        "boundary-get-elsewhere",
    ),
    "a boundary that forgot whose key it is": (
        boundary(without_condition("KeyOfTheTenant", "StringEquals", "aws:ResourceTag/tenant_id")),
        "boundary-decrypt-other-key",
    ),
    "a secret with a policy": (
        calls(
            "secretsmanager",
            lambda client, estate: client.put_resource_policy(
                SecretId=estate.tenants["hooli"].login_secret_arn,
                ResourcePolicy='{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*",'
                ' "Action": "secretsmanager:GetSecretValue", "Resource": "*"}]}',
            ),
            lambda client, estate, _: client.delete_resource_policy(SecretId=estate.tenants["hooli"].login_secret_arn),
        ),
        "secret-anonymous",
    ),
    "a secret under another tenant's key": (
        calls(
            "secretsmanager",
            lambda client, estate: client.update_secret(
                SecretId=estate.tenants["hooli"].login_secret_arn, KmsKeyId=estate.tenants["acme"].kms_key_arn
            ),
            lambda client, estate, _: client.update_secret(
                SecretId=estate.tenants["hooli"].login_secret_arn, KmsKeyId=estate.tenants["hooli"].kms_key_arn
            ),
        ),
        "secret-settings",
    ),
    "a database reached from anywhere": (
        ingress({"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}),
        "reach-from-anywhere",
    ),
    "a database reached from the network": (
        ingress({"IpProtocol": "-1", "IpRanges": [{"CidrIp": "10.64.0.0/16"}]}),
        "reach-from-the-network",
    ),
    "a database that is public": (instance(PubliclyAccessible=True), "instance-settings"),
}


@pytest.mark.parametrize("case", IN_AWS)
def test_a_fault_in_aws_is_found(estate: Estate, sdk: Tenantry, case: str) -> None:
    breaking, expected = IN_AWS[case]
    tenant = "acme" if "shared" in case else "hooli"
    with breaking(estate):
        assert expected in prove(estate, sdk, tenant)


def test_another_tenants_database_that_reaches_ours_is_found(estate: Estate, sdk: Tenantry) -> None:
    rds = estate.aws.client("rds")
    (found,) = rds.describe_db_instances(DBInstanceIdentifier=role_name(estate, "stark"))["DBInstances"]
    group = found["VpcSecurityGroups"][0]["VpcSecurityGroupId"]
    with ingress(from_group(group))(estate):
        assert prove(estate, sdk, "hooli", "stark", fast=False) == {"firewall", "reach-from-anothers-database"}


def test_an_endpoint_that_lets_foreign_credentials_through_is_found(estate: Estate, sdk: Tenantry) -> None:
    ec2 = estate.aws.client("ec2")
    vpc = estate.installation_known().platforms[0].vpc_id
    open_to_all = json.dumps({"Version": "2012-10-17", "Statement": [ANYBODY]})
    service = f"com.amazonaws.{estate.aws.region_name}.logs"
    made = ec2.create_vpc_endpoint(
        VpcId=vpc, ServiceName=service, VpcEndpointType="Interface", PolicyDocument=open_to_all
    )
    try:
        assert prove(estate, sdk, "hooli", fast=False) == {"endpoint-foreign"}
    finally:
        ec2.delete_vpc_endpoints(VpcEndpointIds=[made["VpcEndpoint"]["VpcEndpointId"]])


def test_what_a_tier_promises_as_its_own_is_compared(estate: Estate, sdk: Tenantry) -> None:
    stark = estate.tenants["stark"]
    alike = estate.tenants["hooli"].model_copy(update={"kms_key_arn": stark.kms_key_arn})
    known = estate.installation_known()
    found = prove_tenant(alike, [stark], sdk=sdk, aws=estate.aws, installation=known, fast=True)
    (attempt,) = [each for each in found if each.name == "own-parts"]
    assert attempt.actual == "fault: its key is another's too"


@pytest.mark.parametrize("tenant", ["acme", "globex", "initech", "hooli", "stark"])
def test_nothing_is_left_of_the_faults(estate: Estate, sdk: Tenantry, tenant: str) -> None:
    assert prove(estate, sdk, tenant, *estate.tenants, fast=False) == set()
