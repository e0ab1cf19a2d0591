"""Which of an update's changes destroy data, and the exact diff that an approval is bound to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from provisioner.deployer.plan import Plan, PlannedStep

#: What is lost with the resource. A tenant's rows are in its schema or database, in the pool under ``PoolTenant``.
STATEFUL: Mapping[str, str] = {
    "aws:rds/instance:Instance": "a database server with all its databases",
    "aws:rds/cluster:Cluster": "a database cluster with all its databases",
    "aws:rds/clusterInstance:ClusterInstance": "an instance of a database cluster",
    "aws:rds/globalCluster:GlobalCluster": "the bond of a global database's clusters",
    "aws:rds/snapshot:Snapshot": "a database snapshot",
    "aws:rds/snapshotCopy:SnapshotCopy": "a database snapshot",
    "aws:rds/clusterSnapshot:ClusterSnapshot": "a database snapshot",
    "aws:rds/clusterSnapshotCopy:ClusterSnapshotCopy": "a database snapshot",
    "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication": "a database's backups elsewhere",
    "aws:docdb/cluster:Cluster": "a database cluster",
    "aws:docdb/clusterSnapshot:ClusterSnapshot": "a database snapshot",
    "aws:docdb/elasticCluster:ElasticCluster": "a database cluster",
    "aws:neptune/cluster:Cluster": "a database cluster",
    "aws:neptune/clusterSnapshot:ClusterSnapshot": "a database snapshot",
    "aws:redshift/cluster:Cluster": "a data warehouse",
    "aws:redshiftserverless/namespace:Namespace": "a data warehouse",
    "aws:dynamodb/table:Table": "a table with all its items",
    "aws:dynamodb/tableItem:TableItem": "an item of a table",
    "aws:keyspaces/table:Table": "a table with all its rows",
    "aws:timestreamwrite/table:Table": "a table with all its records",
    "aws:elasticache/cluster:Cluster": "a cache",
    "aws:elasticache/replicationGroup:ReplicationGroup": "a cache",
    "aws:elasticache/serverlessCache:ServerlessCache": "a cache",
    "aws:memorydb/cluster:Cluster": "a database cluster",
    "aws:opensearch/domain:Domain": "a search domain with all its indexes",
    "aws:opensearch/serverlessCollection:ServerlessCollection": "a search collection with all its indexes",
    "aws:elasticsearch/domain:Domain": "a search domain with all its indexes",
    "aws:s3/bucket:Bucket": "a bucket with all its objects",
    "aws:s3/bucketV2:BucketV2": "a bucket with all its objects",
    "aws:s3/directoryBucket:DirectoryBucket": "a bucket with all its objects",
    "aws:s3/bucketObject:BucketObject": "an object",
    "aws:s3/bucketObjectv2:BucketObjectv2": "an object",
    "aws:s3/objectCopy:ObjectCopy": "an object",
    "aws:s3tables/table:Table": "a table with all its rows",
    "aws:glacier/vault:Vault": "a vault of archives",
    "aws:efs/fileSystem:FileSystem": "a file system",
    "aws:fsx/lustreFileSystem:LustreFileSystem": "a file system",
    "aws:fsx/ontapVolume:OntapVolume": "a volume",
    "aws:fsx/openZfsFileSystem:OpenZfsFileSystem": "a file system",
    "aws:fsx/windowsFileSystem:WindowsFileSystem": "a file system",
    "aws:ebs/volume:Volume": "a volume",
    "aws:ebs/snapshot:Snapshot": "a volume's snapshot",
    "aws:kms/key:Key": "a key, and with it everything that it encrypts",
    "aws:kms/replicaKey:ReplicaKey": "a key, and with it everything that it encrypts",
    "aws:kms/externalKey:ExternalKey": "a key, and with it everything that it encrypts",
    "aws:secretsmanager/secret:Secret": "a secret with all its versions",
    "aws:ssm/parameter:Parameter": "a parameter",
    "aws:cloudwatch/logGroup:LogGroup": "a log",
    "aws:sqs/queue:Queue": "a queue with its messages",
    "aws:kinesis/stream:Stream": "a stream with its records",
    "aws:msk/cluster:Cluster": "a cluster of brokers with its topics",
    "aws:mq/broker:Broker": "a broker with its queues",
    "aws:ecr/repository:Repository": "a repository with its images",
    "aws:backup/vault:Vault": "a vault of backups",
    "aws:cognito/userPool:UserPool": "a pool of users",
    "postgresql:index/database:Database": "a database with all its rows",
    "postgresql:index/schema:Schema": "a schema with all its rows",
    "mysql:index/database:Database": "a database with all its rows",
    "tenantry-postgres:index:Database": "a database with all its rows",
    "tenantry-postgres:index:Schema": "a schema with all its rows",
    "tenantry-postgres:index:AppSchema": "the tables of a schema with all their rows",
    "tenantry-postgres:index:PoolTenant": "a tenant's rows in the shared tables",
    "tenantry-postgres:index:PoolSecurity": "the key of the pool's tokens, and with it every tenant's entry",
}
_SHOWN_VALUE = 300  #: characters of a property's value that an operator is shown


def destructive(plan: Plan, stateful: Mapping[str, str] = STATEFUL) -> tuple[PlannedStep, ...]:
    """The steps that delete or replace what holds data, in the order of their URNs."""
    found = [step for step in plan.steps if _destroys(step, stateful)]
    return tuple(sorted(found, key=lambda step: step.urn))


def _destroys(step: PlannedStep, stateful: Mapping[str, str]) -> bool:
    return step.op in ("delete", "replace") and step.type in stateful


def diff(plan: Plan, stateful: Mapping[str, str] = STATEFUL) -> list[dict[str, Any]]:
    """Every step of the update, in the order of the URNs, for JSON: what an operator approves. Holds no secret."""
    return [_entry(step, stateful) for step in sorted(plan.steps, key=lambda step: step.urn)]


def diff_hash(entries: list[dict[str, Any]]) -> str:
    """SHA-256 over the diff, in hexadecimal: equal for the same changes to the same resources, and only then."""
    text = json.dumps(entries, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _entry(step: PlannedStep, stateful: Mapping[str, str]) -> dict[str, Any]:
    before, after = step.old.get("inputs") or {}, step.new.get("inputs") or {}
    changed = sorted({*(_top(each) for each in step.changed), *(_top(each) for each in step.replacing)})
    entry = {
        "op": step.op,
        "urn": step.urn,
        "id": str(step.old.get("id") or ""),
        "replacing": list(step.replacing),
        "changed": {name: [_shown(before.get(name)), _shown(after.get(name))] for name in changed},
        # What is shown is cut; what is approved is the whole.
        "inputs": hashlib.sha256(json.dumps([before, after], sort_keys=True).encode()).hexdigest(),
    }
    if _destroys(step, stateful):
        entry["destroys"] = stateful[step.type]
    return entry


def _top(path: str) -> str:
    return path.split(".")[0].split("[")[0]


def _shown(value: Any) -> Any:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    if len(text) <= _SHOWN_VALUE and "\x00" not in text and "\\u0000" not in text:
        return value
    # PostgreSQL stores no NUL in JSON; what is approved is the hash over the inputs as they are.
    return text[:_SHOWN_VALUE].replace("\x00", "\N{SYMBOL FOR NULL}").replace("\\u0000", "\N{SYMBOL FOR NULL}") + (
        "..." if len(text) > _SHOWN_VALUE else ""
    )
