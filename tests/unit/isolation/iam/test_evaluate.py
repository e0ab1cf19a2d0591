"""The evaluation logic, in cases of AWS's documentation, and properties that hold whatever the policies are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isolation.iam import (
    Environment,
    Grant,
    Kind,
    Outcome,
    PolicyDocument,
    PolicyError,
    Request,
    ResourcePolicies,
    Service,
    User,
    authorize,
    simulate,
)
from isolation.iam.principals import Principal
from tests.unit.isolation.iam.cases import ACCOUNT, OTHER, allow, deny, document, role, session, user

OBJECT = "arn:aws:s3:::bucket/tenants/acme/file"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/k"
SESSION_ARN = f"arn:aws:sts::{ACCOUNT}:assumed-role/app/s1"
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/app"
ROOT_ARN = f"arn:aws:iam::{ACCOUNT}:root"


def ask(principal: Principal, action: str = "s3:GetObject", resource: str = OBJECT, **context: Any) -> Request:
    return Request(principal, action, resource, ACCOUNT, context)


def bucket(*statements: dict[str, Any]) -> ResourcePolicies:
    return ResourcePolicies(document(*statements, source="bucket"))


def test_nothing_allows_by_default() -> None:
    decision = authorize(ask(session()))
    assert decision.outcome is Outcome.IMPLICIT_DENY
    assert "no identity policy" in decision.reason


@pytest.mark.parametrize(
    ("action", "asked", "expected"),
    [
        ("s3:GetObject", "s3:GetObject", True),
        ("S3:getobject", "s3:GetObject", True),
        ("s3:Get*", "s3:GetObject", True),
        ("s3:*", "s3:GetObject", True),
        ("*", "s3:GetObject", True),
        ("s3:G?tObject", "s3:GetObject", True),
        ("s3:Get", "s3:GetObject", False),
        ("s3:GetObject", "s3:GetObjectAcl", False),
        ("kms:*", "s3:GetObject", False),
    ],
)
def test_actions(action: str, asked: str, expected: bool) -> None:
    assert authorize(ask(session(allow(action)), asked)).allowed is expected


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ("*", True),
        (OBJECT, True),
        ("arn:aws:s3:::bucket/*", True),
        ("arn:aws:s3:::bucket*", True),
        ("arn:aws:s3:::bucket/tenants/acme/fil?", True),
        ("arn:aws:s3:::Bucket/*", False),
        ("arn:aws:s3:::bucket", False),
        ("arn:aws:s3:::other/*", False),
        ("arn:aws:s3:*", True),
        ("arn:aws:s3", True),
        ("arn:aws:kms:*", False),
    ],
)
def test_resources(resource: str, expected: bool) -> None:
    assert authorize(ask(session(allow(resource=resource)))).allowed is expected


@pytest.mark.parametrize(
    ("pattern", "resource", "expected"),
    [
        # a star that ends its part may run on past the colon, as AWS documents it
        ("arn:aws:dynamodb:*:table/t", f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/t", True),
        ("arn:aws:dynamodb:us-*-1:table/t", f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/t", False),
        (f"arn:aws:dynamodb:us-*-1:{ACCOUNT}:table/t", f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/t", True),
        (f"arn:aws:dynamodb:us-east-?:{ACCOUNT}:table/t", f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/t", True),
        ("arn:aws:sns:us-east-1?topic", f"arn:aws:sns:us-east-1:{ACCOUNT}:topic", False),
        # in the resource part colons are letters
        (f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:a*z", f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:a:b:z", True),
        (f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group?a", f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:a", True),
    ],
)
def test_wildcards_within_and_across_the_parts_of_an_arn(pattern: str, resource: str, expected: bool) -> None:
    assert authorize(ask(session(allow("*", pattern)), "x:Do", resource)).allowed is expected


def test_a_hostile_pattern_takes_no_longer_than_any_other() -> None:
    policy = allow("s3:" + "*e" * 200 + "x", "arn:aws:s3:::" + "*a" * 500 + "b")
    assert not authorize(ask(session(policy), "s3:" + "e" * 300, "arn:aws:s3:::" + "a" * 3000)).allowed


def test_not_action_and_not_resource_are_the_rest() -> None:
    spared = session({"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"})
    assert not authorize(ask(spared)).allowed
    assert authorize(ask(spared, "kms:Decrypt", KEY)).allowed
    elsewhere = session({"Effect": "Allow", "Action": "s3:*", "NotResource": "arn:aws:s3:::bucket/*"})
    assert not authorize(ask(elsewhere)).allowed
    assert authorize(ask(elsewhere, resource="arn:aws:s3:::else/x")).allowed


TENANT = allow(resource="arn:aws:s3:::bucket/tenants/${aws:PrincipalTag/tenant_id}/*")


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"tenant_id": "acme"}, True),
        ({"Tenant_ID": "acme"}, True),
        ({"tenant_id": "globex"}, False),
        ({"tenant_id": "*"}, False),
        ({"tenant_id": "a?me"}, False),
        ({"tenant_id": "acm"}, False),
        ({"tenant_id": ""}, False),
        ({}, False),
    ],
)
def test_a_tag_of_the_session_picks_the_prefix_and_is_never_a_wildcard(tags: dict[str, str], expected: bool) -> None:
    assert authorize(ask(session(TENANT, tags=tags))).allowed is expected


def test_a_session_tag_wins_over_the_roles_own() -> None:
    principal = session(TENANT, tags={"TENANT_ID": "acme"})
    principal = replace(principal, role=replace(principal.role, tags={"tenant_id": "globex"}))
    assert authorize(ask(principal)).allowed
    assert not authorize(ask(replace(principal, tags={}))).allowed


@pytest.mark.parametrize("where", ["identity", "boundary", "session", "bucket", "endpoint", "scp"])
def test_a_deny_anywhere_decides_and_is_named(where: str) -> None:
    refusing = document(allow("*"), deny(Sid="No"), source=where)
    everybody = document({**allow("*"), "Principal": "*"}, {**deny(Sid="No"), "Principal": "*"}, source=where)
    principal = session(
        allow("*"),
        *([deny(Sid="No")] if where == "identity" else []),
        boundary=refusing if where == "boundary" else None,
        session_policies=(refusing,) if where == "session" else (),
    )
    decision = authorize(
        ask(principal),
        ResourcePolicies(everybody if where == "bucket" else None),
        Environment(everybody if where == "endpoint" else None, ((refusing,),) if where == "scp" else ()),
    )
    assert decision.outcome is Outcome.EXPLICIT_DENY
    assert [statement.name for statement in decision.statements] == [f"{where} / No"]


@pytest.mark.parametrize("limit", ["boundary", "session", "scp", "endpoint"])
def test_each_limit_must_allow_as_well(limit: str) -> None:
    narrow = document(allow("kms:*"), source="narrow")
    endpoint = document({**allow("kms:*"), "Principal": "*"}, source="narrow")
    decision = authorize(
        ask(
            session(
                allow("*"),
                boundary=narrow if limit == "boundary" else None,
                session_policies=(narrow,) if limit == "session" else (),
            )
        ),
        environment=Environment(endpoint if limit == "endpoint" else None, ((narrow,),) if limit == "scp" else ()),
    )
    assert decision.outcome is Outcome.IMPLICIT_DENY


@pytest.mark.parametrize(
    ("principal", "identity", "boundary", "expected"),
    [
        # the account delegates: the identity must allow
        ({"AWS": ROOT_ARN}, False, None, False),
        ({"AWS": ACCOUNT}, False, None, False),
        ({"AWS": ROOT_ARN}, True, None, True),
        # a role as principal: its sessions need no identity policy, but its boundary limits
        ({"AWS": ROLE_ARN}, False, None, True),
        ({"AWS": ROLE_ARN}, False, "kms:*", False),
        ({"AWS": ROLE_ARN}, False, "s3:*", True),
        # the session as principal, or everybody: no boundary limits
        ({"AWS": SESSION_ARN}, False, "kms:*", True),
        ("*", False, "kms:*", True),
        # somebody else
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:role/other"}, False, None, False),
        ({"AWS": f"arn:aws:iam::{OTHER}:root"}, False, None, False),
        ({"Service": "rds.amazonaws.com"}, False, None, False),
    ],
)
def test_what_a_bucket_policy_grants_depends_on_how_it_names_the_session(
    principal: Any, identity: bool, boundary: str | None, expected: bool
) -> None:
    who = session(*([allow()] if identity else []), boundary=document(allow(boundary)) if boundary else None)
    assert authorize(ask(who), bucket({**allow(), "Principal": principal})).allowed is expected


@pytest.mark.parametrize("everybody", ["*", {"AWS": "*"}, {"AWS": ["*"]}])
def test_everybody_is_written_in_several_ways(everybody: Any) -> None:
    assert authorize(ask(session()), bucket({**allow(), "Principal": everybody})).allowed
    assert authorize(ask(session(allow("*"))), bucket({**deny(), "Principal": everybody})).outcome is (
        Outcome.EXPLICIT_DENY
    )


def test_an_allow_with_not_principal_is_for_everybody_else() -> None:
    policy = {"Effect": "Allow", "NotPrincipal": {"AWS": ROLE_ARN}, "Action": "s3:*", "Resource": "*"}
    assert not authorize(ask(session()), bucket(policy)).allowed
    assert authorize(ask(session(name="other")), bucket(policy)).allowed


@pytest.mark.parametrize(
    ("principal", "expected"), [({"AWS": ROLE_ARN}, False), ({"AWS": SESSION_ARN}, True), ({"AWS": ROOT_ARN}, False)]
)
def test_a_session_policy_limits_what_a_resource_grants_to_the_role_but_not_to_the_session(
    principal: Any, expected: bool
) -> None:
    who = session(allow("*"), session_policies=(document(allow("kms:*")),))
    assert authorize(ask(who), bucket({**allow(), "Principal": principal})).allowed is expected


def test_one_of_several_session_policies_is_enough() -> None:
    who = session(allow("*"), session_policies=(document(allow("kms:*")), document(allow("s3:*"))))
    assert authorize(ask(who)).allowed
    assert authorize(ask(replace(who, session_policies=()))).allowed


def test_a_service_control_policy_of_every_level_must_allow() -> None:
    narrow, wide = document(allow("kms:*"), source="narrow"), document(allow("*"), source="wide")
    for levels, expected in (
        (((wide,), (wide,)), True),
        (((wide,), (narrow, wide)), True),
        (((wide,), (narrow,)), False),
    ):
        decision = authorize(ask(session(allow("*"))), environment=Environment(service_control=levels))
        assert decision.allowed is expected
        assert expected or "narrow" in decision.reason


def test_service_control_policies_bind_no_service_and_no_service_linked_role() -> None:
    nothing = Environment(service_control=((document(deny("*"), source="scp"),),))
    assert not authorize(ask(session(allow("*"))), environment=nothing).allowed
    linked = session(allow("*"), name="aws-service-role/rds.amazonaws.com/AWSServiceRoleForRDS")
    assert authorize(ask(linked), environment=nothing).allowed
    for_rds = bucket({**allow(), "Principal": {"Service": "rds.amazonaws.com"}})
    assert authorize(ask(Service("rds.amazonaws.com")), for_rds, nothing).allowed


def test_a_resource_control_policy_denies_whoever_asks() -> None:
    everything = {**allow("*"), "Principal": "*"}
    outside = {
        **deny("s3:*"),
        "Principal": "*",
        "Condition": {"StringNotEqualsIfExists": {"aws:PrincipalAccount": ACCOUNT}},
    }
    environment = Environment(resource_control=((document(everything), document(outside, source="rcp")),))
    policy = bucket({**allow(), "Principal": {"AWS": OTHER}})
    assert authorize(ask(session(allow())), policy, environment).allowed
    decision = authorize(ask(session(allow(), account=OTHER)), policy, environment)
    assert decision.outcome is Outcome.EXPLICIT_DENY
    assert "rcp" in decision.reason


def test_a_variable_without_a_value_matches_nothing_and_spares_nothing() -> None:
    prefix = "arn:aws:s3:::bucket/${aws:PrincipalTag/tenant_id}/*"
    assert not authorize(ask(session(allow(resource=prefix)), resource="arn:aws:s3:::bucket//x")).allowed
    fence = {"Effect": "Deny", "Action": "s3:*", "NotResource": prefix}
    for tags, allowed in (({"tenant_id": "tenants"}, True), ({"tenant_id": "globex"}, False), ({}, False)):
        assert authorize(ask(session(allow("*"), fence, tags=tags))).allowed is allowed


def test_a_default_stands_in_for_a_missing_variable_only() -> None:
    guest = allow(resource="arn:aws:s3:::bucket/${aws:PrincipalTag/tenant_id, 'guest'}/*")
    for tags, name in (({}, "guest"), ({"tenant_id": "acme"}, "acme")):
        who = session(guest, tags=tags)
        assert authorize(ask(who, resource=f"arn:aws:s3:::bucket/{name}/x")).allowed
        assert not authorize(ask(who, resource="arn:aws:s3:::bucket/other/x")).allowed


def test_all_operators_and_keys_of_a_condition_must_hold() -> None:
    condition = {
        "StringEquals": {"aws:PrincipalTag/tenant_id": ["acme", "globex"], "s3:prefix": "a"},
        "Bool": {"aws:SecureTransport": "true"},
    }
    who = session(allow("s3:*", Condition=condition), tags={"tenant_id": "globex"})
    for prefix, secure, expected in (("a", "true", True), ("b", "true", False), ("a", "false", False)):
        request = ask(who, **{"s3:prefix": prefix, "aws:SecureTransport": secure})
        assert authorize(request).allowed is expected


def test_a_key_of_another_account_needs_its_policy_and_an_identity_or_a_grant() -> None:
    theirs = key({**allow("kms:Decrypt"), "Principal": {"AWS": OTHER}})
    for identity, resource, expected in (
        ([allow("kms:*")], theirs, True),
        ([], theirs, False),
        ([allow("kms:*")], key(ENABLE_IAM), False),
    ):
        who = session(*identity, account=OTHER)
        assert authorize(ask(who, "kms:Decrypt", KEY), resource).allowed is expected
    granted = key(ENABLE_IAM, grants=(Grant("g", session(account=OTHER).role.arn, frozenset({"Decrypt"})),))
    assert authorize(ask(session(account=OTHER), "kms:Decrypt", KEY), granted).allowed


@pytest.mark.parametrize(
    ("identity", "policy", "expected"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_across_accounts_both_sides_must_allow(identity: bool, policy: bool, expected: bool) -> None:
    who = session(*([allow()] if identity else []), account=OTHER)
    resource = bucket({**allow(), "Principal": {"AWS": OTHER}}) if policy else ResourcePolicies()
    assert authorize(ask(who), resource).allowed is expected


def test_a_user_named_by_a_resource_is_not_limited_by_its_boundary() -> None:
    who = user(boundary=document(allow("kms:*")))
    assert authorize(ask(who), bucket({**allow(), "Principal": {"AWS": who.arn}})).allowed


def test_not_principal_denies_all_but_a_session_listed_in_every_form() -> None:
    for listed, expected in (
        ([SESSION_ARN, ROLE_ARN, ROOT_ARN], True),
        ([ROLE_ARN, ROOT_ARN], False),
        ([SESSION_ARN, ROLE_ARN], False),
    ):
        policy = {"Effect": "Deny", "NotPrincipal": {"AWS": listed}, "Action": "s3:*", "Resource": "*"}
        assert authorize(ask(session(allow())), bucket(policy)).allowed is expected


def key(*statements: dict[str, Any], grants: tuple[Grant, ...] = ()) -> ResourcePolicies:
    return ResourcePolicies(document(*statements, source="key"), grants, required=True)


ENABLE_IAM = {**allow("kms:*"), "Principal": {"AWS": ROOT_ARN}, "Sid": "Root"}


def test_without_its_key_policy_nobody_may_use_a_kms_key() -> None:
    who = session(allow("kms:*"))
    administrators = {**allow("kms:*"), "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/admin"}}
    assert not authorize(ask(who, "kms:Decrypt", KEY), key(administrators)).allowed
    decision = authorize(ask(who, "kms:Decrypt", KEY), key(ENABLE_IAM))
    assert decision.allowed
    assert [each.name for each in decision.statements] == ["identity / statement 1", "key / Root"]
    assert not authorize(ask(session(), "kms:Decrypt", KEY), key(ENABLE_IAM)).allowed


def test_a_key_policy_conditioned_on_encryption_context_and_tag() -> None:
    statement = {
        **allow("kms:Decrypt"),
        "Principal": {"AWS": ROLE_ARN},
        "Condition": {"StringEquals": {"kms:EncryptionContext:tenant_id": "${aws:PrincipalTag/tenant_id}"}},
    }
    who = session(tags={"tenant_id": "acme"})
    for context, expected in (
        ({"kms:EncryptionContext:tenant_id": "acme"}, True),
        ({"kms:EncryptionContext:tenant_id": "globex"}, False),
        ({}, False),
    ):
        request = Request(who, "kms:Decrypt", KEY, ACCOUNT, context)
        assert authorize(request, key(statement)).allowed is expected


@pytest.mark.parametrize(
    ("grant", "context", "expected"),
    [
        (Grant("g", ROLE_ARN, frozenset({"Decrypt"})), {}, True),
        (Grant("g", SESSION_ARN, frozenset({"Decrypt"})), {}, True),
        (Grant("g", ROLE_ARN, frozenset({"Encrypt"})), {}, False),
        (Grant("g", f"{ROLE_ARN}2", frozenset({"Decrypt"})), {}, False),
        (Grant("g", ROLE_ARN, frozenset({"Decrypt"}), {"a": "1"}), {"a": "1"}, True),
        (Grant("g", ROLE_ARN, frozenset({"Decrypt"}), {"a": "1"}), {"a": "1", "b": "2"}, False),
        (Grant("g", ROLE_ARN, frozenset({"Decrypt"}), None, {"a": "1"}), {"a": "1", "b": "2"}, True),
        (Grant("g", ROLE_ARN, frozenset({"Decrypt"}), None, {"a": "1"}), {"a": "2"}, False),
    ],
)
def test_a_grant_allows_within_its_constraints(grant: Grant, context: dict[str, str], expected: bool) -> None:
    keys = {f"kms:EncryptionContext:{name}": value for name, value in context.items()}
    request = Request(session(), "kms:Decrypt", KEY, ACCOUNT, keys)
    administrators = {**allow("kms:*"), "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/admin"}}
    assert authorize(request, key(administrators, grants=(grant,))).allowed is expected


def test_a_deny_wins_over_a_grant() -> None:
    grant = Grant("g", ROLE_ARN, frozenset({"Decrypt"}))
    request = ask(session(deny("kms:*")), "kms:Decrypt", KEY)
    assert authorize(request, key(ENABLE_IAM, grants=(grant,))).outcome is Outcome.EXPLICIT_DENY


def test_a_service_needs_the_resources_policy_and_the_accounts_root_needs_none() -> None:
    rds = Service("rds.amazonaws.com")
    assert not authorize(ask(rds, "kms:Decrypt", KEY), key(ENABLE_IAM)).allowed
    named = {**allow("kms:*"), "Principal": {"Service": "rds.amazonaws.com"}}
    assert authorize(ask(rds, "kms:Decrypt", KEY), key(named)).allowed
    assert authorize(ask(User(ROOT_ARN))).allowed


def test_a_tls_only_bucket_policy_denies_plain_http_alone() -> None:
    policy = bucket(
        {**deny("s3:*", Sid="Tls"), "Principal": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    )
    who = session(allow())
    assert authorize(ask(who), policy).allowed
    plain = Request(who, "s3:GetObject", OBJECT, ACCOUNT, {"aws:SecureTransport": "false"})
    assert authorize(plain, policy).outcome is Outcome.EXPLICIT_DENY


@pytest.mark.parametrize("key_name", ["aws:PrincipalTag/tenant_id", "aws:principalarn", "kms:CallerAccount"])
def test_a_request_cannot_claim_what_follows_from_its_principal(key_name: str) -> None:
    with pytest.raises(ValueError, match="follows from the principal"):
        Request(session(), "s3:GetObject", OBJECT, ACCOUNT, {key_name: "x"})


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "[]",
        "{}",
        '{"Statement": []}',
        '{"Statement": [{"Effect": "allow", "Action": "s3:*", "Resource": "*"}]}',
        '{"Statement": [{"Effect": "Allow", "Resource": "*"}]}',
        '{"Statement": [{"Effect": "Allow", "Action": "s3:*", "NotAction": "kms:*", "Resource": "*"}]}',
        '{"Statement": [{"Effect": "Allow", "Action": "GetObject", "Resource": "*"}]}',
        '{"Statement": [{"Effect": "Allow", "Action": [], "Resource": "*"}]}',
        '{"Statement": [{"Effect": "Allow", "Effect": "Deny", "Action": "s3:*", "Resource": "*"}]}',
        '{"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resources": "*"}]}',
        '{"Statement": [{"Effect": "Allow", "Action": "s3:*", "Principal": {"AWS": "arn:aws:iam::1:role/*"}}]}',
        '{"Statement": [{"Effect": "Allow", "Action": "s3:*", "Principal": "me"}]}',
        '{"Version": "2020-01-01", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}',
        '{"Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*", "Condition": {"StringIs": {"a": "b"}}}]}',
    ],
)
def test_a_document_that_aws_would_refuse_is_refused(broken: str) -> None:
    with pytest.raises(PolicyError):
        PolicyDocument.parse(broken, "broken")


@pytest.mark.parametrize(
    ("kind", "statement", "message"),
    [
        (Kind.IDENTITY, {**allow(), "Principal": "*"}, "has no Principal"),
        (Kind.IDENTITY, {"Effect": "Allow", "Action": "s3:*"}, "needs Resource or NotResource"),
        (Kind.RESOURCE, allow(), "needs Principal or NotPrincipal"),
        (Kind.TRUST, {**allow("sts:AssumeRole"), "Principal": "*"}, "has no Resource"),
        (Kind.TRUST, {"Effect": "Deny", "Action": "sts:*", "NotPrincipal": {"AWS": ACCOUNT}}, "needs Principal"),
    ],
)
def test_elements_that_a_kind_of_policy_needs_or_refuses(kind: Kind, statement: dict[str, Any], message: str) -> None:
    body = {"Statement": statement}
    assert PolicyDocument.parse(body, "any")
    with pytest.raises(PolicyError, match=f"it, statement 1: .*{message}"):
        PolicyDocument.parse(body, "it", kind)


def test_a_request_may_repeat_what_follows_from_its_principal() -> None:
    given = {"aws:PrincipalArn": ROLE_ARN, "aws:PrincipalTag/t": "x", "aws:PrincipalOrgID": "o-1"}
    request = Request(session(tags={"t": "x"}), "s3:GetObject", OBJECT, ACCOUNT, given)
    assert request.keys["aws:principalorgid"] == ("o-1",)


@pytest.mark.parametrize("principal", ["arn:aws:s3:::bucket", "arn:aws:iam::1", "arn:aws:sts::1:assumed-role/app"])
def test_an_arn_of_no_principal_is_refused(principal: str) -> None:
    with pytest.raises(ValueError, match="is the ARN of no principal"):
        simulate(principal, "s3:GetObject", OBJECT)


def test_documents_are_read_plain_percent_encoded_or_parsed() -> None:
    text = '{"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}'
    parsed = {PolicyDocument.parse(each, "x") for each in (text, quote(text))}
    assert len(parsed) == 1


# -- whatever the policies are -------------------------------------------------------------------------------------

ACTIONS = st.sampled_from(["s3:GetObject", "s3:*", "s3:Put*", "*", "kms:Decrypt"])
RESOURCES = st.sampled_from(["*", OBJECT, "arn:aws:s3:::bucket/tenants/${aws:PrincipalTag/tenant_id}/*", KEY])
PRINCIPALS = st.sampled_from(["*", {"AWS": ROOT_ARN}, {"AWS": ROLE_ARN}, {"AWS": SESSION_ARN}, {"AWS": OTHER}])
CONDITIONS = st.sampled_from(
    [
        {},
        {"StringEquals": {"aws:PrincipalTag/tenant_id": "acme"}},
        {"Null": {"aws:PrincipalTag/tenant_id": "false"}},
        {"ForAllValues:StringEquals": {"aws:TagKeys": "x"}},
        {"StringNotEqualsIfExists": {"aws:RequestedRegion": "us-east-1"}},
    ]
)


@st.composite
def statements(draw: st.DrawFn, effect: str | None = None, principal: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = {
        "Effect": effect or draw(st.sampled_from(["Allow", "Deny"])),
        draw(st.sampled_from(["Action", "NotAction"])): draw(ACTIONS),
        draw(st.sampled_from(["Resource", "NotResource"])): draw(RESOURCES),
        "Condition": draw(CONDITIONS),
    }
    if principal:
        found["Principal"] = draw(PRINCIPALS)
    return found


def policies(principal: bool = False) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(statements(principal=principal), max_size=3)


def made(found: list[dict[str, Any]]) -> PolicyDocument | None:
    return document(*found) if found else None


@st.composite
def situations(draw: st.DrawFn) -> tuple[Any, ...]:
    return (
        draw(policies()),
        draw(policies()),
        draw(policies(principal=True)),
        draw(st.sampled_from([{}, {"tenant_id": "acme"}, {"tenant_id": "globex"}])),
        draw(st.sampled_from([("s3:GetObject", OBJECT), ("kms:Decrypt", KEY), ("s3:PutObject", OBJECT)])),
        draw(st.booleans()),
        draw(st.sampled_from([ACCOUNT, OTHER])),
    )


def decide(situation: tuple[Any, ...], *, add: tuple[str, dict[str, Any]] | None = None, loose: bool = False) -> Any:
    identity, boundary, resource, tags, (action, target), required, account = situation
    places = {"identity": list(identity), "boundary": list(boundary), "resource": list(resource)}
    if add is not None:
        places[add[0]].append(add[1])
    limit = None if loose else made(places["boundary"])
    who = session(*places["identity"], tags=tags, boundary=limit, account=account)
    return authorize(
        Request(who, action, target, ACCOUNT), ResourcePolicies(made(places["resource"]), required=required)
    )


@settings(max_examples=300, deadline=None)
@given(situations(), st.sampled_from(["identity", "boundary", "resource"]), statements(effect="Deny", principal=True))
def test_adding_a_deny_never_allows(situation: tuple[Any, ...], place: str, extra: dict[str, Any]) -> None:
    if place != "resource":
        extra = {key: value for key, value in extra.items() if key != "Principal"}
    if decide(situation, add=(place, extra)).allowed and not (place == "boundary" and not situation[1]):
        assert decide(situation).allowed


@settings(max_examples=200, deadline=None)
@given(situations(), st.sampled_from(["identity", "resource"]))
def test_a_deny_of_everything_always_wins(situation: tuple[Any, ...], place: str) -> None:
    extra = {"Effect": "Deny", "Action": "*", "Resource": "*"} | ({"Principal": "*"} if place == "resource" else {})
    assert decide(situation, add=(place, extra)).outcome is Outcome.EXPLICIT_DENY


@settings(max_examples=200, deadline=None)
@given(situations(), st.sampled_from(["identity", "resource"]), statements(effect="Allow", principal=True))
def test_adding_an_allow_never_denies(situation: tuple[Any, ...], place: str, extra: dict[str, Any]) -> None:
    if place != "resource":
        extra = {key: value for key, value in extra.items() if key != "Principal"}
    if decide(situation).allowed:
        assert decide(situation, add=(place, extra)).allowed


@settings(max_examples=200, deadline=None)
@given(situations())
def test_a_boundary_never_allows_more_than_there_was_without_it(situation: tuple[Any, ...]) -> None:
    if decide(situation).allowed:
        assert decide(situation, loose=True).allowed or decide(situation, loose=True).outcome is Outcome.EXPLICIT_DENY


@settings(max_examples=200, deadline=None)
@given(situations())
def test_every_allow_names_the_statements_that_made_it(situation: tuple[Any, ...]) -> None:
    decision = decide(situation)
    if decision.allowed:
        assert decision.statements
        assert all(statement.allow for statement in decision.statements)
    elif decision.outcome is Outcome.EXPLICIT_DENY:
        assert [statement.allow for statement in decision.statements] == [False]


def test_a_role_is_not_a_session() -> None:
    assert role().arn != session().arn
