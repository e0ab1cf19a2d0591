"""Logging: one JSON object a line (or coloured text for a terminal), with tenant, event and operation bound to it."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_SECRET_KEY = re.compile(r"(?i)password|secret(?!_arn)|token|api_key|authorization|passphrase")
_SECRET_TEXT = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s@/]+@|\b(?:sk|rk|whsec)_[A-Za-z0-9_]{8,}")
#: Libraries that say at INFO what our own lines say better.
_QUIET = ("procrastinate", "httpx", "httpcore", "stripe", "botocore", "urllib3", "uvicorn.access", "asyncio")


def _no_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The last line of defence: nothing should log a secret, and if something does it is not written."""
    for name, value in event.items():
        if _SECRET_KEY.search(name) and name not in ("code",):
            event[name] = "[secret]"
        elif isinstance(value, str):
            event[name] = _SECRET_TEXT.sub(lambda match: f"{match[1]}[secret]@" if match[1] else "[secret]", value)
    return event


def configure(*, level: int = logging.INFO, text: bool | None = None) -> None:
    """To stderr; ``text`` None: coloured text if that is a terminal, else JSON."""
    text = sys.stderr.isatty() if text is None else text
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[structlog.typing.Processor] = (
        [_no_secrets, structlog.dev.ConsoleRenderer(pad_event_to=28)]
        if text
        else [structlog.processors.format_exc_info, _no_secrets, structlog.processors.JSONRenderer(default=str)]
    )
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
