"""``python -m provisioner.cli``: the ``tenantry`` command."""

from provisioner.cli.main import app

app(prog_name="tenantry")
