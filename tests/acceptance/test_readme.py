"""Everything that the README shows is run, in its order; so is the demo."""

from __future__ import annotations

import contextlib
import os
import re
from collections import defaultdict

import psutil

from tests.acceptance.conftest import ROOT, Shell

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands(block: str) -> list[str]:
    return [line.split("  #")[0].strip() for line in block.splitlines() if line.strip()]


def test_the_readme_from_top_to_bottom(shell: Shell) -> None:
    first, second = blocks("sh")
    assert commands(first) == ["make demo", "make test"], "the two commands do all the set-up"

    demo = shell.run("make demo")
    refused = re.search(r"(\d+) of (\d+) attacks refused", demo)
    assert refused, demo
    assert refused[1] == refused[2]
    assert int(refused[1]) >= 100
    assert "nothing changed" in demo
    assert "its open session ended by the server (57P01)" in demo
    assert "NOT ISOLATED" not in demo
    assert demo.count("refused: access of tenant") == 2

    output: dict[str, list[str]] = defaultdict(list)
    for command in commands(second)[:-1]:
        output[command].append(shell.run(command))
    assert re.search(r"acme-\w+ +ready +pool", output["bin/tenantry tenants list"][0])
    assert len(output["bin/tenantry tenants reconcile hooli"]) == 3
    assert all("hooli is ready" in each for each in output["bin/tenantry tenants reconcile hooli"])
    (story,) = output["bin/tenantry explain hooli"]
    assert "plan team (bridge)" in story
    assert "tenantry-postgres:index:Schema hooli" in story
    assert "platform" in output["pulumi stack ls"][0]
    assert "Resources" in output["bin/tenantry pulumi -s platform preview"][0]
    (shown,) = output["bin/tenantry tenants show hooli"]
    assert re.search(r"^access +throttled$", shown, re.MULTILINE), shown
    assert "a payment brings it back" in shown
    assert "paid in_" in output["bin/tenantry stripe pay hooli"][0]
    assert "agree on 5 tenants" in output["bin/tenantry audit"][0]

    (example,) = blocks("python")
    shell.run("bin/tenantry stripe subscribe hooli --plan team && bin/tenantry tenants reconcile hooli")
    shell.run(f".venv/bin/python - <<'END'\n{example}\nEND")
    assert "1" in shell.run(
        '.venv/bin/python -c "from tenantry import Tenantry\n'
        "with Tenantry.from_env() as sdk, sdk.session('hooli') as s:\n"
        "    print(s.execute('SELECT count(*) FROM project').fetchone()[0])\""
    )

    before = _processes(shell)
    assert before
    shell.run(commands(second)[-1])
    assert _processes(shell) == []
    assert not shell.home.exists()
    assert "was not running" in shell.run("bin/tenantry local down")


def _processes(shell: Shell) -> list[int]:
    """Processes that work in the life's directory, or were started for it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            of_life = process.environ().get("TENANTRY_HOME") == str(shell.home)
            if process.pid != os.getpid() and (of_life or str(shell.home) in " ".join(process.cmdline())):
                found.append(process.pid)
    return found
