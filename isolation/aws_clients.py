"""Clients of AWS are slow to make: each is made once for all who read the cloud through one boto3 session."""

from __future__ import annotations

import weakref
from typing import Any

from isolation.iam.collect import Aws


class _OneClientEach:
    def __init__(self, aws: Aws) -> None:
        self._aws = weakref.ref(aws)
        self._made: dict[tuple[str, str | None], Any] = {}

    def client(self, service_name: str, *, region_name: str | None = None) -> Any:
        key = (service_name, region_name)
        if key not in self._made:
            aws = self._aws()
            assert aws is not None, "whoever asks holds the session"
            self._made[key] = aws.client(service_name, region_name=region_name)
        return self._made[key]


_KNOWN: weakref.WeakKeyDictionary[Aws, _OneClientEach] = weakref.WeakKeyDictionary()


def one_client_each(aws: Aws) -> Aws:
    """As ``aws``, with its clients kept as long as ``aws`` is: the next proof with the same session finds them."""
    if aws not in _KNOWN:
        _KNOWN[aws] = _OneClientEach(aws)
    return _KNOWN[aws]
