"""IAM: least privilege, a boundary around tenants' roles, no credentials that last."""

from __future__ import annotations

from collections.abc import Iterator

from policies.documents import Condition, Statement
from policies.grants import any_resource, covers_action, is_any, matches, whole_service
from policies.identities import POLICIES, of_each_statement
from policies.model import Facts, Parameter, Resource, Rule, Severity
from policies.references import cis, saas_lens, soc2
from policies.relations import tags_of
from policies.resource_levels import WITHOUT_RESOURCE
from policies.values import is_present, is_unknown, listed


def _wildcard_action(statement: Statement, resource: Resource, facts: Facts) -> Iterator[str]:
    if not statement.allows:
        return
    if statement.not_actions:
        yield "it allows everything but some actions (NotAction)"
    broad = [each for each in statement.actions if whole_service(each)]
    if broad:
        yield f"it allows {', '.join(broad)}"


def _wildcard_resource(statement: Statement, resource: Resource, facts: Facts) -> Iterator[str]:
    if not statement.allows:
        return
    if statement.not_resources:
        yield "it allows everything but some resources (NotResource)"
        return
    broad = [each for each in statement.resources if any_resource(each)]
    if not broad or any(_fixes_resource(each) for each in statement.conditions):
        return
    without = (*WITHOUT_RESOURCE, *facts.parameters["actions"])
    rest = [each for each in statement.actions if not any(matches(known, each) for known in without)]
    if rest or statement.not_actions:
        yield f"it allows {', '.join(rest[:5]) or 'actions'} on {', '.join(broad)}"


def _fixes_resource(condition: Condition) -> bool:
    """A tag that the resource must have."""
    by_tag = condition.key.startswith("aws:resourcetag/") or ":resourcetag/" in condition.key
    return by_tag and condition.requires and not any(is_any(each) for each in condition.values)


def _pass_role(statement: Statement, resource: Resource, facts: Facts) -> Iterator[str]:
    if not statement.allows or not covers_action(statement, "iam:PassRole"):
        return
    open_to = [each for each in statement.resources if any_resource(each)]
    if open_to or statement.not_resources:
        yield f"it lets its holder pass any role to a service ({', '.join(open_to) or 'NotResource'})"


def _boundary(resource: Resource, facts: Facts) -> Iterator[str]:
    properties = resource.properties
    if facts.spec is None and not tags_of(resource).get("tenant_id"):
        return
    if not is_present(properties, "permissionsBoundary"):
        yield "nothing bounds what the role's policies may ever allow (permissionsBoundary)"
        return
    boundary = properties["permissionsBoundary"]
    wanted = facts.platform.permissions_boundary_arn if facts.platform is not None else None
    if wanted is not None and not is_unknown(boundary) and boundary != wanted:
        yield "its permissions boundary is not the platform's"


_MANAGED = "arn:aws*:iam::aws:policy/*"
_ADMINISTRATION = ("*/AdministratorAccess", "*/PowerUserAccess", "*FullAccess", "*/job-function/*Administrator")
#: AWS writes its policies for all resources of an account; these are what a service needs to run at all.
_OF_SERVICES = "arn:aws*:iam::aws:policy/service-role/*"


def _managed_policy(resource: Resource, facts: Facts) -> Iterator[str]:
    properties = resource.properties
    for arn in [*listed(properties.get("policyArn")), *(properties.get("managedPolicyArns") or [])]:
        # An unknown one is a policy that the stack makes: AWS's own have fixed names.
        if is_unknown(arn):
            continue
        if not matches(_MANAGED, str(arn)):
            continue
        name = str(arn).rsplit("/", 1)[-1]
        if any(matches(each, str(arn)) for each in _ADMINISTRATION):
            yield f"it attaches {name}, which allows everything of a service or of the account"
        elif facts.tenant is not None and not matches(_OF_SERVICES, str(arn)):
            yield f"it attaches {name}, which is about the resources of all tenants of the account"


_STATIC = {
    "aws:iam/accessKey:AccessKey": "an access key",
    "aws:iam/userLoginProfile:UserLoginProfile": "a console password",
    "aws:iam/serviceSpecificCredential:ServiceSpecificCredential": "a service's password",
    "aws:iam/sshKey:SshKey": "an SSH key for CodeCommit",
    "aws:iam/signingCertificate:SigningCertificate": "a signing certificate",
}


def _static_credentials(resource: Resource, facts: Facts) -> Iterator[str]:
    yield f"{_STATIC[resource.type]} of a user works until somebody takes it away"


_LEAST = (*soc2("CC6.1", "CC6.3"), *saas_lens("SaaS SEC 2"))

RULES: tuple[Rule, ...] = (
    Rule(
        id="access-wildcard-action",
        title="No policy of an identity allows all actions of a service, or all but some",
        severity=Severity.HIGH,
        remediation="Name the actions",
        types=frozenset(POLICIES),
        resource=of_each_statement(_wildcard_action),
        references=(*cis("1.16", "1.15"), *_LEAST),
    ),
    Rule(
        id="access-wildcard-resource",
        title="No policy of an identity allows an action on whatever there is, if AWS can check it on a resource",
        severity=Severity.HIGH,
        remediation="Name the ARNs, or require a tag of the resource (aws:ResourceTag/...)",
        types=frozenset(POLICIES),
        resource=of_each_statement(_wildcard_resource),
        references=(*cis("1.16", "1.15"), *_LEAST),
        parameters=(
            Parameter(
                "actions",
                [],
                {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "more actions that AWS checks against no particular resource (`*` and `?` match)",
                },
            ),
        ),
    ),
    Rule(
        id="access-pass-role",
        title="No policy lets its holder pass any role to a service",
        severity=Severity.CRITICAL,
        remediation="Name the roles that iam:PassRole is allowed for",
        types=frozenset(POLICIES),
        resource=of_each_statement(_pass_role),
        references=_LEAST,
    ),
    Rule(
        id="access-boundary",
        title="A tenant's role or user has a permissions boundary",
        severity=Severity.HIGH,
        remediation="Set permissionsBoundary to the platform's boundary policy",
        types=frozenset({"aws:iam/role:Role", "aws:iam/user:User"}),
        resource=_boundary,
        references=_LEAST,
    ),
    Rule(
        id="access-managed-policy",
        title="No AWS managed policy that allows everything is attached",
        severity=Severity.HIGH,
        remediation="Write a policy that names actions and resources",
        types=frozenset(
            {
                "aws:iam/role:Role",
                "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
                "aws:iam/userPolicyAttachment:UserPolicyAttachment",
                "aws:iam/groupPolicyAttachment:GroupPolicyAttachment",
                "aws:iam/policyAttachment:PolicyAttachment",
            }
        ),
        resource=_managed_policy,
        references=(*cis("1.16, 1.22", "1.15, 1.21"), *_LEAST),
    ),
    Rule(
        id="access-static-credentials",
        title="No access key, console password or other credential that lasts",
        severity=Severity.HIGH,
        remediation="Assume a role: instance roles, IAM Identity Center or OpenID Connect give credentials that expire",
        types=frozenset(_STATIC),
        resource=_static_credentials,
        references=(*cis("1.11, 1.18, 1.21", "1.10, 1.17, 1.20"), *soc2("CC6.1")),
    ),
)
