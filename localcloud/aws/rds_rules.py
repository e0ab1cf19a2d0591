"""What RDS refuses, as pure rules on inputs: identifiers, classes, storage, windows, passwords."""

from __future__ import annotations

import re

from localcloud.aws.resource import Checks, is_true
from providers.base import UNKNOWN, Properties

MAJORS = ("17", "18")

_IDENTIFIER = r"[a-z](?:-?[a-z0-9])*"
_SNAPSHOT = r"[A-Za-z](?:-?[A-Za-z0-9])*"
_GROUP = r"[a-z](?:-?[a-z0-9.])*"
_KMS_ARN = r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:(key|alias)/\S+"
_ROLE_ARN = r"arn:aws[a-z-]*:iam::\d{12}:role/\S+"
_CLASS = re.compile(
    r"db\.(?:t3|t4g|m5d?|m6gd?|m6i|m6idn?|m6in|m7gd?|m7i|m8gd?|r5[bd]?|r6gd?|r6i|r6idn?|r6in|r7gd?|r7i|r8gd?|x1e?|x2gd?"
    r"|x2iedn|x2idn|x2iezn|z1d)\.(micro|small|medium|large|(?:2|4|8|9|10|12|16|24|32|48)?xlarge)"
)
_SMALL = ("micro", "small", "medium")
_STORAGE = {"gp2": (20, 65536), "gp3": (20, 65536), "io1": (100, 65536), "io2": (100, 65536), "standard": (5, 3072)}
#: below it gp3's IOPS and throughput are fixed
_GP3_STRIPED_GIB = 400
_DAY = r"(?:mon|tue|wed|thu|fri|sat|sun)"
_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d"
_RESERVED_USERS = frozenset(
    {"admin", "rdsadmin", "rds_superuser", "rds_replication", "rds_iam", "rdsrepladmin", "user"}
)
_LOGS = frozenset({"postgresql", "upgrade", "iam-db-auth-error"})


def check_instance(checks: Checks, inputs: Properties) -> None:
    checks.string("identifier", _IDENTIFIER, "has lower-case letters, digits and single hyphens inside", max=63)
    checks.one_of("engine", ("postgres",))
    checks.string("engineVersion", rf"(?:{'|'.join(MAJORS)})(?:\.\d+)?", f"the local cloud has {' and '.join(MAJORS)}")
    _check_class(checks)
    _check_storage(checks, inputs)
    checks.integer("backupRetentionPeriod", 0, 35)
    checks.integer("port", 1150, 65535)
    checks.string(
        "dbName", r"[A-Za-z_][A-Za-z0-9_]*", "begins with a letter or _; letters, digits and _ follow", max=63
    )
    _check_master(checks, inputs)
    _check_encryption(checks, inputs)
    checks.string("backupWindow", rf"{_TIME}-{_TIME}", "has the form hh24:mi-hh24:mi")
    checks.string("maintenanceWindow", rf"(?i){_DAY}:{_TIME}-{_DAY}:{_TIME}", "has the form ddd:hh24:mi-ddd:hh24:mi")
    checks.string("dbSubnetGroupName", r"[A-Za-z0-9._ -]+", "is no name of a subnet group", max=255)
    checks.string("parameterGroupName", rf"{_GROUP}", "is no name of a parameter group", max=255)
    checks.string("snapshotIdentifier", r"\S+", "is no snapshot", max=2048)
    checks.one_of("licenseModel", ("postgresql-license",))
    checks.one_of("networkType", ("IPV4", "DUAL"))
    checks.one_number_of("monitoringInterval", (0, 1, 5, 10, 15, 30, 60))
    if checks.number("monitoringInterval") and "monitoringRoleArn" not in inputs:
        checks.fail("monitoringRoleArn", "is required with a monitoringInterval")
    checks.string("monitoringRoleArn", _ROLE_ARN, "is no ARN of a role")
    _check_insights(checks, inputs)
    for log in checks.known("enabledCloudwatchLogsExports") or ():
        if log not in _LOGS:
            checks.fail("enabledCloudwatchLogsExports", f"{log!r} is not one of {', '.join(sorted(_LOGS))}")
    if is_true(checks.known("multiAz")) and "availabilityZone" in inputs:
        checks.fail("availabilityZone", "can't be given for an instance in several zones (multiAz)")
    checks.boolean(
        *("allowMajorVersionUpgrade", "applyImmediately", "autoMinorVersionUpgrade", "copyTagsToSnapshot"),
        *("deleteAutomatedBackups", "deletionProtection", "iamDatabaseAuthenticationEnabled", "multiAz"),
        *("manageMasterUserPassword", "performanceInsightsEnabled", "publiclyAccessible", "skipFinalSnapshot"),
        "storageEncrypted",
    )
    checks.string("finalSnapshotIdentifier", _SNAPSHOT, "has letters, digits and single hyphens inside", max=255)
    if _is_off(inputs, "skipFinalSnapshot") and "finalSnapshotIdentifier" not in inputs:
        checks.fail("finalSnapshotIdentifier", "is required unless skipFinalSnapshot is true: no delete would succeed")


def _check_class(checks: Checks) -> None:
    value = checks.known("instanceClass")
    if value is None:
        return
    match = _CLASS.fullmatch(str(value))
    burstable = str(value).startswith("db.t")
    sized = match and (match[1] in ("large", "xlarge", "2xlarge") or match[1] in _SMALL if burstable else True)
    medium = match and match[1] == "medium" and str(value).startswith(("db.x2g", "db.m6gd", "db.r6gd"))
    if not match or not sized or (match[1] in _SMALL and not burstable and not medium):
        checks.fail("instanceClass", f"{value!r} is no instance class of RDS for PostgreSQL")


def _check_storage(checks: Checks, inputs: Properties) -> None:
    checks.one_of("storageType", tuple(_STORAGE))
    kind = checks.known("storageType") or ("io1" if checks.known("iops") else "gp2")
    size = checks.number("allocatedStorage")
    if kind in _STORAGE:
        checks.integer("allocatedStorage", *_STORAGE[kind])
    iops, throughput = checks.number("iops"), checks.number("storageThroughput")
    if kind in ("io1", "io2") and "iops" not in inputs:
        checks.fail("iops", f"is required for storage of the type {kind}")
    if kind == "gp3" and size is not None and size < _GP3_STRIPED_GIB and (iops or throughput):
        name = "iops" if iops else "storageThroughput"
        checks.fail(name, f"can't be chosen for gp3 storage below {_GP3_STRIPED_GIB} GiB")
    if throughput is not None and kind != "gp3" and kind in _STORAGE:
        checks.fail("storageThroughput", "is for storage of the type gp3 only")
    limit = checks.number("maxAllocatedStorage")
    if limit and size is not None and limit < size * 1.1:
        checks.fail("maxAllocatedStorage", f"{limit} must be at least 10 % more than allocatedStorage ({size})")


def _check_master(checks: Checks, inputs: Properties) -> None:
    checks.string("username", r"[A-Za-z][A-Za-z0-9_]*", "begins with a letter; letters, digits and _ follow", max=63)
    user = checks.known("username")
    if isinstance(user, str) and (user.lower() in _RESERVED_USERS or user.lower().startswith("pg_")):
        checks.fail("username", f"{user!r} is reserved by the engine")
    managed = not _is_off(inputs, "manageMasterUserPassword")
    if managed and "password" in inputs:
        checks.fail("password", "can't be given when RDS manages it (manageMasterUserPassword)")
    if "masterUserSecretKmsKeyId" in inputs and not managed:
        checks.fail("masterUserSecretKmsKeyId", "needs manageMasterUserPassword")
    if "snapshotIdentifier" not in inputs:
        for name in ("username", "engine", "allocatedStorage"):
            if name not in inputs:
                checks.fail(name, "is required for an instance that is not restored from a snapshot")
        if not managed and "password" not in inputs:
            checks.fail("password", "is required unless RDS manages it (manageMasterUserPassword)")
    elif "dbName" in inputs:
        checks.fail("dbName", "can't be given with a snapshot: the databases are the snapshot's")
    password = checks.known("password")
    if isinstance(password, str):
        if not 8 <= len(password) <= 128:
            checks.fail("password", "must have 8 to 128 characters")
        elif not re.fullmatch(r"[!-~]+", password) or re.search(r'[/@"]', password):
            checks.fail("password", 'must be of printable ASCII characters other than /, @, " and space')


def _check_encryption(checks: Checks, inputs: Properties) -> None:
    checks.string("kmsKeyId", _KMS_ARN, "is no ARN of a KMS key")
    if checks.known("kmsKeyId") and _is_off(inputs, "storageEncrypted"):
        checks.fail("kmsKeyId", "needs storageEncrypted")
    checks.string("performanceInsightsKmsKeyId", _KMS_ARN, "is no ARN of a KMS key")


def _check_insights(checks: Checks, inputs: Properties) -> None:
    days = checks.number("performanceInsightsRetentionPeriod")
    if days is None:
        return
    if _is_off(inputs, "performanceInsightsEnabled"):
        checks.fail("performanceInsightsRetentionPeriod", "needs performanceInsightsEnabled")
    elif days not in (7, 731) and (days % 31 or not 31 <= days <= 713):
        checks.fail("performanceInsightsRetentionPeriod", f"{days} is neither 7, 731 nor a multiple of 31 up to 713")


def _is_off(inputs: Properties, name: str) -> bool:
    """Whether the flag is known to be off: one that is not known yet passes every check."""
    value = inputs.get(name, False)
    return value is not UNKNOWN and not is_true(value)


def check_group_name(checks: Checks) -> None:
    checks.string("name", _GROUP, "has lower-case letters, digits, dots and single hyphens, a letter first", max=255)
    name = checks.known("name")
    if isinstance(name, str) and (name == "default" or name.startswith("default.")):
        checks.fail("name", f"{name!r}: names that begin with default. are RDS's own")
