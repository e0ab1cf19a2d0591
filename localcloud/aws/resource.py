"""What every AWS resource type has in common: its region, its tags, and checks that collect all failures."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from localcloud.aws.client import Aws
from providers.base import UNKNOWN, Context, Handler, Properties, has_unknown, require

Tags = dict[str, str]
_TAG_TEXT = re.compile(r"[\w .:/=+\-@]*", re.UNICODE)
_MAX_TAGS = 50


class Checks:
    """Collects what AWS would refuse. A value that is unknown or absent passes every check."""

    def __init__(self, inputs: Properties) -> None:
        self._inputs = inputs
        self.failures: list[tuple[str, str]] = []

    def fail(self, name: str, reason: str) -> None:
        self.failures.append((name, reason))

    def known(self, name: str) -> Any:
        """The input, or None if it is absent or not known yet."""
        value = self._inputs.get(name)
        return None if has_unknown(value) else value

    def string(self, name: str, pattern: str, says: str, *, max: int | None = None, min: int = 0) -> None:
        value = self.known(name)
        if value is None:
            return
        if not isinstance(value, str):
            self.fail(name, f"must be a string, not {value!r}")
        elif max is not None and len(value) > max:
            self.fail(name, f"has {len(value)} characters; at most {max} are allowed")
        elif len(value) < min:
            self.fail(name, f"has {len(value)} characters; at least {min} are needed")
        elif not re.fullmatch(pattern, value):
            self.fail(name, f"{value!r}: {says}")

    def one_of(self, name: str, allowed: Collection[Any]) -> None:
        value = self.known(name)
        if value is not None and value not in allowed:
            self.fail(name, f"{value!r} is not one of {', '.join(str(a) for a in allowed)}")

    def number(self, name: str) -> int | None:
        """A whole number, which programs may write as text too; None if it is absent, unknown or none."""
        value = self.known(name)
        if isinstance(value, str) and re.fullmatch(r"-?\d+", value):
            return int(value)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def integer(self, name: str, low: int, high: int, *others: int) -> None:
        """A whole number from ``low`` to ``high``, or one of ``others``."""
        value = self.number(name)
        if value is None and self.known(name) is not None:
            self.fail(name, f"must be a whole number, not {self.known(name)!r}")
        elif value is not None and not low <= value <= high and value not in others:
            self.fail(name, f"{value} is not between {low} and {high}")

    def one_number_of(self, name: str, allowed: Collection[int]) -> None:
        value = self.number(name)
        if self.known(name) is not None and value not in allowed:
            self.fail(name, f"{self.known(name)!r} is not one of {', '.join(str(a) for a in allowed)}")

    def boolean(self, *names: str) -> None:
        for name in names:
            value = self.known(name)
            if value is not None and not isinstance(value, bool) and value not in ("true", "false"):
                self.fail(name, f"must be true or false, not {value!r}")

    def exactly_one(self, *names: str) -> None:
        given = [name for name in names if name in self._inputs]
        if len(given) != 1:
            self.fail(given[-1] if given else names[0], f"exactly one of {', '.join(names)} must be given")

    def excludes(self, *names: str) -> None:
        given = [name for name in names if name in self._inputs]
        if len(given) > 1:
            self.fail(given[-1], f"only one of {', '.join(names)} may be given")

    def tags(self) -> None:
        tags = self._inputs.get("tagsAll", self._inputs.get("tags"))
        if not isinstance(tags, Mapping):
            return
        if len(tags) > _MAX_TAGS:
            self.fail("tags", f"{len(tags)} tags, default tags included; at most {_MAX_TAGS} are allowed")
        for key, value in tags.items():
            if not 1 <= len(key) <= 128 or not _TAG_TEXT.fullmatch(key):
                self.fail("tags", f"{key!r} is no legal tag key (1 to 128 letters, digits, spaces and _.:/=+-@)")
            if key.lower().startswith("aws:"):
                self.fail("tags", f"{key!r}: tag keys that begin with aws: are reserved")
            if isinstance(value, str) and (len(value) > 256 or not _TAG_TEXT.fullmatch(value)):
                self.fail(
                    "tags", f"the value of {key!r} is no legal tag value (256 letters, digits, spaces and _.:/=+-@)"
                )


class AwsHandler(Handler[Aws]):
    """A resource type of the AWS provider. Subclasses add :meth:`validate` and the calls."""

    #: resources outside of a region (IAM) have no input ``region``
    regional: ClassVar[bool] = True
    tagged: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.regional:
            cls.inputs |= {"region"}
            cls.replace_on |= {"region"}
            cls.computed_inputs |= {"region"}
        if cls.tagged:
            cls.inputs |= {"tags"}
            cls.outputs |= {"tagsAll"}
            cls.derived_inputs |= {"tagsAll"}
        if cls.auto_name is not None:
            named = {cls.auto_name.property, cls.auto_name.prefix_property} - {None}
            cls.inputs |= {str(name) for name in named}
            cls.computed_inputs |= {cls.auto_name.property}

    def validate(self, checks: Checks, inputs: Properties) -> None:
        """Record what AWS would refuse. No I/O."""

    def normalise(self, inputs: Properties) -> Properties:
        """Inputs in the form the other methods expect. No I/O."""
        return inputs

    def check(self, ctx: Context[Aws], inputs: Properties, old_inputs: Properties) -> Properties:
        inputs = self.normalise(inputs)
        if self.tagged:
            inputs = with_all_tags(ctx.client, inputs)
        checks = Checks(inputs)
        if self.tagged:
            checks.tags()
        self.validate(checks, inputs)
        require(checks.failures)
        return inputs

    def planned(self, ctx: Context[Aws], inputs: Properties, state: Properties | None) -> Properties:
        known: Properties = {}
        if self.regional:
            known["region"] = inputs.get("region", ctx.client.region)
        if self.tagged:
            known["tagsAll"] = inputs.get("tagsAll", {})
        return known

    def aws(self, ctx: Context[Aws], properties: Properties) -> Aws:
        return ctx.client.at(properties.get("region")) if self.regional else ctx.client


def with_all_tags(aws: Aws, inputs: Properties) -> Properties:
    """``tagsAll`` among the inputs, as the AWS provider does: a change of the default tags is a change here too."""
    own = inputs.get("tags") or {}
    if own is UNKNOWN:
        return {**inputs, "tagsAll": UNKNOWN}
    merged = {**aws.default_tags, **own}
    rest = {key: value for key, value in inputs.items() if key != "tagsAll"}
    return {**rest, "tagsAll": merged} if merged else rest


def live_tags(aws: Aws, live: Tags, inputs: Properties) -> Properties:
    """The inputs ``tags`` and ``tagsAll`` for tags read back. A default tag is the resource's own if it declares it."""
    visible = {key: value for key, value in live.items() if not key.startswith("aws:")}
    declared = inputs.get("tags") or {}
    own = {k: v for k, v in visible.items() if k in declared or aws.default_tags.get(k) != v}
    result: Properties = {}
    if own or "tags" in inputs:
        result["tags"] = own
    if visible:
        result["tagsAll"] = visible
    return result


def all_tags(inputs: Properties) -> Tags:
    return {str(k): str(v) for k, v in (inputs.get("tagsAll") or {}).items()}


def tag_list(tags: Mapping[str, str], key: str = "Key", value: str = "Value") -> list[dict[str, str]]:
    return [{key: k, value: v} for k, v in sorted(tags.items())]


def tag_dict(tags: Any, key: str = "Key", value: str = "Value") -> Tags:
    return {entry[key]: entry[value] for entry in tags or []}


def tag_changes(state: Properties, inputs: Properties) -> tuple[Tags, list[str]]:
    """(tags to set, keys to remove) that turn the state's tags into the inputs'."""
    old, new = all_tags(state), all_tags(inputs)
    return {k: v for k, v in new.items() if old.get(k) != v}, sorted(old.keys() - new.keys())


def changed(old: Properties, new: Properties, *names: str) -> bool:
    return any(old.get(name) != new.get(name) for name in names)


def is_true(value: Any) -> bool:
    """Programs and the engine write booleans as booleans or as text."""
    return value is True or value == "true"


def code_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def missing(error: ClientError, *codes: str) -> bool:
    """Whether ``error`` is one of ``codes``: a resource that is not there."""
    return code_of(error) in codes


def refusal(operation: str, code: str, message: str) -> ClientError:
    """The error AWS answers where moto answers none."""
    return ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": 400}},  # type: ignore[typeddict-item]
        operation,
    )
