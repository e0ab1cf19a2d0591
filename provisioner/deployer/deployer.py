"""Operations on stacks: one engine command each, the program inline in this process, events to a callback."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import yaml

from provisioner.deployer.command import EngineCommand, EngineProcess, Finished
from provisioner.deployer.events import EventLog
from provisioner.deployer.failures import classify, stack_is_missing
from provisioner.deployer.gated import GatedPreview
from provisioner.deployer.inline import serve
from provisioner.deployer.types import Operation, OperationResult, StackRequest, StepEvent
from provisioner.engine.environment import with_application_name
from provisioner.engine.recovery import Finder, pending_operations, resolve
from provisioner.engine.scrubbing import Scrubber
from provisioner.engine.stack_locks import clear_dead
from provisioner.engine.state import StackLock
from provisioner.errors import EngineFailed, OperatorNeeded, UpdateRejected

OnStep = Callable[[StepEvent], None]
OnStart = Callable[[EngineProcess], None]

_QUIET = ("--non-interactive", "--color=never", "--suppress-outputs", "--suppress-progress", "--suppress-permalink")
#: `--event-log` exists only among the debugging commands; the Automation API sets both as well.
_FOR_THE_EVENT_LOG = {"PULUMI_AUTOMATION_API": "true", "PULUMI_DEBUG_COMMANDS": "true"}
#: An engine lives for seconds: collecting its garbage before there is much of it costs a tenth of the operation.
_FOR_A_SHORT_LIFE = {"GOGC": "off", "GOMEMLIMIT": "512MiB"}


class StackStore(Protocol):
    """What the deployer asks of the state store; ``provisioner.engine.state.PostgresState`` has it."""

    def ensure_stack(self, stack_name: str) -> bool:
        """Create the stack's empty checkpoint if it has none; True if it did."""

    def checkpoint_version(self, stack_name: str) -> str | None: ...

    def checkpoint(self, stack_name: str) -> Mapping[str, Any] | None:
        """``{"version", "features", "deployment"}``, as ``pulumi stack export`` prints it; None without a stack."""

    def locks(self, stack_name: str) -> list[StackLock]: ...

    def delete_lock(self, lock: StackLock) -> bool: ...


class Deployer:
    """Runs one operation at a time in this process: the Pulumi SDK's runtime is global to it.

    ``environment`` is a whole environment, as ``provisioner.engine.environment`` makes it. Threads that ask for a
    second operation wait for the first. ``project`` is the parsed ``Pulumi.yaml`` whose stacks these are and
    ``root`` its directory, against which the paths of provider plugins are resolved.

    With a ``store`` a stack costs no command of its own to create, locks of dead engines are cleared, and operations
    that an interrupted engine left pending are resolved by ``finder`` before anything else is done.
    """

    def __init__(
        self,
        *,
        pulumi: Path,
        environment: Mapping[str, str],
        project: Mapping[str, Any],
        root: Path,
        store: StackStore | None = None,
        finder: Finder | None = None,
        parallel: int = 16,
    ) -> None:
        self._pulumi = pulumi
        self._environment = dict(environment)
        self._project = dict(project)
        self._root = root
        self._store = store
        self._finder = finder
        self._parallel = parallel
        self._one_at_a_time = threading.Lock()
        self._current: EngineCommand | None = None

    # Operations

    def up(
        self, request: StackRequest, *, on_step: OnStep | None = None, on_start: OnStart | None = None
    ) -> OperationResult:
        """Make the stack what ``request`` says; created if there is none."""
        return self._operate(Operation.UP, request, on_step, on_start)

    def preview(
        self, request: StackRequest, *, on_step: OnStep | None = None, on_start: OnStart | None = None
    ) -> OperationResult:
        """What ``up`` would do. Creates the (empty) stack if there is none."""
        return self._operate(Operation.PREVIEW, request, on_step, on_start)

    def refresh(
        self, request: StackRequest, *, on_step: OnStep | None = None, on_start: OnStart | None = None
    ) -> OperationResult:
        """Read every resource's state from the cloud into the stack's."""
        return self._operate(Operation.REFRESH, request, on_step, on_start)

    def destroy(
        self,
        request: StackRequest,
        *,
        remove: bool = False,
        on_step: OnStep | None = None,
        on_start: OnStart | None = None,
    ) -> OperationResult:
        """Delete the stack's resources, with ``remove`` also the stack; ``ProtectedResource`` if one is protected."""
        extra = ["--remove"] if remove else []
        return self._operate(Operation.DESTROY, request, on_step, on_start, extra)

    def interrupt(self) -> None:
        """Stop the running operation as Ctrl-C would: it raises ``EngineFailed`` once the engine saved its state."""
        if self._current is not None:
            self._current.interrupt()

    def kill(self) -> None:
        """End the running operation's engine at once."""
        if self._current is not None:
            self._current.kill()

    # How

    def _operate(
        self,
        operation: Operation,
        request: StackRequest,
        on_step: OnStep | None,
        on_start: OnStart | None,
        extra: Sequence[str] = (),
    ) -> OperationResult:
        with self._one_at_a_time, tempfile.TemporaryDirectory(prefix="tenantry-op-") as directory:
            began = time.monotonic()
            environment = self._command_environment(request)
            scrub = Scrubber(environment)
            work_dir = Path(directory)
            deployment = self._look_up(operation, request)
            self._materialise(work_dir, request, deployment)
            adopted: tuple[str, ...] = ()
            if operation is not Operation.PREVIEW and pending_operations(deployment):
                adopted = self._recover(request, work_dir, environment, scrub, on_start)
            log, gated = EventLog(on_step, redact=scrub), _gated(operation, request, scrub)
            finished = self._run(operation, request, work_dir, environment, log, on_start, extra, gated=gated)
            if finished.code != 0 and stack_is_missing(finished):
                self._create_stack(request, work_dir, environment, scrub)
                log, gated = EventLog(on_step, redact=scrub), _gated(operation, request, scrub)
                finished = self._run(operation, request, work_dir, environment, log, on_start, extra, gated=gated)
            if gated is not None and gated.refusal is not None:
                raise gated.refusal
            if finished.code != 0:
                raise classify(request, finished, log if gated is None or gated.passed else gated.log, scrub)
            if not log.summarised:
                raise EngineFailed(
                    f"stack {request.stack_name}: the engine ended without a summary", hint="it is tried again"
                )
            version = self._store.checkpoint_version(request.stack_name) if self._store is not None else None
            return OperationResult(
                request.stack_name,
                operation,
                log.outputs,
                log.changes,
                round(time.monotonic() - began, 4),
                log.steps,
                tuple(log.warnings),
                adopted,
                version,
            )

    def _run(
        self,
        operation: Operation,
        request: StackRequest,
        work_dir: Path,
        environment: Mapping[str, str],
        log: EventLog,
        on_start: OnStart | None,
        extra: Sequence[str],
        targets: Sequence[str] = (),
        gated: GatedPreview | None = None,
    ) -> Finished:
        needs_program = operation in {Operation.UP, Operation.PREVIEW}
        with serve(request.program if needs_program else None, log.handle, gated) as address:
            targets = targets or request.targets
            arguments = [
                str(self._pulumi), operation.value, "--stack", request.stack_name, *_QUIET,
                f"--event-log=tcp://{address}", f"--parallel={self._parallel}", "--skip-plugin-pre-install",
            ]  # fmt: skip
            if gated is not None:
                # Strict: the update fails at the first step that its own preview has not shown.
                arguments += ["--yes", "--strict"]
            elif operation is not Operation.PREVIEW:
                arguments += ["--yes", "--skip-preview"]
            if needs_program:
                arguments += [f"--client={address}", "--exec-kind=auto.inline"]
                arguments += [f"--policy-pack={pack}" for pack in request.policy_packs]
            else:
                arguments += ["--exec-kind=auto.local"]
            if request.refresh and operation is not Operation.REFRESH:
                arguments.append("--refresh")
            for urn in targets:
                arguments += ["--target", urn]
            if targets and operation is not Operation.REFRESH:
                arguments.append("--target-dependents")
            if request.message:
                arguments += ["--message", request.message]
            command = EngineCommand([*arguments, *extra], cwd=work_dir, env=environment, on_start=on_start)
            self._current = command
            if gated is not None:
                gated.begins(command.kill)
            try:
                return command.run()
            finally:
                self._current = None
                if gated is not None:
                    gated.ended()

    def _look_up(self, operation: Operation, request: StackRequest) -> Mapping[str, Any]:
        """The stack's present deployment, {} if unknown; makes the stack, and frees it from the locks of the dead."""
        if self._store is None:
            return {}
        checkpoint = self._store.checkpoint(request.stack_name)
        if checkpoint is None and operation in {Operation.UP, Operation.PREVIEW}:
            self._store.ensure_stack(request.stack_name)
        if operation is not Operation.PREVIEW:
            clear_dead(self._store, request.stack_name, fenced_off=request.fenced_off)
        return (checkpoint or {}).get("deployment") or {}

    def _recover(
        self,
        request: StackRequest,
        work_dir: Path,
        environment: Mapping[str, str],
        scrub: Scrubber,
        on_start: OnStart | None,
    ) -> tuple[str, ...]:
        """Resolve pending operations; the URNs that were adopted. Safe to be interrupted, and repeated, anywhere."""
        if self._finder is None:
            raise OperatorNeeded(
                f"stack {request.stack_name}: an interrupted update left operations pending, "
                "and nothing tells whether they happened",
                hint="`pulumi refresh` asks about each of them",
            )
        assert self._store is not None
        # Read again: the engine that left them may have ended after the first look.
        checkpoint = self._store.checkpoint(request.stack_name) or {}
        recovery = resolve(checkpoint.get("deployment") or {}, self._finder)
        file = work_dir / "recovered.json"
        file.write_text(json.dumps({**checkpoint, "deployment": recovery.deployment}))
        arguments = [str(self._pulumi), "stack", "import", "--stack", request.stack_name, "--file", str(file)]
        log = EventLog(redact=scrub)
        # Every engine is made known: each takes the stack's lock.
        finished = EngineCommand(
            [*arguments, "--non-interactive"], cwd=work_dir, env=environment, on_start=on_start
        ).run()
        if finished.code == 0 and recovery.refresh:
            finished = self._run(
                Operation.REFRESH, request, work_dir, environment, log, on_start, (), targets=recovery.refresh
            )
        if finished.code != 0:
            raise classify(request, finished, log, scrub)
        return recovery.adopted

    def _create_stack(
        self, request: StackRequest, work_dir: Path, environment: Mapping[str, str], scrub: Scrubber
    ) -> None:
        arguments = [str(self._pulumi), "stack", "init", request.stack_name, "--no-select", "--non-interactive"]
        if request.secrets_provider:
            arguments.append(f"--secrets-provider={request.secrets_provider}")
        finished = EngineCommand(arguments, cwd=work_dir, env=environment).run()
        if finished.code != 0 and "already exists" not in finished.stderr:
            raise UpdateRejected(
                f"stack {request.stack_name} could not be created: {scrub(finished.stderr.strip())}",
                hint="`tenantry doctor` checks the state backend",
            )

    def _command_environment(self, request: StackRequest) -> dict[str, str]:
        environment = {**_FOR_A_SHORT_LIFE, **self._environment, **request.environment, **_FOR_THE_EVENT_LOG}
        url = environment.get("PULUMI_BACKEND_URL")
        if request.fence is not None and url:
            environment["PULUMI_BACKEND_URL"] = with_application_name(url, request.fence.application_name)
        return environment

    def _materialise(self, work_dir: Path, request: StackRequest, deployment: Mapping[str, Any]) -> None:
        """The project and the stack's configuration, as files of this operation's own."""
        project = {**self._project, "plugins": _absolute_plugins(self._project.get("plugins") or {}, self._root)}
        project.pop("main", None)
        (work_dir / "Pulumi.yaml").write_text(yaml.safe_dump(project))
        stack = stack_settings(request.config, request.secrets_provider, deployment.get("secrets_providers"))
        (work_dir / f"Pulumi.{request.stack_name}.yaml").write_text(yaml.safe_dump(stack))


def _gated(operation: Operation, request: StackRequest, scrub: Scrubber) -> GatedPreview | None:
    if request.gate is None or operation is not Operation.UP:
        return None
    return GatedPreview(request.stack_name, request.gate, redact=scrub)


def stack_settings(
    config: Mapping[str, str], secrets_provider: str | None, in_state: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The content of ``Pulumi.<stack>.yaml``; the salt or key of an existing stack is taken from its state."""
    settings: dict[str, Any] = {"config": dict(config)}
    state = (in_state or {}).get("state") or {}
    match (in_state or {}).get("type"):
        case "passphrase":
            settings["encryptionsalt"] = state["salt"]
        case "cloud":
            settings["secretsprovider"] = state["url"]
            settings["encryptedkey"] = state["encryptedkey"]
        case _ if secrets_provider:
            settings["secretsprovider"] = secrets_provider
    return settings


def _absolute_plugins(plugins: Mapping[str, Any], root: Path) -> dict[str, Any]:
    return {
        kind: [
            {**plugin, "path": str((root / plugin["path"]).resolve())} if "path" in plugin else dict(plugin)
            for plugin in entries
        ]
        for kind, entries in plugins.items()
    }
