"""The base of Tenantry's resource providers: write a :class:`Handler` a type, serve them with :func:`main`."""

from providers.base.errors import Cancelled, CheckFailed, InitializationFailed, ProviderError
from providers.base.handler import AutoName, Context, Function, Handler, Provider, require
from providers.base.serve import main, start
from providers.base.values import UNKNOWN, Properties, has_unknown

__all__ = [
    "UNKNOWN",
    "AutoName",
    "Cancelled",
    "CheckFailed",
    "Context",
    "Function",
    "Handler",
    "InitializationFailed",
    "Properties",
    "Provider",
    "ProviderError",
    "has_unknown",
    "main",
    "require",
    "start",
]
