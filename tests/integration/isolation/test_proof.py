"""The proof on tenants that are isolated, and on tenants whose isolation was broken on purpose."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx
import pytest
from psycopg import sql

from isolation.attempts import Attempt, Layer
from isolation.proof import prove_all, prove_pair
from isolation.report import explain, isolated
from localcloud.postgres.master import set_password
from tenantry import Tenantry
from tests.integration.isolation.conftest import TENANTS
from tests.integration.isolation.estate import Estate
from tests.integration.tenantry.world import serve_asgi

Break = Callable[[Estate], AbstractContextManager[None]]

#: what comes of these depends on the logins alone: of the tenants that share them one tries
OF_LOGINS = {
    "file-name",
    "statistics",
    "injected-tenant",
    "replace-token-check",
    "temporary-tables",
    "temporary-functions",
    "temporary-operators",
    "after-killed-client",
    "session-after-error",
    "session-after-lost-server",
    "session-after-leftovers",
    "tenant-in-header",
    "tenant-in-query",
    "tenant-in-path",
    "tenant-in-field",
    "tenant-in-list",
    "tenant-in-form",
    "tenant-injected",
}
SHARED_TABLE_ATTACKS = {
    "no-tenant",
    "forged-tenant",
    "forged-token",
    "reset-all",
    "raw-select",
    "unprotected-table",
    "privileged-code",
    "insert-for-another",
    "give-a-row-away",
    "delete-anothers",
    "set-role",
    "row-security-off",
    "token-key",
    "nonsense-tenant",
    "altered-token",
    "tenant-register",
    "unique-values",
    "foreign-key",
    "failing-condition",
    "quoting-condition",
    "copy-out",
    "copy-in",
    "after-error",
    "after-rollback",
    "after-commit",
    "after-savepoint",
    "after-chain",
    "after-failed-commit",
    "activity",
}
OTHER_SCHEMA_ATTACKS = {
    "enter-schema",
    "read-schema",
    "write-schema",
    "create-in-schema",
    "become-another",
    "connect-as-another",
    "activity",
}
AWS_ATTACKS = {
    "assume-role",
    "no-tag",
    "own-tag-on-anothers-role",
    "read-login-secret",
    "get-object",
    "put-object",
    "delete-object",
    "list-files",
    "get-object-role-alone",
    "get-object-boundary-alone",
    "get-object-bucket-alone",
    "decrypt-object",
    "use-key-directly",
}
AWS_ATTACKS |= {"chain-role", "chain-role-untransitive", "chain-role-untagged"} | {
    f"every-{service}-action-{whose}"
    for service in ("s3", "kms", "secretsmanager", "sts", "iam")
    for whose in ("own", "others", "untagged")
}
API_ATTACKS = {"conflicting-tenant", "no-token", "wrong-token", "chosen-placement"}


def database_attacks(attacker: str, victim: str) -> set[str]:
    tiers = (TENANTS[attacker], TENANTS[victim])
    if tiers == ("pool", "pool"):
        return SHARED_TABLE_ATTACKS
    if "silo" not in tiers:
        return OTHER_SCHEMA_ATTACKS
    # the first silo has a server of its own
    return {"connect", "connect-as-another"} | (set() if "hooli" in (attacker, victim) else {"activity"})


def test_tenants_of_every_pair_of_tiers_are_isolated(estate: Estate, sdk: Tenantry) -> None:
    seen: list[Attempt] = []
    every = len(TENANTS)
    attempts = prove_all(estate.tenants.values(), sdk=sdk, aws=estate.aws, sample=every, seen=seen.append)
    assert [explain(each) for each in attempts if not each.passed] == []
    assert isolated(attempts)
    assert seen == attempts
    for attacker, victim in itertools.permutations(TENANTS, 2):
        tried = {each.name for each in attempts if (each.attacker, each.victim) == (attacker, victim)} - OF_LOGINS
        listed = set() if TENANTS[victim] == "silo" else {"list-bucket"}
        apart = {"reach-from-anothers-database"} if "silo" in (TENANTS[attacker], TENANTS[victim]) else set()
        assert tried == database_attacks(attacker, victim) | AWS_ATTACKS | listed | API_ATTACKS | apart
    assert {each.name for each in attempts} >= OF_LOGINS


def test_denials_name_what_decided_and_their_twins_were_allowed(estate: Estate, sdk: Tenantry) -> None:
    pool = {each.name: each for each in against(estate, sdk, "acme", "globex")}
    assert pool["no-tenant"].decided_by == "42501"
    assert pool["forged-tenant"].actual == "42501: tenant token invalid"
    assert "row-level security" in pool["insert-for-another"].actual
    assert pool["raw-select"].actual.startswith("no rows")
    assert "globex has rows in" in pool["raw-select"].tried
    assert "OwnPrefixOnly" in pool["get-object"].decided_by
    assert "OwnFiles" in pool["get-object"].allow.decided_by
    assert "tenant-data" in pool["get-object-role-alone"].actual + pool["get-object"].allow.decided_by
    silo = {each.name: each for each in against(estate, sdk, "acme", "hooli")}
    assert silo["connect"].decided_by == "28P01"
    assert "ContentForTenantSessionsOnly" in silo["get-object"].decided_by
    assert "trust policy" in silo["own-tag-on-anothers-role"].decided_by
    assert {each.layer for each in silo.values()} == set(Layer)


def test_what_the_proof_writes_is_gone_afterwards(estate: Estate, sdk: Tenantry) -> None:
    with estate.owner("acme") as admin:
        admin.execute("DELETE FROM pool.project")
    assert isolated(against(estate, sdk, "acme", "globex"))
    with estate.owner("acme") as admin:
        assert admin.execute("SELECT count(*) FROM pool.project").fetchone() == (0,)
    files = sdk.files("acme")
    assert list(files.list()) == []


def test_rows_that_are_there_are_used_and_left_alone(estate: Estate, sdk: Tenantry) -> None:
    with estate.owner("acme") as admin:
        for tenant in ("acme", "globex"):
            admin.execute("INSERT INTO pool.project (tenant_id, name) VALUES (%s, 'kept')", (tenant,))
        before = admin.execute("SELECT xmin, * FROM pool.project ORDER BY tenant_id").fetchall()
        try:
            assert isolated(against(estate, sdk, "acme", "globex"))
            assert admin.execute("SELECT xmin, * FROM pool.project ORDER BY tenant_id").fetchall() == before
        finally:
            admin.execute("DELETE FROM pool.project")


def test_fewer_than_two_tenants_prove_nothing(estate: Estate, sdk: Tenantry) -> None:
    assert not isolated(prove_all(estate.outputs("acme"), sdk=sdk, aws=estate.aws))


# -- isolation broken on purpose -----------------------------------------------------------------------------------


def against(estate: Estate, sdk: Tenantry, attacker: str, victim: str) -> list[Attempt]:
    return prove_pair(estate.tenants[attacker], estate.tenants[victim], sdk=sdk, aws=estate.aws)


def statements(tenant: str, broken: str, mended: str) -> Break:
    """As the superuser in the database of ``tenant``; names in braces are filled in."""

    @contextmanager
    def breaking(estate: Estate) -> Iterator[None]:
        names = {
            f"{each}_{what}": getattr(outputs, what)
            for each, outputs in estate.tenants.items()
            for what in ("db_schema", "login")
        } | {f"{each}_database": outputs.database.name for each, outputs in estate.tenants.items()}
        with estate.owner(tenant) as admin:
            admin.execute(broken.format(**names).encode())
            try:
                yield
            finally:
                admin.execute(mended.format(**names).encode())

    return breaking


def policy(using: str) -> Break:
    return statements(
        "acme",
        f"ALTER POLICY tenantry_tenant ON pool.project USING ({using}) WITH CHECK ({using})",
        "ALTER POLICY tenantry_tenant ON pool.project USING (tenant_id = (SELECT tenantry.current_tenant()))"
        " WITH CHECK (tenant_id = (SELECT tenantry.writing_tenant()))",
    )


SETTING = "tenant_id = current_setting('app.current_tenant', true)"
TRUSTING = """
ALTER FUNCTION tenantry.current_tenant() RENAME TO genuine;
CREATE FUNCTION tenantry.current_tenant() RETURNS text LANGUAGE sql STABLE
    AS $$ SELECT current_setting('app.current_tenant', true) $$;
GRANT EXECUTE ON FUNCTION tenantry.current_tenant() TO {acme_login};
ALTER POLICY tenantry_tenant ON pool.project USING (tenant_id = (SELECT tenantry.current_tenant()));
"""
MISTRUSTING = """
ALTER FUNCTION tenantry.current_tenant() RENAME TO trusting;
ALTER FUNCTION tenantry.genuine() RENAME TO current_tenant;
ALTER POLICY tenantry_tenant ON pool.project USING (tenant_id = (SELECT tenantry.current_tenant()));
DROP FUNCTION tenantry.trusting();
"""
IN_DATABASE: dict[str, tuple[Break, str, str, set[str]]] = {
    "a table without row-level security": (
        statements(
            "acme",
            "ALTER TABLE pool.project DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE pool.project ENABLE ROW LEVEL SECURITY",
        ),
        "acme",
        "globex",
        {"raw-select", "no-tenant", "forged-tenant", "unprotected-table", "insert-for-another", "delete-anothers"},
    ),
    "an empty table without row-level security": (
        statements(
            "acme",
            "ALTER TABLE pool.comment DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE pool.comment ENABLE ROW LEVEL SECURITY",
        ),
        "acme",
        "globex",
        {"unprotected-table", "insert-for-another"},
    ),
    "row-level security that the owner escapes": (
        statements(
            "acme",
            "ALTER TABLE pool.comment NO FORCE ROW LEVEL SECURITY",
            "ALTER TABLE pool.comment FORCE ROW LEVEL SECURITY",
        ),
        "acme",
        "globex",
        {"unprotected-table"},
    ),
    "a policy without the tenant": (policy("true"), "acme", "globex", {"raw-select", "insert-for-another"}),
    "a policy on the setting alone": (policy(SETTING), "acme", "globex", {"forged-tenant", "forged-token"}),
    "a second policy that lets everybody through": (
        statements("acme", "CREATE POLICY open ON pool.project USING (true)", "DROP POLICY open ON pool.project"),
        "acme",
        "globex",
        {"raw-select"},
    ),
    "a function that verifies nothing": (
        statements("acme", TRUSTING, MISTRUSTING),
        "acme",
        "globex",
        {"forged-tenant", "forged-token"},
    ),
    "a token key that the login reads": (
        statements(
            "acme",
            "GRANT SELECT ON tenantry.pool_key TO {acme_login}",
            "REVOKE SELECT ON tenantry.pool_key FROM {acme_login}",
        ),
        "acme",
        "globex",
        {"token-key"},
    ),
    "a login that bypasses row-level security": (
        statements("acme", "ALTER ROLE {acme_login} BYPASSRLS", "ALTER ROLE {acme_login} NOBYPASSRLS"),
        "acme",
        "globex",
        {"raw-select", "row-security-off", "no-tenant"},
    ),
    "a materialized view over all tenants": (
        statements(
            "acme",
            "CREATE MATERIALIZED VIEW pool.copied AS SELECT 'globex'::text AS tenant_id;"
            " GRANT SELECT ON pool.copied TO {acme_login}",
            "DROP MATERIALIZED VIEW pool.copied",
        ),
        "acme",
        "globex",
        {"raw-select", "unprotected-table"},
    ),
    "a table without a tenant that may be written": (
        statements(
            "acme",
            "CREATE TABLE pool.noticeboard (line text); GRANT INSERT ON pool.noticeboard TO {acme_login}",
            "DROP TABLE pool.noticeboard",
        ),
        "acme",
        "globex",
        {"unprotected-table"},
    ),
    "a function that runs as a superuser": (
        statements(
            "acme",
            "CREATE FUNCTION pool.projects() RETURNS bigint LANGUAGE sql SECURITY DEFINER"
            " AS 'SELECT count(*) FROM pool.project'; GRANT EXECUTE ON FUNCTION pool.projects() TO {acme_login}",
            "DROP FUNCTION pool.projects()",
        ),
        "acme",
        "globex",
        {"privileged-code"},
    ),
    "a view that runs as a superuser": (
        statements(
            "acme",
            "CREATE VIEW pool.names AS SELECT name FROM pool.project; GRANT SELECT ON pool.names TO {acme_login}",
            "DROP VIEW pool.names",
        ),
        "acme",
        "globex",
        {"privileged-code"},
    ),
    "a grant to another schema": (
        statements(
            "initech",
            "GRANT USAGE ON SCHEMA {umbrella_db_schema} TO {initech_login};"
            " GRANT SELECT ON ALL TABLES IN SCHEMA {umbrella_db_schema} TO {initech_login}",
            "REVOKE ALL ON SCHEMA {umbrella_db_schema} FROM {initech_login};"
            " REVOKE ALL ON ALL TABLES IN SCHEMA {umbrella_db_schema} FROM {initech_login}",
        ),
        "initech",
        "umbrella",
        {"enter-schema", "read-schema"},
    ),
    "a grant of one table in another schema to the pool": (
        statements(
            "initech",
            "GRANT USAGE ON SCHEMA {initech_db_schema} TO {acme_login};"
            " GRANT DELETE ON {initech_db_schema}.comment TO {acme_login}",
            "REVOKE ALL ON SCHEMA {initech_db_schema} FROM {acme_login};"
            " REVOKE ALL ON {initech_db_schema}.comment FROM {acme_login}",
        ),
        "acme",
        "initech",
        {"enter-schema", "write-schema"},
    ),
    "a membership in another tenant's role": (
        statements(
            "initech",
            "GRANT {umbrella_login} TO {initech_login}",
            "REVOKE {umbrella_login} FROM {initech_login}",
        ),
        "initech",
        "umbrella",
        {"become-another", "read-schema"},
    ),
    "a schema that others create in": (
        statements(
            "initech",
            "GRANT CREATE ON SCHEMA {umbrella_db_schema} TO {initech_login}",
            "REVOKE CREATE ON SCHEMA {umbrella_db_schema} FROM {initech_login}",
        ),
        "initech",
        "umbrella",
        {"create-in-schema"},
    ),
    "a database that others connect to": (
        statements(
            "stark",
            "GRANT CONNECT ON DATABASE {stark_database} TO {acme_login}",
            "REVOKE CONNECT ON DATABASE {stark_database} FROM {acme_login}",
        ),
        "acme",
        "stark",
        {"connect"},
    ),
}


@pytest.mark.parametrize("case", IN_DATABASE)
def test_a_hole_in_a_database_is_noticed(estate: Estate, sdk: Tenantry, case: str) -> None:
    breaking, attacker, victim, expected = IN_DATABASE[case]
    with breaking(estate):
        assert expected <= failures(against(estate, sdk, attacker, victim))
    assert failures(against(estate, sdk, attacker, victim)) == set()


def failures(attempts: list[Attempt]) -> set[str]:
    assert attempts
    return {each.name for each in attempts if not each.passed}


def test_a_login_of_the_same_name_and_password_on_another_server_is_noticed(estate: Estate, sdk: Tenantry) -> None:
    login = estate.tenants["acme"].login
    password = estate.shared.value(estate.tenants["acme"].login_secret_arn)["password"]
    with estate.owner("hooli") as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(login)))
        set_password(admin, login, password)
        admin.execute(f"GRANT CONNECT ON DATABASE {estate.tenants['hooli'].database.name} TO {login}".encode())
        try:
            assert failures(against(estate, sdk, "acme", "hooli")) == {"connect"}
        finally:
            admin.execute(f"DROP OWNED BY {login}; DROP ROLE {login}".encode())


# -- in AWS --------------------------------------------------------------------------------------------------------

EVERYTHING: dict[str, Any] = {"Effect": "Allow", "Action": "*", "Resource": "*"}


@contextmanager
def role_policy(estate: Estate, tenant: str, document: dict[str, Any]) -> Iterator[None]:
    iam, name = estate.aws.client("iam"), role_name(estate, tenant)
    iam.put_role_policy(RoleName=name, PolicyName="wildcard", PolicyDocument=json.dumps(document))
    try:
        yield
    finally:
        iam.delete_role_policy(RoleName=name, PolicyName="wildcard")


@contextmanager
def trust(estate: Estate, tenant: str, change: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    iam, name = estate.aws.client("iam"), role_name(estate, tenant)
    before = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    changed = json.loads(json.dumps(before))
    change(changed)
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(changed))
    try:
        yield
    finally:
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(before))


@contextmanager
def bucket_without_policy(estate: Estate, tenant: str) -> Iterator[None]:
    s3, bucket = estate.aws.client("s3"), estate.tenants[tenant].bucket
    before = s3.get_bucket_policy(Bucket=bucket)["Policy"]
    s3.delete_bucket_policy(Bucket=bucket)
    try:
        yield
    finally:
        s3.put_bucket_policy(Bucket=bucket, Policy=before)


@contextmanager
def no_boundary(estate: Estate, tenant: str) -> Iterator[None]:
    iam, name = estate.aws.client("iam"), role_name(estate, tenant)
    before = iam.get_role(RoleName=name)["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"]
    iam.delete_role_permissions_boundary(RoleName=name)
    try:
        yield
    finally:
        iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=before)


def role_name(estate: Estate, tenant: str) -> str:
    return estate.tenants[tenant].role_arn.rsplit("/", 1)[1]


def all_of(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


@pytest.mark.parametrize("victim", ["globex", "hooli"])
def test_a_wildcard_in_a_role_policy_is_noticed_though_other_walls_hold(
    estate: Estate, sdk: Tenantry, victim: str
) -> None:
    with role_policy(estate, "acme", all_of(EVERYTHING)):
        assert failures(against(estate, sdk, "acme", victim)) == {"get-object-role-alone"}


def test_walls_that_fall_together_let_the_attacker_in(estate: Estate, sdk: Tenantry) -> None:
    with (
        role_policy(estate, "acme", all_of(EVERYTHING)),
        bucket_without_policy(estate, "globex"),
        no_boundary(estate, "acme"),
    ):
        found = failures(against(estate, sdk, "acme", "globex"))
    assert {"get-object", "put-object", "delete-object", "list-files", "list-bucket", "read-login-secret"} <= found
    assert isolated(against(estate, sdk, "acme", "globex"))


def test_a_bucket_without_a_policy_is_noticed(estate: Estate, sdk: Tenantry) -> None:
    with bucket_without_policy(estate, "hooli"):
        assert failures(against(estate, sdk, "acme", "hooli")) == {"get-object-bucket-alone"}


def test_a_missing_boundary_is_noticed(estate: Estate, sdk: Tenantry) -> None:
    with no_boundary(estate, "acme"):
        assert failures(against(estate, sdk, "acme", "hooli")) == {"get-object-boundary-alone"}


def test_a_role_policy_without_the_tenant_variable_is_noticed(estate: Estate, sdk: Tenantry) -> None:
    bucket = f"arn:aws:s3:::{estate.tenants['acme'].bucket}"
    files = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": f"{bucket}/*"}
    with role_policy(estate, "acme", all_of(files)):
        assert failures(against(estate, sdk, "acme", "globex")) == {"get-object-role-alone"}


def test_a_trust_policy_that_asks_for_no_tag_is_noticed(estate: Estate, sdk: Tenantry) -> None:
    def forget(document: dict[str, Any]) -> None:
        del document["Statement"][0]["Condition"]

    with trust(estate, "globex", forget):
        assert "no-tag" in failures(against(estate, sdk, "hooli", "globex"))
    with trust(estate, "hooli", forget):
        assert {"no-tag", "own-tag-on-anothers-role"} <= failures(against(estate, sdk, "acme", "hooli"))


def test_a_trust_policy_that_lets_a_tenant_in_is_noticed(estate: Estate, sdk: Tenantry) -> None:
    session = {
        "Effect": "Allow",
        "Principal": {"AWS": estate.tenants["acme"].role_arn},
        "Action": ["sts:AssumeRole", "sts:TagSession"],
    }
    chain = {"Effect": "Allow", "Action": ["sts:AssumeRole", "sts:TagSession"], "Resource": "*"}
    with (
        trust(estate, "hooli", lambda document: document["Statement"].append(session)),
        no_boundary(estate, "acme"),
        role_policy(estate, "acme", all_of(chain)),
    ):
        # the tag is transitive: not even then does the session become the other's
        assert "assume-role" not in failures(against(estate, sdk, "acme", "hooli"))


def test_a_key_that_anybody_may_use_is_noticed(estate: Estate, sdk: Tenantry) -> None:
    kms, arn = estate.aws.client("kms"), estate.tenants["hooli"].kms_key_arn
    key = arn.rsplit("/", 1)[1]
    before = kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]
    anybody = all_of({"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "kms:*", "Resource": "*"})
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(anybody))
    try:
        found = failures(against(estate, sdk, "acme", "hooli"))
        assert {"decrypt-object", "use-key-directly"} <= found
    finally:
        kms.put_key_policy(KeyId=key, PolicyName="default", Policy=before)


def test_a_secret_that_a_tenant_may_read_is_noticed(estate: Estate, sdk: Tenantry) -> None:
    client, arn = estate.aws.client("secretsmanager"), estate.tenants["hooli"].login_secret_arn
    readable = {
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": "secretsmanager:GetSecretValue",
        "Resource": "*",
    }
    client.put_resource_policy(SecretId=arn, ResourcePolicy=json.dumps(all_of(readable)))
    try:
        found = failures(against(estate, sdk, "acme", "hooli"))
        assert found == {"read-login-secret", "every-secretsmanager-action-others"}
    finally:
        client.delete_resource_policy(SecretId=arn)


def test_a_role_that_is_not_there_is_a_failure_and_no_exception(estate: Estate, sdk: Tenantry) -> None:
    gone = estate.tenants["hooli"].model_copy(update={"role_arn": estate.tenants["hooli"].role_arn + "x"})
    attempts = prove_pair(estate.tenants["acme"], gone, sdk=sdk, aws=estate.aws)
    found = {each.name: each for each in attempts}
    assert not found["assume-role"].passed
    assert found["assume-role"].actual == "NoSuchEntity: of GetRole"
    assert found["get-object"].passed, "what does not depend on it is still tried"


# -- in the service ------------------------------------------------------------------------------------------------


def test_a_broker_that_asks_for_no_token_is_noticed(estate: Estate) -> None:
    config = estate.config()

    async def trusting(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {"Authorization": f"Bearer {config.application_token}", "Content-Type": "application/json"}
        async with httpx.AsyncClient(headers=headers) as client:
            answer = await client.post(config.api_url + scope["path"], content=body)
        await send({"type": "http.response.start", "status": answer.status_code, "headers": []})
        await send({"type": "http.response.body", "body": answer.content})

    with serve_asgi(trusting) as url, Tenantry(estate.config(api_url=url)) as sdk:
        assert failures(against(estate, sdk, "acme", "globex")) == {"no-token", "wrong-token"}


def test_routing_that_differs_from_the_stack_is_a_failure_of_every_attempt_on_it(estate: Estate, sdk: Tenantry) -> None:
    wrong = estate.tenants["initech"].model_copy(update={"db_schema": estate.tenants["umbrella"].db_schema})
    attempts = prove_pair(wrong, estate.tenants["acme"], sdk=sdk, aws=estate.aws)
    (first, *_) = [each for each in attempts if each.layer is Layer.DATABASE]
    assert not first.passed
    assert "schema of tenant initech" in first.actual


def test_a_suspended_tenant_and_a_dead_server_are_failures_and_no_exceptions(estate: Estate) -> None:
    with estate.server.admin(estate.control) as admin:
        admin.execute("UPDATE registry.placement SET access = 'suspended' WHERE tenant_id = 'globex'")
    try:
        with Tenantry(estate.config()) as sdk:
            attempts = against(estate, sdk, "globex", "acme")
            assert any("TenantSuspended" in each.actual for each in attempts)
            assert not isolated(attempts)
    finally:
        with estate.server.admin(estate.control) as admin:
            admin.execute("UPDATE registry.placement SET access = 'full' WHERE tenant_id = 'globex'")
    with Tenantry(estate.config(connect_overrides=lambda placement: {"port": 1})) as sdk:
        attempts = against(estate, sdk, "acme", "hooli")
        assert not any(each.passed for each in attempts if each.layer is Layer.DATABASE)


def test_no_secret_is_in_the_evidence(estate: Estate, sdk: Tenantry) -> None:
    text = json.dumps([each.as_dict() for each in prove_all(estate.outputs("acme", "hooli"), sdk=sdk, aws=estate.aws)])
    secrets = [estate.shared.value(estate.pool_token_secret)["key"], estate.config().application_token]
    secrets += [estate.shared.value(estate.tenants[each].login_secret_arn)["password"] for each in ("acme", "hooli")]
    assert [secret for secret in secrets if secret in text] == []
    assert "acme" in text
