"""Every command and option of ``tenantry`` that a document shows is one of the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.core import TyperGroup

from provisioner.cli.main import app

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
_SPAN = re.compile(r"`([^`\n]+)`")
_BLOCK = re.compile(r"^```(?:sh|bash|console)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_CALL = re.compile(r"(?:^|[\s;&|(])(?:bin/)?tenantry +([a-z-][^;&)#\n]*)")
_WORD = re.compile(r"[a-z][a-z-]*(?:(?:\\?\||/)[a-z][a-z-]*)*")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")

ROOT_COMMAND: Any = typer.main.get_command(app)


def shown(text: str) -> Iterator[list[str]]:
    """Calls, each with what follows it on its line in code: ``["tenants list", "show TENANT"]``."""
    for block in _BLOCK.findall(text):
        for line in block.splitlines():
            yield from ([call] for call in _CALL.findall(line))
    for line in _BLOCK.sub("", text).splitlines():
        for cell in re.split(r"(?<!\\)\|", line) if line.startswith("|") else [line]:
            spans = _SPAN.findall(cell)
            while spans:
                found = _CALL.search(spans.pop(0))
                if found is None:
                    continue
                call = [found[1]]
                while line.startswith("|") and spans and not _CALL.search(spans[0]):
                    call.append(spans.pop(0))
                yield call


def commands_of(command: Any) -> dict[str, Any]:
    return dict(getattr(command, "commands", {}))


def takes_arguments(command: Any) -> bool:
    """Whether a group means one of its commands when none is named: ``tenantry prove acme``."""
    return isinstance(command, TyperGroup) and type(command) is not TyperGroup


def options_of(command: Any) -> set[str]:
    own = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
    inner = commands_of(command).values() if takes_arguments(command) else ()
    return own.union({"--help"}, *map(options_of, inner))


def resolve(text: str, start: Any) -> list[Any]:
    """The commands that a call names, alternatives (``push|pull``) each; AssertionError if one does not exist."""
    found = [start]
    for word in text.split():
        if not all(commands_of(each) for each in found):
            break
        if _WORD.fullmatch(word) is None:
            break
        names = re.split(r"\\?\||/", word)
        known = {name: command for each in found for name, command in commands_of(each).items()}
        missing = [name for name in names if name not in known]
        if missing and any(map(takes_arguments, found)):
            break
        assert not missing, f"no command {missing} in {sorted(known)}"
        found = [known[name] for name in names]
    for option in _OPTION.findall(text):
        if ROOT_COMMAND not in found and not any(each.name == "pulumi" for each in found):  # that one takes pulumi's
            assert any(option in options_of(each) for each in found), f"no option {option}"
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_options_that_documents_show_exist(document: Path) -> None:
    for first, *others in shown(document.read_text()):
        try:
            found = resolve(first, ROOT_COMMAND)
            group = commands_of(ROOT_COMMAND)[first.split()[0]]
            for other in others:
                if other.startswith("--"):
                    assert any(other.split()[0] in options_of(each) for each in (*found, group)), other
                elif _WORD.fullmatch(other.split()[0]):
                    beside = commands_of(group) or commands_of(ROOT_COMMAND)
                    if other.split()[0] in beside:
                        found = resolve(other, group if commands_of(group) else ROOT_COMMAND)
        except AssertionError as error:
            pytest.fail(f"{document.relative_to(ROOT)}: tenantry {first}: {error}")


def test_it_finds_commands_and_sees_wrong_ones() -> None:
    table = "| `tenantry events list`, `show EVENT` | x |"
    text = f"Run `tenantry audit --fix`.\n\n{table}\n```sh\nbin/tenantry up -n 1\n```\n"
    assert sorted(map(tuple, shown(text))) == [("audit --fix",), ("events list", "show EVENT"), ("up -n 1",)]
    resolve("catalogue push|pull", ROOT_COMMAND)
    resolve("prove acme", ROOT_COMMAND)
    for wrong in ("audits", "events lost", "catalogue push|shove", "audit --mend"):
        with pytest.raises(AssertionError):
            resolve(wrong, ROOT_COMMAND)


def test_every_command_is_in_the_operators_list() -> None:
    listed = set()
    for first, *others in shown((ROOT / "docs" / "operations.md").read_text()):
        name = first.split()[0]
        listed.add(name)
        if not commands_of(commands_of(ROOT_COMMAND)[name]):  # what stands beside it is a command of its own
            listed |= {other.split()[0] for other in others}
    assert set(commands_of(ROOT_COMMAND)) - listed == set()
