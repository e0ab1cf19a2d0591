"""When AWS's standard support of a database engine's major versions ends.

As AWS publishes it; ``rds describe-db-major-engine-versions`` gives the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

_RDS = "https://docs.aws.amazon.com/AmazonRDS/latest/"
SOURCES: Mapping[str, str] = {
    "postgres": f"{_RDS}PostgreSQLReleaseNotes/postgresql-release-calendar.html",
    "mysql": f"{_RDS}UserGuide/MySQL.Concepts.VersionMgmt.html",
    "mariadb": f"{_RDS}UserGuide/MariaDB.Concepts.VersionMgmt.html",
    "aurora-postgresql": f"{_RDS}AuroraPostgreSQLReleaseNotes/aurorapostgresql-release-calendar.html",
    "aurora-mysql": f"{_RDS}AuroraMySQLReleaseNotes/AuroraMySQL.release-calendars.html",
}
CHECKED = date(2026, 8, 22)  #: when the table was last compared with its sources

SUPPORT_ENDS: Mapping[str, Mapping[str, date]] = {
    "postgres": {
        "9.6": date(2022, 4, 30),
        "10": date(2023, 4, 30),
        "11": date(2024, 2, 29),
        "12": date(2025, 2, 28),
        "13": date(2026, 2, 28),
        "14": date(2027, 2, 28),
        "15": date(2028, 2, 29),
        "16": date(2029, 2, 28),
        "17": date(2030, 2, 28),
        "18": date(2031, 2, 28),
    },
    "mysql": {
        "5.6": date(2022, 3, 1),
        "5.7": date(2024, 2, 29),
        "8.0": date(2026, 7, 31),
        "8.4": date(2029, 7, 31),
    },
    "mariadb": {
        "10.3": date(2023, 10, 23),
        "10.4": date(2025, 2, 28),
        "10.5": date(2026, 8, 31),
        "10.6": date(2026, 12, 31),
        "10.11": date(2028, 2, 29),
        "11.4": date(2029, 5, 31),
        "11.8": date(2028, 6, 30),
        "12.3": date(2029, 6, 30),
    },
    "aurora-postgresql": {
        "11": date(2024, 2, 29),
        "12": date(2025, 2, 28),
        "13": date(2026, 2, 28),
        "14": date(2027, 2, 28),
        "15": date(2028, 2, 29),
        "16": date(2029, 2, 28),
        "17": date(2030, 2, 28),
        "18": date(2031, 2, 28),
    },
    "aurora-mysql": {"2": date(2024, 10, 31), "3": date(2028, 4, 30), "8.4": date(2032, 4, 30)},
}


def support_ends(engine: str, version: str) -> date | None:
    """The last day of standard support; None for a version that is newer than the table, or of another engine.

    ``version`` as RDS takes it: ``17``, ``17.4``, ``8.0.mysql_aurora.3.08.0``. One that is older than the table ended
    before it began.
    """
    table = SUPPORT_ENDS.get(engine)
    if table is None:
        return None
    major = _major(engine, version)
    if major in table:
        return table[major]
    return date.min if _number(major) < max(map(_number, table)) else None


def _major(engine: str, version: str) -> str:
    if "mysql_aurora." in version:
        return version.split("mysql_aurora.")[1].split(".")[0]
    parts = version.split(".")
    if engine.endswith(("mysql", "mariadb")):
        return ".".join(parts[:2])
    return parts[0] if _number(parts[0]) >= (10,) else ".".join(parts[:2])


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(each) if each.isdigit() else 0 for each in version.split("."))
