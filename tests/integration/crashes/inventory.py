"""Everything that exists in the local AWS and its PostgreSQL servers, to compare with what the stacks' states record.

Both sides are counters of (kind, id): something twice, or in no state, or in a state alone, is a difference.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import psutil

from localcloud.home import Home
from localcloud.postgres import Cluster
from provisioner.engine.state import PostgresState

Things = Counter[tuple[str, str]]

#: Resource type -> kind. The id in the state is the id of the listing.
KINDS = {
    "aws:cloudwatch/eventRule:EventRule": "event rule",
    "aws:cloudwatch/logGroup:LogGroup": "log group",
    "aws:cloudwatch/logResourcePolicy:LogResourcePolicy": "log resource policy",
    "aws:cloudwatch/metricAlarm:MetricAlarm": "alarm",
    "aws:ec2/routeTable:RouteTable": "route table",
    "aws:ec2/securityGroup:SecurityGroup": "security group",
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": "security group",
    "aws:ec2/subnet:Subnet": "subnet",
    "aws:ec2/vpc:Vpc": "vpc",
    "aws:ec2/vpcEndpoint:VpcEndpoint": "endpoint",
    "aws:iam/policy:Policy": "policy",
    "aws:iam/role:Role": "role",
    "aws:iam/rolePolicy:RolePolicy": "role policy",
    "aws:kms/alias:Alias": "alias",
    "aws:kms/key:Key": "key",
    "aws:rds/instance:Instance": "instance",
    "aws:rds/parameterGroup:ParameterGroup": "parameter group",
    "aws:rds/subnetGroup:SubnetGroup": "subnet group",
    "aws:s3/bucket:Bucket": "bucket",
    "aws:secretsmanager/secret:Secret": "secret",
    "aws:sns/topic:Topic": "topic",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": "security group rule",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": "security group rule",
    "tenantry-postgres:index:Database": "database",
    "tenantry-postgres:index:PoolTenant": "pool tenant",
    "tenantry-postgres:index:Role": "login",
    "tenantry-postgres:index:Schema": "schema",
}
#: Settings of one of the above: they can't exist without it, or twice.
PARTS = (
    "aws:s3/bucket",
    "aws:cloudwatch/eventTarget:",
    "aws:ec2/routeTableAssociation:",
    "aws:rds/instanceDesiredState:",
    "aws:secretsmanager/secretVersion:",
    "tenantry-postgres:index:AppSchema",
    "tenantry-postgres:index:PoolSecurity",
    "tenantry-postgres:index:Privileges",
)
_SERVERS_OWN_SCHEMAS = "('public', 'information_schema', 'tenantry')"


def recorded(state: PostgresState) -> Things:
    """What all stacks' states say exists."""
    found: Things = Counter()
    for stack in state.stack_names():
        for resource in (state.deployment(stack) or {}).get("resources") or []:
            if not resource.get("custom") or resource["type"].startswith("pulumi:"):
                continue
            kind = KINDS.get(resource["type"])
            assert kind or resource["type"].startswith(PARTS), f"of what kind is {resource['type']}?"
            if kind:
                found[kind, resource["id"]] += 1
    return found


def existing(environment: Mapping[str, str]) -> Things:
    """What the AWS API and the PostgreSQL servers list."""
    session = boto3.session.Session(
        environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"], region_name=environment["AWS_REGION"]
    )

    def pages(service: str, operation: str, key: str, **arguments: Any) -> Iterator[Any]:
        client = session.client(service, endpoint_url=environment["AWS_ENDPOINT_URL"])  # type: ignore[call-overload]
        if client.can_paginate(operation):
            for page in client.get_paginator(operation).paginate(**arguments):
                yield from page.get(key, ())
        else:
            yield from getattr(client, operation)(**arguments).get(key, ())

    kms = session.client("kms", endpoint_url=environment["AWS_ENDPOINT_URL"])
    found: Things = Counter()
    for key in pages("kms", "list_keys", "Keys"):
        about = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
        archive = about["Description"] == "Final exports and archives of tenants"  # the laptop's own, of no stack
        if about["KeyState"] != "PendingDeletion" and about["KeyManager"] == "CUSTOMER" and not archive:
            found["key", key["KeyId"]] += 1
    for alias in pages("kms", "list_aliases", "Aliases"):
        if not alias["AliasName"].startswith("alias/aws/") and not alias["AliasName"].endswith("-archive"):
            found["alias", alias["AliasName"]] += 1
    for bucket in pages("s3", "list_buckets", "Buckets"):
        found["bucket", bucket["Name"]] += 1
    for role in pages("iam", "list_roles", "Roles"):
        if not role["Path"].startswith("/aws-service-role/"):
            found["role", role["RoleName"]] += 1
            for policy in pages("iam", "list_role_policies", "PolicyNames", RoleName=role["RoleName"]):
                found["role policy", f"{role['RoleName']}:{policy}"] += 1
    for policy in pages("iam", "list_policies", "Policies", Scope="Local"):
        found["policy", policy["Arn"]] += 1
    masters = set()
    for instance in pages("rds", "describe_db_instances", "DBInstances"):
        found["instance", instance["DbiResourceId"]] += 1
        masters.add(instance.get("MasterUserSecret", {}).get("SecretArn"))
    for group in pages("rds", "describe_db_parameter_groups", "DBParameterGroups"):
        if not group["DBParameterGroupName"].startswith("default"):
            found["parameter group", group["DBParameterGroupName"]] += 1
    for group in pages("rds", "describe_db_subnet_groups", "DBSubnetGroups"):
        found["subnet group", group["DBSubnetGroupName"]] += 1
    for secret in pages("secretsmanager", "list_secrets", "SecretList"):
        if secret["ARN"] not in masters:  # RDS's own, one an instance
            found["secret", secret["ARN"]] += 1
    for group in pages("logs", "describe_log_groups", "logGroups"):
        found["log group", group["logGroupName"]] += 1
    for rule in pages("events", "list_rules", "Rules"):
        found["event rule", rule["Name"]] += 1
    for policy in pages("logs", "describe_resource_policies", "resourcePolicies"):
        found["log resource policy", policy["policyName"]] += 1
    for alarm in pages("cloudwatch", "describe_alarms", "MetricAlarms"):
        found["alarm", alarm["AlarmName"]] += 1
    for topic in pages("sns", "list_topics", "Topics"):
        found["topic", topic["TopicArn"]] += 1
    vpcs = {vpc["VpcId"] for vpc in pages("ec2", "describe_vpcs", "Vpcs") if not vpc["IsDefault"]}
    found.update(("vpc", vpc) for vpc in vpcs)
    groups = set()
    for kind, operation, key, id_ in (
        ("subnet", "describe_subnets", "Subnets", "SubnetId"),
        ("security group", "describe_security_groups", "SecurityGroups", "GroupId"),
        ("route table", "describe_route_tables", "RouteTables", "RouteTableId"),
        ("endpoint", "describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId"),
    ):
        for thing in pages("ec2", operation, key):
            main = any(association.get("Main") for association in thing.get("Associations", ()))
            if thing["VpcId"] in vpcs and not main and thing.get("State") != "deleted":
                found[kind, thing[id_]] += 1
                groups.add(thing[id_])
    for rule in pages("ec2", "describe_security_group_rules", "SecurityGroupRules"):
        if rule["GroupId"] in groups:
            found["security group rule", rule["SecurityGroupRuleId"]] += 1
    return found + _in_postgres(Home(Path(environment["TENANTRY_HOME"])))


def _in_postgres(home: Home) -> Things:
    found: Things = Counter()
    for record in _records(home):
        cluster = Cluster.load(home.clusters / record["name"], home.authority)
        with cluster.admin() as admin:
            names = admin.execute(
                # `tenantry_<database>` belongs to PoolSecurity: it owns the functions that check tokens.
                "SELECT rolname FROM pg_roles WHERE oid >= 16384 AND rolname NOT LIKE 'rds%%' AND rolname <> %s "
                "AND rolname <> ALL (SELECT 'tenantry_' || datname FROM pg_database)",
                [record["username"]],
            )
            found.update(("login", str(name)) for (name,) in names.fetchall())
            names = admin.execute("SELECT datname FROM pg_database WHERE oid >= 16384")
            databases = [str(name) for (name,) in names.fetchall() if name not in (record["database"], "rdsadmin")]
        for database in databases:
            found["database", database] += 1
            with cluster.admin(database) as admin:
                schemas = admin.execute(
                    "SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' AND nspname NOT IN "
                    + _SERVERS_OWN_SCHEMAS
                )
                found.update(("schema", f"{database}/{name}") for (name,) in schemas.fetchall())
                table = admin.execute("SELECT to_regclass('tenantry.pool_tenant')").fetchone()
                if table is not None and table[0] is not None:
                    rows = admin.execute("SELECT tenant_id FROM tenantry.pool_tenant")
                    found.update(("pool tenant", f"{database}/pool/{name}") for (name,) in rows.fetchall())
    return found


def _records(home: Home) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(home.instances.glob("*.json"))]


def servers_without_instance(environment: Mapping[str, str], things: Things) -> list[str]:
    """PostgreSQL servers of RDS that the API has no instance of: records, directories and processes."""
    home = Home(Path(environment["TENANTRY_HOME"]))
    known = {record["name"] for record in _records(home) if ("instance", record["resource_id"]) in things}
    wrong = [f"record {record['name']}" for record in _records(home) if record["name"] not in known]
    for path in home.clusters.iterdir():
        if path.name.startswith("rds-") and path.name not in known:
            wrong.append(f"directory {path.name}")
    for process in psutil.process_iter(["name", "cwd"]):
        directory = Path(process.info["cwd"] or "/")
        if process.info["name"] == "postgres" and home.clusters.resolve() in directory.resolve().parents:
            name = directory.resolve().relative_to(home.clusters.resolve()).parts[0]
            if name.startswith("rds-") and name not in known:
                wrong.append(f"process {process.pid} of {name}")
    return wrong
