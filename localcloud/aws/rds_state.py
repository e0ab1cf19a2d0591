"""Whether an RDS instance runs: a resource of its own beside the instance."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from localcloud.aws.client import Aws
from localcloud.aws.rds_servers import servers
from localcloud.aws.resource import AwsHandler, Checks, missing, refusal
from providers.base import Context, InitializationFailed, Properties
from providers.base.errors import Cancelled

GONE = ("DBInstanceNotFound", "DBInstanceNotFoundFault")
AVAILABLE, STOPPED = "available", "stopped"
#: on the way to one of the two, or back to it when the work is done
_PASSING = ("starting", "stopping", "creating", "modifying", "backing-up", "rebooting", "configuring-log-exports")
_POLL_SECONDS = 0.05


class InstanceDesiredState(AwsHandler):
    """The id is the instance's identifier. Deleting it leaves the instance as it is, as in the AWS provider."""

    token = "aws:rds/instanceDesiredState:InstanceDesiredState"
    inputs = frozenset({"identifier", "state", "timeouts"})
    required = frozenset({"identifier", "state"})
    replace_on = frozenset({"identifier"})
    local_inputs = frozenset({"timeouts"})
    tagged = False

    def validate(self, checks: Checks, inputs: Properties) -> None:
        checks.one_of("state", (AVAILABLE, STOPPED))

    def create(self, ctx: Context[Aws], inputs: Properties) -> tuple[str, Properties]:
        self._converge(ctx, inputs)
        return str(inputs["identifier"]), {"region": self.aws(ctx, inputs).region}

    def read(
        self, ctx: Context[Aws], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        aws = self.aws(ctx, state)
        try:
            status = _status(aws, id)
        except ClientError as error:
            if missing(error, *GONE):
                return None
            raise
        # One that is on its way is reported as it is: what was asked for may still come of it, and an update waits.
        return id, {"identifier": id, "state": status}, {"region": aws.region}

    def update(
        self, ctx: Context[Aws], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        self._converge(ctx, inputs)
        return {"region": self.aws(ctx, state).region}

    def delete(self, ctx: Context[Aws], id: str, state: Properties) -> None:
        pass

    def _converge(self, ctx: Context[Aws], inputs: Properties) -> None:
        aws, identifier, wanted = self.aws(ctx, inputs), str(inputs["identifier"]), inputs["state"]
        try:
            while (status := self._settled(ctx, aws, identifier)) != wanted:
                if status not in (AVAILABLE, STOPPED):
                    operation = "StopDBInstance" if wanted == STOPPED else "StartDBInstance"
                    message = f"Instance {identifier} is {status}: it can't be {wanted}."
                    raise refusal(operation, "InvalidDBInstanceState", message)
                _ask(aws, identifier, wanted)
        except Cancelled as cancelled:
            reason = f"{identifier}: {cancelled.message}; RDS goes on with it"
            raise InitializationFailed(identifier, {"region": aws.region}, [reason]) from cancelled

    @staticmethod
    def _settled(ctx: Context[Aws], aws: Aws, identifier: str) -> str:
        while (status := _status(aws, identifier)) in _PASSING:
            ctx.wait(_POLL_SECONDS)
        return status


def _status(aws: Aws, identifier: str) -> str:
    found: dict[str, Any] = aws.client("rds").describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"][0]
    return str(found["DBInstanceStatus"])


def _ask(aws: Aws, identifier: str, wanted: str) -> None:
    rds, local = aws.client("rds"), servers(aws)
    if wanted == STOPPED:
        rds.stop_db_instance(DBInstanceIdentifier=identifier)
    else:
        rds.start_db_instance(DBInstanceIdentifier=identifier)
    # A local AWS that knows of no servers has only noted it down.
    if local is not None and wanted == STOPPED:
        local.power_off(identifier)
    elif local is not None:
        local.power_on(identifier)


HANDLERS = (InstanceDesiredState(),)
