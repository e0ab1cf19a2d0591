"""What a cached check of an entitlement costs, the tenant taken from the context. Beside it: OpenFeature in memory.

Both are asked the same question in turns, in one process, while the refresher of 1,000 tenants runs beside. The control
plane is a stub that answers at once: a check never asks it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from benchmarks.report import Bar, Report, Side, main, ratio
from tenantry import Config, Tenantry, tenant_context
from tenantry.entitlement_cache import EntitlementCache
from tenantry.entitlements import Entitlements
from tenantry.openfeature import EntitlementProvider

TENANTS = 1000
FEATURES = 40
ROUNDS, QUICK_ROUNDS = 25, 3
CHECKS = 20_000
CHECK_US = 2.0


class Answering:
    """A control plane that knows every tenant."""

    def __init__(self) -> None:
        self.reads = 0

    def read(self, tenant_ids: Sequence[str]) -> list[Entitlements]:
        self.reads += 1
        features = frozenset(f"feature-{number}" for number in range(FEATURES))
        limits = {f"limit-{number}": number for number in range(10)}
        return [
            Entitlements(each, plan="team", features=features, limits=limits, read_at=time.time())
            for each in tenant_ids
        ]

    def close(self) -> None:
        pass


def microseconds(check: Callable[[], object]) -> float:
    """Of one check, the loop's own cost taken off."""

    def nothing() -> None:
        pass

    def timed(call: Callable[[], object]) -> float:
        started = time.perf_counter()
        for _ in range(CHECKS):
            call()
        return time.perf_counter() - started

    return max(0.0, timed(check) - timed(nothing)) / CHECKS * 1e6


def measure(arguments: argparse.Namespace, report: Report) -> None:
    rounds = QUICK_ROUNDS if arguments.quick else ROUNDS
    config = Config(database_url="none", api_url="none", application_token="none", listen=False, entitlements_ttl=6.0)
    sdk, reader = Tenantry(config), Answering()
    sdk._entitlements.close()
    sdk._entitlements = EntitlementCache(config, reader)
    sdk._get = sdk._entitlements.get
    for number in range(TENANTS):
        sdk.entitled("feature-1", f"tenant-{number}")
    by_tenant: dict[str, frozenset[str]] = {
        f"tenant-{number}": frozenset(f"feature-{n}" for n in range(FEATURES)) for number in range(TENANTS)
    }

    def of_tenant(flag: InMemoryFlag[bool], context: EvaluationContext) -> FlagResolutionDetails[bool]:
        return FlagResolutionDetails("feature-7" in by_tenant[context.targeting_key or ""])

    variants = {"on": True, "off": False}
    flags = {
        "static": InMemoryFlag("on", variants),
        "feature-7": InMemoryFlag("on", variants, context_evaluator=of_tenant),
    }
    api.set_provider(InMemoryProvider(flags), "in-memory")
    api.set_provider(EntitlementProvider(sdk), "tenantry")
    static, ours_by_openfeature = api.get_client("in-memory"), api.get_client("tenantry")
    tenants = [EvaluationContext("tenant-500")]
    measured: dict[str, list[float]] = {}
    with tenant_context("tenant-500"):
        checks: dict[str, Callable[[], object]] = {
            "entitled": lambda: sdk.entitled("feature-7"),
            "limit": lambda: sdk.limit("limit-7"),
            "in-memory, static": lambda: static.get_boolean_value("static", False),
            "in-memory, by tenant": lambda: static.get_boolean_value("feature-7", False, tenants[0]),
            "in-memory, provider alone": lambda: in_memory.resolve_boolean_details("static", False),
            "entitled through OpenFeature": lambda: ours_by_openfeature.get_boolean_value("feature-7", False),
        }
        in_memory = InMemoryProvider(flags)
        for name, check in checks.items():
            assert check() in (True, 7) or name.startswith("in-memory, provider"), name
        for _ in range(rounds):
            for name, check in checks.items():
                measured.setdefault(name, []).append(microseconds(check))
    sides = {name: Side.of(name, samples, "us") for name, samples in measured.items()}
    ours = sides["entitled"]
    report.bars.append(Bar("a cached check, the tenant from the context", ours.value, CHECK_US, "us", ours=ours))
    for name in ("in-memory, static", "in-memory, by tenant", "in-memory, provider alone"):
        report.bars.append(ratio(f"against OpenFeature's provider ({name})", ours, sides[name], 1.0))
    for name in ("limit", "entitled through OpenFeature"):
        report.notes[f"{name} (us)"] = sides[name].value
    report.notes["tenants"] = TENANTS
    report.notes["reads by the refresher meanwhile"] = reader.reads - TENANTS
    sdk.close()
    api.shutdown()


if __name__ == "__main__":
    raise SystemExit(main("entitlements", __doc__, measure))
