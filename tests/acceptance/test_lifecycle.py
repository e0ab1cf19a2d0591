"""Tenants from the first payment to the last trace, by the commands an operator has, with the real engine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.acceptance.conftest import ROOT, Shell


class Service:
    """``tenantry up`` in the background of a shell that is pointed at its local cloud."""

    def __init__(self, shell: Shell, schema: Path) -> None:
        self.shell = shell
        self.schema = schema
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = self.shell.home / "logs" / "up.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                ["bin/tenantry", "up", "-n", "1"],
                cwd=ROOT,
                env=self.shell.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
            )
        self.shell.run('until curl -sf "$TENANTRY_API_URL/readyz"; do sleep 0.1; done', timeout=60)

    def stop(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(60) == 0

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def kill_worker(self) -> None:
        """Kill the process that works; the one that started it starts another."""
        assert self._process is not None
        children = psutil.Process(self._process.pid).children(recursive=True)
        (worker,) = [each for each in children if each.cmdline()[-3:] == ["-m", "provisioner.cli", "worker"]]
        worker.kill()

    def ask(self, command: str, *, code: int = 0) -> Any:
        """The JSON that a command prints."""
        return json.loads(self.shell.run(f"bin/tenantry {command} --json", code=code))

    def get(self, path: str) -> Any:
        """What the operator API answers; None for 404."""
        token = self.shell.environment["TENANTRY_OPERATOR_TOKENS"]
        answer = httpx.get(
            f"{self.shell.environment['TENANTRY_API_URL']}/v1/{path}",
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
        )
        return None if answer.status_code == 404 else answer.raise_for_status().json()

    def kinds(self, tenant: str) -> list[str]:
        """Of the tenant's finished operations, in their order."""
        timeline = self.get(f"tenants/{tenant}/explain")["timeline"]
        return [entry["operation"]["kind"] for entry in timeline if entry.get("operation")]

    def wait(self, tenant: str, condition: Callable[[dict[str, Any]], object], what: str) -> dict[str, Any]:
        """The tenant as soon as ``condition`` holds; a tenant that nobody knows yet is waited for."""
        deadline = time.monotonic() + 120
        while True:
            found: dict[str, Any] = self.get(f"tenants/{tenant}") or {}
            if found and condition(found):
                return found
            assert time.monotonic() < deadline, f"not within 120 s: {what}: {found}"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def service(shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    schema = tmp_path_factory.mktemp("app") / "app_schema"
    shutil.copytree(ROOT / "example" / "app_schema", schema)
    shell.run('bin/tenantry local up && eval "$(bin/tenantry local env)" && bin/tenantry stripe seed')
    shell.environment |= {
        "TENANTRY_APP_SCHEMA": str(schema),
        "TENANTRY_STACK_FILES": str(shell.home),
        "TENANTRY_SWEEP_INTERVAL_S": "2",
    }
    service = Service(shell, schema)
    service.start()
    try:
        yield service
    finally:
        service.kill()


def ready(tenant: dict[str, Any]) -> bool:
    return bool(tenant["shown_state"] == "ready")


def test_a_plan_changes_inside_a_tier_and_across(service: Service) -> None:
    service.ask("stripe subscribe bridged --plan team")
    service.wait("bridged", ready, "ready")
    service.ask("stripe change bridged --plan team_plus")
    changed = service.wait("bridged", lambda t: t["plan"] == "team_plus" and ready(t), "the plan has changed")
    assert changed["limits"]["seats"] == 100
    service.wait("bridged", lambda _: service.kinds("bridged") == ["provision", "update"], "its stack follows")
    service.ask("stripe change bridged --plan enterprise")
    moved = service.wait("bridged", lambda t: t["pending_graduation"] == "silo", "a graduation is pending")
    assert (moved["tier"], moved["features"]) == ("bridge", ["*"])
    assert "pays for silo and stands in bridge" in service.ask("tenants show bridged")["next"]


def test_a_cancelled_tenant_comes_back_or_is_destroyed_and_its_id_lives_again(service: Service) -> None:
    service.ask("stripe subscribe leaving --plan starter")
    service.wait("leaving", ready, "ready")
    refused = service.ask("tenants destroy leaving --reason test --yes", code=4)
    assert refused["error"]["code"] == "still_paid_for"
    service.ask("stripe cancel leaving")
    service.wait("leaving", lambda t: t["state"] == "retained", "retained")
    service.ask("stripe subscribe leaving --plan starter")
    service.wait("leaving", ready, "back again")
    service.ask("stripe cancel leaving")
    service.wait("leaving", lambda t: t["state"] == "retained", "retained again")
    gone = service.ask("tenants destroy leaving --reason 'asked for by the customer' --yes")
    assert gone["state"] == "destroyed"
    assert service.kinds("leaving") == ["provision", "suspend", "resume", "suspend", "unprotect", "destroy"]
    stacks = json.loads(service.shell.run("pulumi stack ls --json"))
    assert "leaving" not in {stack["name"] for stack in stacks}
    service.ask("stripe subscribe leaving --plan starter")
    again = service.wait("leaving", ready, "its second life")
    assert (again["generation"], again["stack"]) == (2, "leaving.2")


def test_what_can_not_be_understood_waits_for_an_operator(service: Service) -> None:
    service.shell.run(
        ".venv/bin/python - <<'END'\n"
        "import os, stripe\n"
        "client = stripe.StripeClient(os.environ['TENANTRY_STRIPE_API_KEY'],\n"
        "    base_addresses={'api': os.environ['TENANTRY_STRIPE_API_BASE']})\n"
        "product = client.v1.products.create({'name': 'Unknown'})\n"
        "price = client.v1.prices.create({'product': product.id, 'currency': 'usd', 'unit_amount': 100,\n"
        "    'recurring': {'interval': 'month'}, 'lookup_key': 'nobody_knows'})\n"
        "customer = client.v1.customers.create({'metadata': {'tenant_id': 'puzzling'}})\n"
        "method = client.v1.payment_methods.attach('pm_card_visa', {'customer': customer.id})\n"
        "client.v1.customers.update(customer.id, {'invoice_settings': {'default_payment_method': method.id}})\n"
        "client.v1.subscriptions.create({'customer': customer.id, 'items': [{'price': price.id}],\n"
        "    'metadata': {'tenant_id': 'puzzling'}})\n"
        "END"
    )
    deadline = time.monotonic() + 60
    while not (waiting := service.get("events?status=quarantined")):
        assert time.monotonic() < deadline, "nothing was quarantined"
        time.sleep(0.1)
    assert all(event["reason"].startswith("unknown_price") for event in waiting)
    catalogue = service.shell.home / "plans.toml"
    text = (ROOT / "example" / "plans.toml").read_text()
    catalogue.write_text(text.replace("team_annual", "nobody_knows", 1))
    service.stop()
    service.shell.environment["TENANTRY_CATALOGUE"] = str(catalogue)
    service.start()
    assert service.ask("events retry --all")["queued"]
    service.wait("puzzling", ready, "understood after the catalogue was corrected")


def test_a_shell_changes_a_stack_and_the_next_reconcile_notices(service: Service) -> None:
    service.ask("stripe subscribe handmade --plan team")
    service.wait("handmade", ready, "ready")
    service.shell.run("bin/tenantry pulumi -s handmade refresh --yes --non-interactive")
    service.wait(
        "handmade",
        lambda t: (
            len([e for e in service.get("tenants/handmade/explain")["timeline"] if e["kind"] == "operation"]) == 2
        ),
        "the sweep noticed that somebody was there",
    )
    assert ready(service.wait("handmade", ready, "ready"))
    refused = service.shell.run("bin/tenantry pulumi -s handmade destroy --yes --non-interactive 2>&1", code=1)
    assert "Offboarding is authorised in two steps" in refused


def test_what_was_changed_past_the_gate_is_noticed_and_data_goes_only_with_an_operators_word(
    service: Service, tmp_path: Path
) -> None:
    service.ask("stripe subscribe hurried --plan starter")
    service.wait("hurried", ready, "ready")
    program = tmp_path / "hurried"
    program.mkdir()
    (program / "Pulumi.yaml").write_text(
        "name: tenantry\n"
        f"runtime: {{name: python, options: {{toolchain: pip, virtualenv: {ROOT}/.venv}}}}\n"
        f"plugins: {{providers: [{{name: tenantry-postgres, path: {ROOT}/providers/postgres}}]}}\n"
    )
    (program / "__main__.py").write_text(
        f"import runpy\nrunpy.run_path({str(ROOT / 'stacks' / '__main__.py')!r})\n"
        "import pulumi, pulumi_aws as aws\n"
        "own = {'provider': aws.Provider('loose', region='us-east-1')}\n"
        "aws.s3.Bucket('loose', bucket='tenantry-loose-files', opts=pulumi.ResourceOptions(**own))\n"
    )
    # As the worker keeps it beside the program; without a policy pack.
    shutil.copy(service.shell.home / "Pulumi.hurried.yaml", program / "Pulumi.hurried.yaml")
    service.shell.run(f"cd {program} && pulumi up -s hurried --yes --skip-preview --non-interactive")
    parked = service.wait(
        "hurried", lambda t: (t["failure"] or {}).get("code") == "approval_needed", "its bucket would be destroyed"
    )
    operation = parked["failure"]["operation_id"]
    told = [entry["summary"] for entry in service.get("tenants/hurried/explain")["timeline"]]
    assert any("what stands violates" in line for line in told)
    (waiting,) = [each for each in service.ask("approvals") if each["stack_name"] == "hurried"]
    assert [entry["destroys"] for entry in waiting["diff"] if "destroys" in entry] == ["a bucket with all its objects"]
    found = json.loads(service.shell.run("bin/tenantry policy check hurried --format json", code=1))
    assert "::loose" in json.dumps(found)
    refused = service.ask(f"approve {operation} --by ada --reason hm --diff {'0' * 64} --yes", code=4)
    assert refused["error"]["code"] == "not_awaited"
    service.ask(f"approve {operation} --by ada --reason 'a slip' --yes")
    service.wait("hurried", lambda t: ready(t) and t["failure"] is None, "the bucket is gone, the tenant is ready")
    told = [entry["summary"] for entry in service.get("tenants/hurried/explain")["timeline"]]
    assert any(line.startswith(f"ada approved operation {operation}") for line in told)
    service.shell.run("bin/tenantry policy check hurried && bin/tenantry policy check --all")
    again = service.ask(f"reject {operation} --by bob --reason late", code=4)
    assert "was approved by ada" in again["error"]["message"]


def test_the_platform_and_every_tenant_follow_a_new_migration(service: Service) -> None:
    service.ask("stripe subscribe pooled --plan starter")
    service.wait("pooled", ready, "ready")
    service.stop()
    (service.schema / "0003_labels.sql").write_text(
        "CREATE TABLE label (tenant_id text NOT NULL, name text NOT NULL, PRIMARY KEY (tenant_id, name));\n"
    )
    service.start()
    for tenant in ("pooled", "bridged"):
        service.wait(
            tenant,
            lambda t: service.get(f"tenants/{t['tenant_id']}/explain")["placement"]["app_schema_version"] == 3,
            f"{tenant} has the new table",
        )
        service.shell.run(
            f'.venv/bin/python -c "from tenantry import Tenantry\n'
            f"with Tenantry.from_env() as sdk, sdk.session('{tenant}') as s:\n"
            f"    s.execute('INSERT INTO label VALUES (%s, %s)', ('{tenant}', 'blue'))\""
        )
