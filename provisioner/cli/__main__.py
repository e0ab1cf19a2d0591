"""``python -m provisioner.cli``: the ``tenantry`` command."""

import gc

# Importing makes objects that stay: looking for garbage among them takes a twentieth of a quick command's time.
gc.set_threshold(20_000, 20, 20)

from provisioner.cli.main import app  # noqa: E402

app(prog_name="tenantry")
