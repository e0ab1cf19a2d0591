"""The end of a tenant of every tier by the commands an operator has: data handed over, nothing left, a certificate."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import ROOT, Shell
from tests.acceptance.test_lifecycle import Service, ready

TENANTS = {"pooled": "starter", "bridged": "team", "siloed": "enterprise"}
FILL = """
import sys
from tenantry import Tenantry
with Tenantry.from_env() as sdk:
    for tenant in sys.argv[1:]:
        with sdk.session(tenant) as session:
            session.execute("INSERT INTO project (name) VALUES (%s), ('second')", (f"a project of {tenant}",))
        files = sdk.files(tenant)
        files.put("report.txt", b"former")
        files.put("report.txt", f"a file of {tenant}".encode())
"""


@pytest.fixture(scope="module")
def service(shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Three tenants with data, whose subscriptions have ended; plans of own schemas archive."""
    shell.run('bin/tenantry local up && eval "$(bin/tenantry local env)"')
    plans = tmp_path_factory.mktemp("plans") / "plans.toml"
    text = (ROOT / "example" / "plans.toml").read_text()
    for plan in ("team", "enterprise"):
        text = text.replace(f"[plans.{plan}]\n", f'[plans.{plan}]\ndeletion = "archive"\narchive_days = 30\n', 1)
    plans.write_text(text)
    shell.environment |= {
        "TENANTRY_CATALOGUE": str(plans),
        "TENANTRY_STACK_FILES": str(shell.home),
        "TENANTRY_SWEEP_INTERVAL_S": "2",
    }
    shell.run("bin/tenantry stripe seed")
    started = Service(shell, ROOT / "example" / "app_schema")
    started.start()
    try:
        for tenant, plan in TENANTS.items():
            started.ask(f"stripe subscribe {tenant} --plan {plan}")
        for tenant in TENANTS:
            started.wait(tenant, ready, "ready")
        shell.run(f".venv/bin/python - {' '.join(TENANTS)} <<'END'\n{FILL}\nEND")
        refused = started.ask("erase pooled --by ada --reason test --yes", code=4)
        assert refused["error"]["code"] == "still_paid_for"
        for tenant in TENANTS:
            started.ask(f"stripe cancel {tenant}")
        for tenant in TENANTS:
            started.wait(tenant, lambda t: t["state"] == "retained", "retained")
        yield started
    finally:
        started.kill()


@pytest.mark.parametrize("tenant", TENANTS)
def test_a_tenant_whose_access_is_closed_is_exported_and_stays_closed(
    service: Service, tenant: str, tmp_path: Path
) -> None:
    written = service.ask(f"export {tenant} --to {tmp_path}")
    assert service.ask(f"export verify {written['file']}")["valid"]
    with zipfile.ZipFile(written["file"]) as archive:
        everything = b"".join(archive.read(name) for name in archive.namelist())
    assert f"a project of {tenant}".encode() in everything
    assert f"a file of {tenant}".encode() in everything
    assert not [other for other in TENANTS if other != tenant and other.encode() in everything]
    assert service.shell.environment["TENANTRY_STRIPE_API_KEY"].encode() not in everything
    service.wait(tenant, lambda t: t["state"] == "retained" and t["failure"] is None, "closed again")
    damaged = bytearray(Path(written["file"]).read_bytes())
    damaged[len(damaged) // 3] ^= 1
    (tmp_path / "damaged.zip").write_bytes(damaged)
    assert not service.ask(f"export verify {tmp_path}/damaged.zip", code=1)["valid"]


@pytest.mark.parametrize(("tenant", "kind"), [("bridged", "archive"), ("siloed", "archive"), ("pooled", "export")])
def test_what_is_deleted_is_certified_and_its_copy_can_be_fetched(
    service: Service, tenant: str, kind: str, tmp_path: Path
) -> None:
    service.ask(f"tenants destroy {tenant} --reason 'the contract is over' --yes --no-wait")
    service.wait(tenant, lambda t: t["state"] == "destroyed", "destroyed")
    certificate = service.ask(f"certificate show {tenant} --out {tmp_path}/certificate.json")
    assert certificate["deleted"]["objects"] == 1
    assert certificate["deleted"]["versions"] == 2
    assert {table["name"]: table["rows"] for table in certificate["deleted"]["tables"]}["project"] == 2
    assert certificate["authorisation"]["reason"] == "the contract is over"
    assert (certificate["tenant"]["tenant_id"], certificate["export"]["kind"]) == (tenant, kind)
    remaining = " ".join(each["what"] for each in certificate["remaining"])
    assert ("KMS key" in remaining) is (tenant == "siloed")
    assert ("rows in backups of the shared database" in remaining) is (tenant != "siloed")
    service.shell.run(f"bin/tenantry prove key > {tmp_path}/key.pem")
    verify = f"env -u TENANTRY_DATABASE_URL bin/tenantry certificate verify {tmp_path}/certificate.json"
    service.shell.run(f"{verify} --key {tmp_path}/key.pem")
    text = (tmp_path / "certificate.json").read_text()
    (tmp_path / "certificate.json").write_text(text.replace('"rows":2', '"rows":3', 1))
    service.shell.run(f"{verify} --key {tmp_path}/key.pem", code=1)
    fetched = service.ask(f"archive fetch {tenant} --to {tmp_path}")
    assert fetched["export"]["digest"] == certificate["export"]["digest"].removeprefix("sha256:")
    assert service.ask(f"export verify {fetched['file']}")["manifest"]["purpose"] == "final"


def test_an_erasure_ends_the_archive_too(service: Service) -> None:
    assert [each["kind"] for each in service.ask("archive list siloed")] == ["archive"]
    done = service.ask("erase siloed --by ada --reason 'asked to be forgotten' --yes --stripe-customer")
    assert done["copies"] == 1
    service.shell.run(
        ".venv/bin/python - <<'END'\n"
        "import asyncio\n"
        "from datetime import UTC, datetime, timedelta\n"
        "from provisioner import app, settings\n"
        "from provisioner.offboarding.configured import retention\n"
        "async def due():\n"
        "    loaded = settings.load()\n"
        "    async with app.open_pool(loaded) as pool:\n"
        "        await retention(loaded, pool).run_due(datetime.now(UTC) + timedelta(hours=1))\n"
        "asyncio.run(due())\n"
        "END"
    )
    assert service.ask("archive list siloed") == []
    assert [each["tenant_id"] for each in service.ask("archive list")] == ["bridged", "pooled"]
    assert json.loads(service.shell.run("bin/tenantry archive fetch siloed --json", code=4))["error"]
