"""The engine, ready for use: resolved, with its language host and its directories."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from provisioner.engine import environment as environments
from provisioner.engine import paths, shims
from provisioner.engine.progress import Progress
from provisioner.engine.resolve import Engine, Resolver


@dataclass(frozen=True)
class EngineRuntime:
    engine: Engine
    shims_dir: Path | None
    pulumi_home: Path

    @property
    def pulumi(self) -> Path:
        return self.engine.pulumi

    def environment(
        self,
        base: Mapping[str, str] | None = None,
        *,
        backend_url: str | None = None,
        acquire_plugins: bool | None = None,
    ) -> dict[str, str]:
        """The whole environment of a command; see ``provisioner.engine.environment.environment``."""
        return environments.environment(
            os.environ if base is None else base,
            pulumi=self.pulumi,
            shims_dir=self.shims_dir,
            pulumi_home=self.pulumi_home,
            backend_url=backend_url,
            acquire_plugins=acquire_plugins,
        )

    def shell_exports(self, path: str) -> dict[str, str]:
        """What ``tenantry local env`` adds so that a plain ``pulumi`` works; ``path`` is the shell's PATH."""
        return environments.shell_exports(
            pulumi=self.pulumi, shims_dir=self.shims_dir, pulumi_home=self.pulumi_home, path=path
        )


def prepare(
    data_dir: Path, environ: Mapping[str, str] | None = None, *, progress: Progress | None = None
) -> EngineRuntime:
    """Find the engine, or install it, which may take minutes; ``EngineMissing`` if there is no way.

    ``data_dir`` is this installation's own: ``PULUMI_HOME`` lies in it.
    """
    engine = Resolver(os.environ if environ is None else environ, progress=progress).resolve()
    home = paths.pulumi_home(data_dir)
    home.mkdir(parents=True, exist_ok=True)
    return EngineRuntime(engine, shims.provide(engine, paths.shims_dir(data_dir)), home)
