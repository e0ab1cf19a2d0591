"""What a provider's author writes: one :class:`Handler` a resource type, one :class:`Function` an invoke."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from providers.base.errors import Cancelled, CheckFailed
from providers.base.values import Properties

C = TypeVar("C")


@dataclass(frozen=True)
class Context(Generic[C]):
    """One operation on one resource.

    ``client`` is what :meth:`Provider.configure` made of the provider resource's configuration. ``timeout`` is the
    user's ``customTimeouts``, seconds, 0 if there is none. ``cancelled`` is set when the engine wants to stop.
    """

    client: C
    urn: str = ""
    name: str = ""
    type: str = ""
    preview: bool = False
    timeout: float = 0.0
    cancelled: threading.Event = field(default_factory=threading.Event)

    def wait(self, seconds: float) -> None:
        """Sleep, or raise :class:`Cancelled` as soon as the engine asks to stop."""
        if self.cancelled.wait(seconds):
            raise Cancelled(f"{self.name}: cancelled while waiting")


@dataclass(frozen=True)
class AutoName:
    """How a name is made when the program gives none: ``<resource name>-<random suffix>``, cut to ``max_length``."""

    property: str
    max_length: int
    #: characters outside of this set become ``-``; a ``set`` written as a string
    allowed: str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
    lower: bool = False
    separator: str = "-"
    suffix: str = ""  #: required ending, as ``.fifo``
    #: another property that names the resource, as ``namePrefix``; if it is set, it is the beginning of the name
    prefix_property: str | None = None


class Handler(Generic[C]):
    """A resource type. Handlers hold no state: one instance serves every thread and every configuration.

    The base class calls the methods with plain values. ``check`` may see ``UNKNOWN`` anywhere; ``create``, ``read``,
    ``update`` and ``delete`` never see it and are never called in a preview. Outputs are merged over the inputs, so
    a handler returns only what it computed or read back.
    """

    token: ClassVar[str]
    #: the properties a program may set; others are refused
    inputs: ClassVar[frozenset[str]] = frozenset()
    #: the properties computed by create and update: unknown in the preview of a create
    outputs: ClassVar[frozenset[str]] = frozenset()
    required: ClassVar[frozenset[str]] = frozenset()
    #: paths without indexes (``name``, ``rules.filter``) whose change replaces the resource
    replace_on: ClassVar[frozenset[str]] = frozenset()
    #: inputs and outputs that are always secret in the state
    secret_outputs: ClassVar[frozenset[str]] = frozenset()
    #: outputs that an update may change: unknown in its preview
    changed_by_update: ClassVar[frozenset[str]] = frozenset()
    #: a replacement always deletes first. Without it only a resource whose explicit name stays does
    delete_before_replace: ClassVar[bool] = False
    #: value that an absent input stands for; set explicitly, it makes no difference
    defaults: ClassVar[Mapping[str, Any]] = {}
    #: inputs that the cloud fills in when the program does not: read back into the state, never a difference
    computed_inputs: ClassVar[frozenset[str]] = frozenset()
    #: paths of inputs that hold JSON: compared by meaning
    json_properties: ClassVar[frozenset[str]] = frozenset()
    #: paths of lists without order
    set_properties: ClassVar[frozenset[str]] = frozenset()
    #: inputs that only steer the provider (``forceDestroy``): the cloud can't tell them, a read keeps the state's
    local_inputs: ClassVar[frozenset[str]] = frozenset()
    auto_name: ClassVar[AutoName | None] = None
    #: inputs that ``check`` adds to the program's (``tagsAll``): compared like others, never taken from a program
    derived_inputs: ClassVar[frozenset[str]] = frozenset()
    #: the property that identifies the resource to the cloud, if it has no ``auto_name``
    name_property: ClassVar[str | None] = None

    def check(self, ctx: Context[C], inputs: Properties, old_inputs: Properties) -> Properties:
        """Return the inputs, normalised; raise :class:`CheckFailed` for what the cloud would refuse. No I/O."""
        return inputs

    def planned(self, ctx: Context[C], inputs: Properties, state: Properties | None) -> Properties:
        """Outputs that a preview can tell already. ``state`` is None for a create. No I/O."""
        return {}

    def create(self, ctx: Context[C], inputs: Properties) -> tuple[str, Properties]:
        """Create; return the id and the outputs. Raise ``InitializationFailed`` for what fails once it exists."""
        raise NotImplementedError

    def read(
        self, ctx: Context[C], id: str, inputs: Properties, state: Properties
    ) -> tuple[str, Properties, Properties] | None:
        """The live id, inputs and outputs, or None if the resource is gone.

        For an import ``inputs`` and ``state`` are empty. The inputs returned are the cloud's: values equal to what
        an absent property stands for are left out.
        """
        raise NotImplementedError

    def update(
        self, ctx: Context[C], id: str, state: Properties, old_inputs: Properties, inputs: Properties
    ) -> Properties:
        """Change the resource from ``old_inputs`` to ``inputs``; return the outputs."""
        raise NotImplementedError

    def delete(self, ctx: Context[C], id: str, state: Properties) -> None:
        """Delete. A resource that is gone already is no error."""
        raise NotImplementedError


class Function(Generic[C]):
    """A data source: ``aws:index/getRegion:getRegion``."""

    token: ClassVar[str]

    def invoke(self, ctx: Context[C], args: Properties) -> Properties:
        raise NotImplementedError


class Provider(Generic[C]):
    """A package of handlers and the meaning of its configuration."""

    def __init__(
        self,
        name: str,
        version: str,
        handlers: Sequence[Handler[C]],
        functions: Sequence[Function[C]] = (),
        *,
        configure: Callable[[Properties], C],
        check_config: Callable[[Properties], Properties] | None = None,
        replace_on_config: frozenset[str] = frozenset(),
        unsupported_hint: str = "",
    ) -> None:
        """``configure`` turns the configuration into the handlers' ``ctx.client``; it is called once for equal
        configurations and does no I/O. Objects and lists arrive decoded, scalars may be strings.
        ``check_config`` may raise :class:`CheckFailed` and sees unknowns. ``replace_on_config``: configuration whose
        change replaces the provider and every resource of it. ``unsupported_hint`` ends the message about a type
        without a handler."""
        self.name = name
        self.version = version
        self.handlers = _by_token(handlers)
        self.functions = {function.token: function for function in functions}
        self.configure = configure
        self.check_config = check_config or (lambda config: config)
        self.replace_on_config = replace_on_config
        self.unsupported_hint = unsupported_hint


def _by_token(handlers: Sequence[Handler[C]]) -> dict[str, Handler[C]]:
    found: dict[str, Handler[C]] = {}
    for handler in handlers:
        if handler.token in found:
            raise ValueError(f"two handlers for {handler.token}")
        found[handler.token] = handler
    return found


def require(failures: list[tuple[str, str]]) -> None:
    """Raise :class:`CheckFailed` if there are any failures."""
    if failures:
        raise CheckFailed(failures)
