"""Cases of the rules on identities: IAM, tenants' access, credentials."""

from __future__ import annotations

from typing import Any

from tests.unit.policies.stacks import OFFBOARDED, PLATFORM, SILO, Case, allow, one, policy, r, unknown

POLICY = "aws:iam/policy:Policy"
ROLE_POLICY = "aws:iam/rolePolicy:RolePolicy"
ROLE = "aws:iam/role:Role"
KEY = "aws:kms/key:Key"
INSTANCE = "aws:rds/instance:Instance"
LOGIN = "tenantry-postgres:index:Role"
ACCOUNT = "arn:aws:iam::111122223333:root"
VARIABLE = "${aws:PrincipalTag/tenant_id}"
OBJECTS = f"arn:aws:s3:::shared/{VARIABLE}/*"
TAGGED = {"tags": {"tenant_id": "acme"}}


def documents(*statements: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    return tuple({"policy": policy(each)} for each in statements)


def trust(condition: Any, action: Any = "sts:AssumeRole", principal: Any = None) -> dict[str, Any]:
    return {"assumeRolePolicy": policy(allow(action, condition=condition, principal=principal or {"AWS": ACCOUNT}))}


def pinned(value: Any, operator: str = "StringEquals", key: str = "aws:RequestTag/tenant_id") -> dict[str, Any]:
    return {operator: {key: value}}


IAM = [
    Case(
        "access-wildcard-action",
        keeps=(
            *one(POLICY, *documents(allow("s3:GetObject", "*"), allow("s3:Get*", "*"))),
            *one(POLICY, *documents({"Effect": "Deny", "Action": "*", "Resource": "*"})),
            *one(ROLE, {}),
        ),
        breaks=(
            *one(POLICY, *documents(allow("*", "*"), allow(["s3:GetObject", "s3:*"], "*"), allow("s3:**", "*"))),
            *one(ROLE_POLICY, *documents({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"})),
            *one(POLICY, {"policy": {"Statement": {"effect": "ALLOW", "action": "KMS:*", "resource": "*"}}}),
            *one(ROLE, {"inlinePolicies": [{"name": "all", "policy": policy(allow("*:*", "*"))}]}),
            *one(POLICY, {"policy": "[]"}, {"policy": "nonsense"}, {"policy": policy()}),
        ),
        undecided=unknown(POLICY, {}, "policy"),
    ),
    Case(
        "access-wildcard-resource",
        keeps=one(
            POLICY,
            *documents(
                allow("s3:GetObject", "arn:aws:s3:::b/*"),
                allow(["ec2:DescribeInstances", "sts:GetCallerIdentity", "xray:PutTraceSegments"], "*"),
                allow("kms:Decrypt", "*", {"StringEquals": {"aws:ResourceTag/tenant_id": VARIABLE}}),
            ),
        ),
        breaks=(
            *one(
                POLICY,
                *documents(
                    allow("s3:GetObject", "*"),
                    allow(["sts:GetCallerIdentity", "s3:GetObject"], ["arn:aws:s3:::b/*", "*"]),
                    allow("s3:GetObject", "arn:aws:s3:::*"),
                    allow("kms:Decrypt", "arn:aws:kms:us-east-1:111122223333:key/*"),
                    allow("kms:Decrypt", "*", {"StringEqualsIfExists": {"aws:ResourceTag/tenant_id": "acme"}}),
                ),
            ),
            *one(
                ROLE_POLICY, *documents({"Effect": "Allow", "Action": "s3:GetObject", "NotResource": "arn:aws:s3:::b"})
            ),
        ),
        undecided=unknown(ROLE_POLICY, {}, "policy"),
    ),
    Case(
        "access-pass-role",
        keeps=one(POLICY, *documents(allow("iam:PassRole", "arn:aws:iam::111122223333:role/app"))),
        breaks=one(
            POLICY,
            *documents(
                allow("iam:PassRole", "*"),
                allow("iam:Pass*", "arn:aws:iam::111122223333:role/*"),
                allow("*", "*", {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}),
            ),
        ),
        undecided=unknown(POLICY, {}, "policy"),
    ),
    Case(
        "access-boundary",
        keeps=(
            *one(ROLE, {}, {**TAGGED, "permissionsBoundary": "arn:aws:iam::111122223333:policy/b"}),
            *unknown(ROLE, TAGGED, "permissionsBoundary"),
        ),
        breaks=(*one(ROLE, TAGGED), *one("aws:iam/user:User", TAGGED)),
        undecided=unknown(ROLE, {}, "tags"),
    ),
    Case("access-boundary", breaks=one(ROLE, {}), spec=SILO),
    Case(
        "access-managed-policy",
        keeps=(
            *one(ROLE, {"managedPolicyArns": ["arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"]}),
            *unknown("aws:iam/rolePolicyAttachment:RolePolicyAttachment", {}, "policyArn"),
        ),
        breaks=(
            *one(
                "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
                {"policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"},
                {"policyArn": "arn:aws-us-gov:iam::aws:policy/AmazonS3FullAccess"},
            ),
            *one(ROLE, {"managedPolicyArns": ["arn:aws:iam::aws:policy/IAMFullAccess"]}),
        ),
    ),
    Case(
        "access-static-credentials",
        keeps=one("aws:iam/user:User", {}),
        breaks=(
            *one("aws:iam/accessKey:AccessKey", {"user": "ci"}),
            *one("aws:iam/userLoginProfile:UserLoginProfile", {"user": "ann"}),
        ),
    ),
]

PIN = pinned("acme")
TENANTS = [
    Case(
        "access-trust-tenant-tag",
        keeps=(
            *one(ROLE, {}, {**TAGGED, **trust(PIN)}, trust(None)),
            *one(ROLE, {**TAGGED, **trust(None, principal={"Service": "lambda.amazonaws.com"})}),
        ),
        breaks=one(
            ROLE,
            {**TAGGED, **trust(None)},
            {**TAGGED, **trust(pinned(["acme", "globex"]))},
            {**TAGGED, **trust(pinned("globex"))},
            {**TAGGED, **trust(pinned("acme", "StringLike"))},
            {**TAGGED, **trust(pinned("acme", "StringEqualsIfExists"))},
            {**TAGGED, **trust(pinned("acme", "ForAllValues:StringEquals"))},
            {**TAGGED, **trust(pinned("acme", key="aws:PrincipalTag/tenant_id"))},
            {**TAGGED, **trust(None, principal={"Service": "lambda.amazonaws.com", "AWS": ACCOUNT})},
            {**TAGGED, "assumeRolePolicy": "{}"},
        ),
        undecided=unknown(ROLE, TAGGED, "assumeRolePolicy"),
    ),
    Case("access-trust-tenant-tag", keeps=one(ROLE, trust(PIN)), breaks=one(ROLE, trust(None)), spec=SILO),
    Case(
        "access-trust-tenant-tag",
        keeps=one(ROLE, trust(pinned("?*", "StringLike")), trust({"Null": {"aws:RequestTag/tenant_id": "false"}})),
        breaks=one(
            ROLE, trust(None), trust(pinned("*", "StringLike")), trust({"Null": {"aws:RequestTag/tenant_id": "true"}})
        ),
        spec=PLATFORM,
    ),
    Case(
        "access-tenant-scope",
        keeps=one(POLICY, *documents(allow("s3:GetObject", "arn:aws:s3:::b/*"))),
        breaks=one(POLICY, {**TAGGED, **documents(allow("s3:GetObject", "arn:aws:s3:::b/*"))[0]}),
        undecided=unknown(POLICY, TAGGED, "policy"),
    ),
    Case(
        "access-tenant-scope",
        keeps=one(
            ROLE_POLICY,
            *documents(
                allow("s3:GetObject", OBJECTS),
                allow("s3:ListBucket", "arn:aws:s3:::shared", {"StringLike": {"s3:prefix": [f"{VARIABLE}/*"]}}),
                allow("ec2:DescribeInstances", "*"),
                allow("kms:Decrypt", "key", {"StringEquals": {"aws:ResourceTag/tenant_id": VARIABLE}}),
                allow(
                    "kms:Decrypt",
                    "key",
                    {
                        "StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com"},
                        "StringLike": {"kms:EncryptionContext:aws:s3:arn": ["arn:aws:s3:::shared", OBJECTS]},
                    },
                ),
            ),
        ),
        breaks=one(
            ROLE_POLICY,
            *documents(
                allow("s3:GetObject", "arn:aws:s3:::shared/*"),
                allow("s3:GetObject", [OBJECTS, "arn:aws:s3:::shared/public/*"]),
                allow("s3:ListBucket", "arn:aws:s3:::shared"),
                allow("s3:ListBucket", "arn:aws:s3:::shared", {"StringLike": {"s3:prefix": ["*", f"{VARIABLE}/*"]}}),
                allow("kms:Decrypt", "key", {"StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com"}}),
                allow("s3:GetObject", "arn:aws:s3:::tenantry-acme-01234567/*"),
            ),
        ),
        undecided=unknown(ROLE_POLICY, {}, "policy"),
        spec=PLATFORM,
    ),
    Case(
        "access-tenant-scope",
        keeps=one(
            ROLE_POLICY,
            *documents(
                allow("s3:GetObject", "arn:aws:s3:::tenantry-acme-01234567/*"),
                allow("s3:GetObject", "arn:aws:s3:::b/*", pinned("acme", key="aws:PrincipalTag/tenant_id")),
            ),
        ),
        breaks=one(
            ROLE_POLICY,
            *documents(
                allow("s3:GetObject", "arn:aws:s3:::tenantry-globex-01234567/*"),
                allow("s3:GetObject", "arn:aws:s3:::b/*", pinned(["acme", "globex"], key="aws:PrincipalTag/tenant_id")),
            ),
        ),
        spec=SILO,
    ),
    Case(
        "access-key-policy",
        keeps=(
            *one(KEY, {}, {**TAGGED, "policy": policy(allow("kms:*", "*", principal={"AWS": ACCOUNT}))}),
            *unknown(KEY, {}, "policy"),
        ),
        breaks=one(
            KEY,
            {
                **TAGGED,
                "policy": policy(
                    allow("kms:Decrypt", "*", pinned("globex", key="aws:PrincipalTag/tenant_id"), {"AWS": ACCOUNT})
                ),
            },
        ),
        undecided=unknown(KEY, TAGGED, "policy"),
    ),
    Case(
        "access-key-policy",
        keeps=one(
            KEY,
            *documents(
                allow("kms:PutKeyPolicy", "*", principal={"AWS": ACCOUNT}),
                allow(
                    "kms:Decrypt",
                    "*",
                    {"StringEquals": {"kms:ViaService": "rds.us-east-1.amazonaws.com"}},
                    {"AWS": ACCOUNT},
                ),
            ),
        ),
        breaks=(
            *one(KEY, {}),
            *one(
                KEY,
                *documents(
                    allow("kms:*", "*", principal={"AWS": ACCOUNT}),
                    allow("kms:Decrypt", "*", principal={"Service": "logs.us-east-1.amazonaws.com"}),
                    allow(
                        "kms:Decrypt",
                        "*",
                        {"StringLike": {"kms:EncryptionContext:aws:s3:arn": "arn:aws:s3:::tenantry-globex-01234567"}},
                        {"AWS": ACCOUNT},
                    ),
                    {"Effect": "Allow", "NotPrincipal": {"AWS": ACCOUNT}, "Action": "kms:DescribeKey", "Resource": "*"},
                ),
            ),
            *one("aws:kms/keyPolicy:KeyPolicy", *documents(allow("*", "*", principal={"AWS": ACCOUNT}))),
        ),
        spec=SILO,
    ),
]

CREDENTIALS = [
    Case(
        "credentials-master-password",
        keeps=one(INSTANCE, {"manageMasterUserPassword": True}, {"replicateSourceDb": "primary"}),
        breaks=(
            *one(INSTANCE, {}, {"password": "p"}, {"manageMasterUserPassword": True, "passwordWo": "p"}),
            *one("aws:rds/cluster:Cluster", {"masterPassword": "p"}),
            *unknown(INSTANCE, {}, "password"),
        ),
        undecided=unknown(INSTANCE, {}, "manageMasterUserPassword"),
    ),
    Case(
        "credentials-shared",
        keeps=(
            (
                r("aws:secretsmanager/secret:Secret", "s"),
                r("aws:secretsmanager/secret:Secret", "t"),
                r(LOGIN, "a", refs={"secretArn": "s"}),
                r(LOGIN, "b", refs={"secretArn": "t"}),
                r(LOGIN, "owner"),
            ),
        ),
        breaks=(
            (
                r("aws:secretsmanager/secret:Secret", "s"),
                r(LOGIN, "a", refs={"secretArn": "s"}),
                r(LOGIN, "b", refs={"secretArn": "s"}),
            ),
            (r(INSTANCE, "a", password="{case}-p"), r(INSTANCE, "b", password="{case}-p")),
        ),
    ),
]

OFFBOARDING = [
    Case("resilience-deletion-protection", keeps=one(INSTANCE, {}), spec=OFFBOARDED),
    Case("resilience-final-snapshot", keeps=one(INSTANCE, {"skipFinalSnapshot": True}), spec=OFFBOARDED),
    Case("resilience-protect", keeps=one(INSTANCE, {}), spec=OFFBOARDED),
    Case("resilience-recoverable", keeps=one("aws:s3/bucket:Bucket", {"forceDestroy": True}), spec=OFFBOARDED),
]

CASES = (*IAM, *TENANTS, *CREDENTIALS, *OFFBOARDING)
