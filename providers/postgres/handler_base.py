"""What the handlers of all types have in common: checks of inputs, ids, drift, repetition.

``read`` reports what no input expresses as the pseudo input ``drift``: no program sets it, so that its presence in the
state is a difference, and the next update repairs it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from providers.base import UNKNOWN, Context, Handler, Properties, require
from providers.postgres.connection import Server
from providers.postgres.errors import DatabaseGone, PostgresProviderError, repeated
from providers.postgres.identifiers import (
    database_problem,
    role_problem,
    schema_problem,
    tenant_id_problem,
)
from providers.postgres.patience import pausing_by

R = TypeVar("R")
Failures = list[tuple[str, str]]
_NAME_RULES = {
    "database": database_problem,
    "schema": schema_problem,
    "owner": role_problem,
    "role": role_problem,
    "tenantId": tenant_id_problem,
}
_ARN = re.compile(r"arn:[a-z-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:.+")


def with_drift(inputs: Properties, drift: list[str] | tuple[str, ...]) -> Properties:
    recorded = {key: value for key, value in inputs.items() if key != "drift"}
    return {**recorded, "drift": list(drift)} if drift else recorded


def id_parts(id: str, count: int, form: str) -> list[str]:
    parts = id.split("/")
    if len(parts) != count or not all(parts):
        raise PostgresProviderError(f"{id!r} is no id of this type; import it as {form}")
    return parts


class PostgresHandler(Handler[Server]):
    """Checks names; runs the work with the driver's errors translated, again after a conflict with another stack.

    Every operation is idempotent: what a first attempt, or an update that crashed, has done is found and kept.
    """

    def check(self, ctx: Context[Server], inputs: Properties, old_inputs: Properties) -> Properties:
        failures: Failures = []
        for key, problem in _NAME_RULES.items():
            check_name(inputs, key, problem, failures)
        self.check_more(inputs, failures)
        require(failures)
        return inputs

    def check_more(self, inputs: Properties, failures: Failures) -> None:
        """Add to ``failures`` what else is wrong with ``inputs``."""

    def create(self, ctx: Context[Server], inputs: Properties) -> tuple[str, Properties]:
        return _run(ctx, lambda: self.create_once(ctx, inputs))

    def read(
        self, ctx: Context[Server], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        if ctx.client.stopped and inputs:
            return id, inputs, state
        try:
            return _run(ctx, lambda: self.read_once(ctx, id, inputs, state))
        except DatabaseGone:
            return None

    def update(
        self, ctx: Context[Server], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        return _run(ctx, lambda: self.update_once(ctx, id, state, old_inputs, inputs))

    def delete(self, ctx: Context[Server], id: str, state: Properties) -> None:
        return _run(ctx, lambda: self.delete_once(ctx, id, state))

    def create_once(self, ctx: Context[Server], inputs: Properties) -> tuple[str, Properties]:
        raise NotImplementedError

    def read_once(
        self, ctx: Context[Server], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        raise NotImplementedError

    def update_once(
        self, ctx: Context[Server], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        raise NotImplementedError

    def delete_once(self, ctx: Context[Server], id: str, state: Properties) -> None:
        raise NotImplementedError


def _run(ctx: Context[Server], operation: Callable[[], R]) -> R:
    with pausing_by(ctx.wait):
        return repeated(operation)


def check_name(inputs: Properties, key: str, problem: Callable[[str], str | None], failures: Failures) -> None:
    value = inputs.get(key)
    if value is not None and value is not UNKNOWN:
        reason = problem(value) if isinstance(value, str) else "is not a string"
        if reason:
            failures.append((key, f"{value!r} {reason}"))


def check_choice(inputs: Properties, key: str, choices: tuple[str, ...], failures: Failures) -> None:
    value = inputs.get(key)
    if value is not None and value is not UNKNOWN and value not in choices:
        failures.append((key, f"{value!r} is none of {', '.join(choices)}"))


def check_integer(inputs: Properties, key: str, least: int, most: int, failures: Failures) -> None:
    value = inputs.get(key)
    if value is None or value is UNKNOWN:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        failures.append((key, f"{value!r} is not an integer from {least} to {most}"))


def check_arn(inputs: Properties, key: str, failures: Failures) -> None:
    value = inputs.get(key)
    if value is not None and value is not UNKNOWN and not (isinstance(value, str) and _ARN.fullmatch(value)):
        failures.append((key, f"{value!r} is not the ARN of a Secrets Manager secret"))
