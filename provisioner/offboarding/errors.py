"""What can go wrong at the end of a tenant."""

from __future__ import annotations

from provisioner.errors import OperatorNeeded, RetryLater


class ExportInterrupted(RetryLater):
    """The database or AWS failed while the export was written; nothing of it is kept."""

    code = "export_interrupted"


class ExportRefused(OperatorNeeded):
    """The export would hold what is not the tenant's, or lack what is."""

    code = "export_refused"


class InstanceStarting(RetryLater):
    """The tenant's own instance was stopped, and is on its way up."""

    code = "instance_starting"
    longest_wait_s = 30.0


class CopyUnavailable(RetryLater):
    """Where exports and archives are kept can't be reached."""

    code = "copy_unavailable"


class LeftoversSettling(RetryLater):
    """Something of the tenant is still on its way out."""

    code = "leftovers_settling"
    longest_wait_s = 60.0


class LeftoversRemain(OperatorNeeded):
    """The stack is gone and something of the tenant is still there: no certificate is given."""

    code = "leftovers_remain"
    look_again_s = 900.0
