"""Evidence by the commands an operator and an auditor have, on tenants that the engine made."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.acceptance.conftest import ROOT, Shell
from tests.acceptance.test_lifecycle import Service, ready

WITHIN_S = 60.0


@pytest.fixture(scope="module")
def service(shell: Shell) -> Iterator[Service]:
    shell.run('bin/tenantry local up && eval "$(bin/tenantry local env)" && bin/tenantry stripe seed')
    shell.environment |= {"TENANTRY_STACK_FILES": str(shell.home), "TENANTRY_SWEEP_INTERVAL_S": "2"}
    started = Service(shell, ROOT / "example" / "app_schema")
    started.start()
    try:
        for tenant_id, plan in (("acme", "starter"), ("globex", "starter"), ("initech", "team")):
            started.ask(f"stripe subscribe {tenant_id} --plan {plan}")
        for tenant_id in ("acme", "globex", "initech"):
            started.wait(tenant_id, ready, "ready")
        yield started
    finally:
        started.kill()


def proofs(service: Service, **wanted: Any) -> list[dict[str, Any]]:
    """Those that are as ``wanted``, newest first; at least one is waited for."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        found = [p for p in service.ask("prove list") if all(p[name] == value for name, value in wanted.items())]
        if found:
            return found
        assert time.monotonic() < deadline, f"no proof within {WITHIN_S:.0f} s: {wanted}"
        time.sleep(0.2)


def test_a_new_tenant_is_proved_by_itself_soon_after_it_is_ready(service: Service) -> None:
    found = proofs(service, trigger="operation", tenant_ids=["acme"])[0]
    assert (found["status"], found["fast"], found["failed"]) == ("isolated", True, 0), found["reason"]
    assert found["attempts"] > 10
    assert found["operation_id"] is not None
    assert service.get("tenants/acme")["isolation"] == "isolated"


def test_evidence_of_all_verifies_and_nothing_else_does(service: Service, tmp_path: Path) -> None:
    shell = service.shell
    proof = service.ask(f"prove --all --out {tmp_path}")
    assert (proof["status"], proof["failed"]) == ("isolated", 0), proof["reason"]
    document, page = Path(proof["files"]["document"]), Path(proof["files"]["page"])
    assert "Isolated." in page.read_text()
    assert shell.run(f"bin/tenantry prove verify {document}").startswith("valid: signed by sha256:")
    shell.run(f"bin/tenantry prove key > {tmp_path}/key.pem")
    # an auditor has neither the registry nor our settings
    alone = "env -u TENANTRY_DATABASE_URL bin/tenantry prove verify"
    shell.run(f"{alone} {document} --key {tmp_path}/key.pem")
    changed = document.read_text().replace('"failed":0', '"failed":1', 1)
    document.with_suffix(".changed").write_text(changed)
    answer = json.loads(shell.run(f"bin/tenantry prove verify {document.with_suffix('.changed')} --json", code=1))
    assert not answer["valid"]
    assert any("changed after it was signed" in problem for problem in answer["problems"])
    shell.run(
        f"openssl genpkey -algorithm ed25519 -out {tmp_path}/other && openssl pkey -in {tmp_path}/other -pubout "
        f"-out {tmp_path}/other.pem"
    )
    answer = json.loads(shell.run(f"{alone} {document} --key {tmp_path}/other.pem --json", code=1))
    assert "unknown key" in answer["problems"][0]
    again = service.ask(f"prove export {proof['proof_id']} --out {tmp_path}/again")
    assert Path(again["files"]["document"]).read_bytes() == document.read_bytes()


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("prove nobody --json", 4),
        ("prove --pair acme acme --json", 4),
        ("prove --all --cell nowhere --json", 4),
        ("prove acme --all", 2),
        ("prove --all --fast", 2),
        ("prove acme --cell default", 2),
        ("prove verify /nonexistent --json", 4),
        ("prove verify README.md", 1),
        ("prove verify README.md --key README.md", 4),
        ("prove export nonsense --json", 4),
        ("prove export 00000000-0000-4000-8000-000000000000", 4),
        ("prove", 2),
    ],
)
def test_what_makes_no_sense_is_refused(service: Service, command: str, code: int) -> None:
    service.shell.run(f"bin/tenantry {command}", code=code)


def test_a_wall_that_is_down_is_seen_said_and_mended(service: Service) -> None:
    environment = service.shell.environment
    s3 = boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )
    bucket = service.ask("tenants show acme")["placement"]["bucket"]
    policy = s3.get_bucket_policy(Bucket=bucket)["Policy"]
    s3.delete_bucket_policy(Bucket=bucket)
    try:
        proof = service.ask("prove acme", code=1)
        assert proof["status"] == "not_isolated"
        assert "files/" in proof["reason"]
        shown = service.shell.run("bin/tenantry tenants list")
        assert "NOT ISOLATED" in next(line for line in shown.splitlines() if line.startswith("acme"))
        assert f"tenantry prove export {proof['proof_id']}" in service.get("tenants/acme/explain")["next"]
    finally:
        s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    assert service.ask("prove acme")["status"] == "isolated"
    assert service.get("tenants/acme")["isolation"] == "isolated"


def test_a_suspended_tenant_is_not_passed_over_in_silence(service: Service) -> None:
    service.ask("stripe cancel globex")
    service.wait("globex", lambda tenant: tenant["access"] == "retained", "retained")
    found = proofs(service, trigger="operation", tenant_ids=["globex"], status="not_run")[0]
    assert "its access is retained" in found["reason"]
    everybody = service.ask("prove --all")
    assert everybody["status"] == "isolated"
    written = json.loads(Path(everybody["files"]["document"]).read_text())
    assert [each["tenant_id"] for each in written["left_out"]] == ["globex"]
