"""Copies under the archive key: in a directory and in S3, whole or not at all, and gone when their time is over."""

from __future__ import annotations

import asyncio
import io
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from components.spec import Environment
from provisioner.errors import ConfigurationInvalid, NotFound
from provisioner.offboarding.copies import Copies, Retention, context, name_of
from provisioner.offboarding.envelope import Envelope, archive_key
from provisioner.offboarding.errors import CopyUnavailable, ExportRefused
from provisioner.offboarding.store import Bucket, Directory, Store, open_store
from provisioner.operate import Pool
from provisioner.quotas.aws import Boto3Clients
from provisioner.registry.migrate import migrate
from tests.unit.provisioner.offboarding.test_certificate import deletion

REGION = "us-east-1"


@pytest.fixture
def clients(moto_server: str, monkeypatch: pytest.MonkeyPatch) -> Boto3Clients:
    for name, value in (
        ("AWS_ENDPOINT_URL", moto_server),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", REGION),
    ):
        monkeypatch.setenv(name, value)
    return Boto3Clients()


@pytest.fixture
def key(clients: Boto3Clients) -> str:
    installation = f"i{secrets.token_hex(4)}"
    place: dict[str, Any] = {"environment": Environment.DEVELOPMENT, "region": REGION, "clients": clients}
    made = archive_key(None, installation=installation, **place)
    assert archive_key(None, installation=installation, **place) == made, "the second one finds the first one's"
    return made


@pytest.fixture(params=["directory", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clients: Boto3Clients) -> Store:
    if request.param == "directory":
        return Directory(tmp_path / "store")
    name = f"copies-{secrets.token_hex(6)}"
    s3 = clients("s3", REGION)
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return Bucket(name, "kept/", REGION, clients)


def fetched(copies: Copies, of: Any) -> bytes:
    target = io.BytesIO()
    copies.fetch(of, target)
    return target.getvalue()


@pytest.mark.parametrize("size", [0, 64 * 1024, 20_000_000])
def test_a_copy_comes_back_as_it_was_and_lies_there_unreadable(
    store: Store, key: str, tmp_path: Path, size: int
) -> None:
    content = os.urandom(size) + b"the tenant's words"
    (tmp_path / "export.zip").write_bytes(content)
    kept = deletion(copy_name="exports/acme.1/x.zip.enc")
    copies = Copies(store, Envelope(key))
    for _ in range(2):  # after a crash it is written again
        copies.keep(kept, kept.copy_name or "", tmp_path / "export.zip")
    assert fetched(copies, kept) == content
    with store.open(kept.copy_name or "") as lying:
        assert b"the tenant's words" not in lying.read()


def test_another_tenants_copy_does_not_pass_for_it(store: Store, key: str, tmp_path: Path) -> None:
    (tmp_path / "export.zip").write_bytes(b"globex's")
    theirs = deletion(tenant_id="globex", copy_name="exports/x")
    copies = Copies(store, Envelope(key))
    copies.keep(theirs, "exports/x", tmp_path / "export.zip")
    with pytest.raises(ExportRefused, match="another one's"):
        fetched(copies, replace(theirs, tenant_id="acme"))
    with pytest.raises(NotFound):
        fetched(copies, replace(theirs, copy_name="exports/nothing"))


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_copy_is_refused(key: str, tmp_path: Path, damage: str, clients: Boto3Clients) -> None:
    (tmp_path / "export.zip").write_bytes(os.urandom(200_000))
    store, kept = Directory(tmp_path / "store"), deletion(copy_name="x")
    copies = Copies(store, Envelope(key))
    copies.keep(kept, "x", tmp_path / "export.zip")
    lying = tmp_path / "store" / "x"
    content = bytearray(lying.read_bytes())
    if damage == "flip":
        content[150_000] ^= 1
    lying.write_bytes({"cut": bytes(content[:150_000]), "flip": bytes(content), "empty": b""}[damage])
    with pytest.raises(ExportRefused):
        fetched(copies, kept)


class Torn(io.RawIOBase):
    """Fails in the middle of being read."""

    def __init__(self) -> None:
        self.left = 3

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self.left -= 1
        if not self.left:
            raise OSError(28, "No space left on device")
        return b"x" * (size if size > 0 else 100_000)


def test_what_was_not_written_to_its_end_is_not_there(store: Store) -> None:
    with pytest.raises((CopyUnavailable, OSError)):
        store.put("x", Torn())  # type: ignore[arg-type]
    assert not store.exists("x")


def test_deleting_leaves_no_version_and_no_neighbour(store: Store) -> None:
    for name in ("a", "a", "ab"):
        store.put(name, io.BytesIO(b"content"))
    store.delete("a")
    store.delete("a")
    assert not store.exists("a")
    assert store.exists("ab")
    if isinstance(store, Bucket):
        s3 = store.clients("s3", REGION)
        versions = s3.list_object_versions(Bucket=store.bucket, Prefix="kept/a")
        assert {each["Key"] for each in versions.get("Versions", [])} == {"kept/ab"}
        assert not versions.get("DeleteMarkers")


def test_a_key_that_can_not_be_used_is_an_error_with_a_hint(clients: Boto3Clients, key: str, tmp_path: Path) -> None:
    (tmp_path / "export.zip").write_bytes(b"x")
    gone = key[:-12] + "0" * 12
    copies = Copies(Directory(tmp_path), Envelope(gone))
    with pytest.raises(CopyUnavailable, match="can't be used"):
        copies.keep(deletion(), "x", tmp_path / "export.zip")
    assert not (tmp_path / "x").exists()


def test_production_has_no_place_and_no_key_by_default(clients: Boto3Clients, tmp_path: Path) -> None:
    place: dict[str, Any] = {"environment": Environment.PRODUCTION, "region": REGION, "clients": clients}
    with pytest.raises(ConfigurationInvalid, match="TENANTRY_EXPORT_STORE"):
        open_store(None, home=tmp_path, **place)
    with pytest.raises(ConfigurationInvalid, match="TENANTRY_ARCHIVE_KEY"):
        archive_key(None, installation=f"i{secrets.token_hex(4)}", **place)
    with pytest.raises(ConfigurationInvalid, match="there is no archive key"):
        archive_key("alias/nobody", installation="x", **place)
    with pytest.raises(ConfigurationInvalid, match="neither"):
        open_store("gs://bucket", home=tmp_path, **place)
    found = open_store("s3://bucket/a/b/", home=tmp_path, **place)
    assert found.where("x") == "s3://bucket/a/b/x"


# -- when their time is over


@contextmanager
def row(url: str, **changes: Any) -> Iterator[Any]:
    made = deletion(**changes)
    with psycopg.connect(url, autocommit=True) as connection:
        values = {
            name: Jsonb(value) if isinstance(value, dict) else value
            for name, value in vars(made).items()
            if value is not None
        }
        columns, places = ", ".join(values), ", ".join(["%s"] * len(values))
        connection.execute(
            f"INSERT INTO registry.deletion ({columns}) VALUES ({places})".encode(), list(values.values())
        )
        yield made


class Failing(Directory):
    def delete(self, name: str) -> None:
        if "stuck" in name:
            raise CopyUnavailable("it can't be deleted")
        super().delete(name)


def test_copies_go_when_their_days_are_over_and_not_before(
    database: str, key: str, clients: Boto3Clients, tmp_path: Path
) -> None:
    migrate(database, database)
    now = datetime(2027, 1, 1, tzinfo=UTC)
    store = Failing(tmp_path / "store")
    kept = {
        "over": now - timedelta(seconds=1),
        "stuck": now - timedelta(days=1),
        "not-yet": now + timedelta(seconds=1),
        "called-off": now + timedelta(days=300),
    }
    with psycopg.connect(database, autocommit=True):
        for number, (name, until) in enumerate(kept.items()):
            step = "called_off" if name == "called-off" else "complete"
            identity = f"00000000-0000-4000-8000-{number:012}"
            with row(database, deletion_id=identity, step=step, copy_name=name, copy_until=until, generation=number):
                store.put(name, io.BytesIO(b"x"))
    spool = tmp_path / "spool"
    spool.mkdir()
    for name, age in (("old.zip", 90_000), ("new.zip", 60)):
        (spool / name).write_bytes(b"x")
        os.utime(spool / name, (spool.stat().st_mtime - age,) * 2)

    async def rounds() -> list[int]:
        pool: Pool
        async with AsyncConnectionPool(database, min_size=1, max_size=2, open=False) as pool:
            retention = Retention(pool, lambda: Copies(store, Envelope(key)), clients, spool)
            return [await retention.run_due(now), await retention.run_due(now)]

    assert asyncio.run(rounds()) == [2, 0]
    assert [name for name in kept if store.exists(name)] == ["stuck", "not-yet"]
    assert [path.name for path in spool.iterdir()] == ["new.zip"]
    with psycopg.connect(database) as connection:
        told = connection.execute("SELECT summary FROM registry.timeline ORDER BY entry_id").fetchall()
    assert {summary for (summary,) in told} == {
        "the final export of life 3 was deleted; its deletion was called off",
        "the final export of life 0 was deleted",
    }


def test_names_and_contexts_tell_lives_apart() -> None:
    first, second = deletion(), deletion(generation=2, method="archive")
    assert name_of(first).startswith("exports/acme.1/")
    assert name_of(second).startswith("archives/acme.2/")
    assert context(first) != context(second)
