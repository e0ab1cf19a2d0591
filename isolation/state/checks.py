"""A holder's resources compared with what must stand: one text a fault, none if all is as it must be."""

from __future__ import annotations

from isolation.state import network
from isolation.state.holder import Holder
from isolation.state.reader import GroupState, State

ROLE_POLICIES = ("tenant-data",)
LONGEST_SESSION = 3600  #: seconds; the least that AWS accepts as a role's maximum
_FORCED = {"rds.force_ssl": "1", "log_parameter_max_length": "0"}


def same_key(found: str | None, arn: str) -> bool:
    """AWS names a key by its ARN or its id, as whoever set it did."""
    return found is not None and found.rsplit("/", 1)[-1] == arn.rsplit("/", 1)[-1]


def bucket(state: State, holder: Holder) -> list[str]:
    found = state.bucket(holder.bucket)
    faults = {
        "public access is not blocked": not found.public_access_blocked,
        f"it is not encrypted with {holder.key_arn} by default": not same_key(found.key, holder.key_arn),
        "it is not versioned": not found.versioned,
        "its objects may belong to others": not found.owner_enforced,
        f"its access control list lets in {', '.join(found.granted_to)}": bool(found.granted_to),
        f"it is replicated to {', '.join(found.replicated_to)}": bool(found.replicated_to),
        "it is a website": found.website,
        "it has no policy": not found.has_policy,
    }
    return [fault for fault, is_one in faults.items() if is_one]


def key(state: State, holder: Holder) -> list[str]:
    found = state.key(holder.key_arn)
    tags = {name: found.tags.get(name) for name in ("tenant_id", "managed-by")}
    expected = {"tenant_id": holder.owner, "managed-by": "tenantry"}
    faults = {
        "it is disabled, or waits for its deletion": not found.enabled,
        "it is AWS's own": not found.managed_by_customer,
        "it is not rotated": not found.rotated,
        "it has replicas in other regions": found.multi_region,
        f"its tags are {tags}": tags != expected,
    }
    return [fault for fault, is_one in faults.items() if is_one]


def grants(state: State, holder: Holder) -> list[str]:
    """RDS and Secrets Manager work by grants that they make to themselves; nobody else has one."""
    unexpected = [each for each in state.key(holder.key_arn).grantees if not _of_aws(each, holder.account)]
    return [f"a grant to {each}" for each in sorted(set(unexpected))]


def _of_aws(grantee: str, account: str) -> bool:
    if grantee.endswith(".amazonaws.com"):
        return True
    own = grantee.split(":")[4:5] == [account]
    # roles under these names are made by AWS's services alone
    return own and ("role/aws-service-role/" in grantee or ":assumed-role/aws:" in grantee)


def role(state: State, holder: Holder) -> list[str]:
    found = state.role(holder.role_arn)
    other = found.boundary != holder.boundary_arn if holder.boundary_arn else found.boundary is None
    faults = {
        f"its permissions boundary is {found.boundary or 'missing'}": other,
        f"its own policies are {', '.join(found.inline) or 'none'}": found.inline != ROLE_POLICIES,
        f"policies are attached to it: {', '.join(found.attached)}": bool(found.attached),
        f"its tag tenant_id is {found.tags.get('tenant_id')!r}": found.tags.get("tenant_id") != holder.owner,
        f"its sessions may last {found.max_session} s": found.max_session > LONGEST_SESSION,
    }
    return [fault for fault, is_one in faults.items() if is_one]


def secrets(state: State, holder: Holder) -> list[str]:
    """Logins' and, of an instance, the master's: encrypted with the holder's key, opened by no policy of their own."""
    master = state.instance(holder.instance, holder.region).master_secret
    faults = [] if master else ["RDS does not manage the master's password"]
    for arn in (*holder.secrets, *([master] if master else [])):
        found, name = state.secret(arn), arn.rsplit(":", 1)[-1]
        faults += [] if same_key(found.key, holder.key_arn) else [f"{name} is not encrypted with {holder.key_arn}"]
        faults += [f"{name} has a policy of its own"] if found.has_policy else []
        faults += [f"{name} is replicated to other regions"] if found.replicated else []
    return faults


def instance(state: State, holder: Holder) -> list[str]:
    found = state.instance(holder.instance, holder.region)
    faults = {
        "it is publicly accessible": found.public,
        "its storage is not encrypted": not found.encrypted,
        f"its storage is not encrypted with {holder.key_arn}": not same_key(found.key, holder.key_arn),
    }
    return [fault for fault, is_one in faults.items() if is_one]


def groups(state: State, holder: Holder) -> list[GroupState]:
    found = state.instance(holder.instance, holder.region).groups
    return [state.group(each, holder.region) for each in found]


def firewall(state: State, holder: Holder) -> list[str]:
    return network.faults(groups(state, holder), holder.port, holder.app_group)


def surroundings(state: State, holder: Holder) -> list[str]:
    """The subnets and parameters that the instances of a cell share."""
    found = state.instance(holder.instance, holder.region)
    public = state.public_subnets(found.subnets, holder.region)
    faults = [f"subnet {each} is public" for each in public]
    for name, value in _FORCED.items():
        actual = state.parameter(found.parameter_group, name, holder.region)
        faults += [] if actual == value else [f"parameter {name} of {found.parameter_group} is {actual}, not {value}"]
    return faults
