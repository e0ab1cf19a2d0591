"""Probes that compare what a holder has in AWS with what must stand, and who reaches its database."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from components.spec import PlatformOutputs, TenantOutputs
from isolation.attempts import INSIDER, INSPECTOR, OUTSIDER, Answer, Layer, Probe, Severity, is_ok, is_one_of
from isolation.state import checks, network
from isolation.state.holder import Holder, misplaced
from isolation.state.reader import State

Check = Callable[[State, Holder], list[str]]

_CHECKS: tuple[tuple[str, Layer, Severity, str, Check], ...] = (
    (
        "bucket-settings",
        Layer.FILES,
        Severity.WALL,
        "bucket {0.bucket}: public access, encryption, owner",
        checks.bucket,
    ),
    ("key-settings", Layer.FILES, Severity.WALL, "key {0.key_arn}: state, rotation, tags", checks.key),
    ("key-grants", Layer.FILES, Severity.BREACH, "grants of key {0.key_arn}: only to AWS's services", checks.grants),
    ("role-settings", Layer.IAM, Severity.WALL, "role {0.role_arn}: boundary, policies, tags", checks.role),
    ("secret-settings", Layer.IAM, Severity.WALL, "secrets: key, policies, replicas", checks.secrets),
    ("instance-settings", Layer.NETWORK, Severity.WALL, "instance {0.instance}: public, key", checks.instance),
    ("firewall", Layer.NETWORK, Severity.WALL, "security group of {0.instance}: the app tier only", checks.firewall),
    ("surroundings", Layer.NETWORK, Severity.WALL, "subnets and parameters of {0.instance}", checks.surroundings),
)
_SHOWN = 5


def probes(state: State, holder: Holder) -> Iterator[Probe]:
    """The settings of each thing, then the ways to the database."""

    def faults(check: Check) -> Callable[[], Answer]:
        def ask() -> Answer:
            found = check(state, holder)
            return Answer("fault" if found else "none", "; ".join(found[:_SHOWN]))

        return ask

    def readable(check: Check) -> Callable[[], Answer]:
        def ask() -> Answer:
            check(state, holder)
            return Answer("ok", "it was read back")

        return ask

    for name, layer, severity, what, check in _CHECKS:
        yield Probe(
            name,
            layer,
            f"compares what stands with what must: {what.format(holder)}",
            "none",
            faults(check),
            is_one_of("none"),
            "reads it back from the cloud",
            readable(check),
            is_ok,
            severity,
            by=INSPECTOR,
            fast=name != "surroundings",
        )
    yield from _reaching(state, holder)


def _reaching(state: State, holder: Holder) -> Iterator[Probe]:
    def knocks(address: Callable[[], str]) -> Callable[[], Answer]:
        def ask() -> Answer:
            standing = checks.groups(state, holder)
            return _reached(network.reaching(standing, holder.port, address=address()))

        return ask

    def inside() -> str:
        return state.address_in(state.instance(holder.instance, holder.region).vpc, holder.region)

    def app_tier() -> Answer:
        standing = checks.groups(state, holder)
        known = holder.app_group
        peers = {known} if known else {rule.peer for each in standing for rule in each.ingress}
        found = network.reaching(standing, holder.port, source_groups=peers, address=network.ANYWHERE)
        return _reached(found)

    for name, by, address, who in (
        ("reach-from-anywhere", OUTSIDER, lambda: network.ANYWHERE, "any address of the internet"),
        ("reach-from-the-network", INSIDER, inside, "an address of the private network beside the app tier"),
        ("reach-from-anywhere-ipv6", OUTSIDER, lambda: network.ANYWHERE_IPV6, "any IPv6 address"),
    ):
        yield Probe(
            name,
            Layer.NETWORK,
            f"connects to port {holder.port} of {holder.instance} from {who}",
            "unreachable",
            knocks(address),
            is_one_of("unreachable"),
            "the app tier connects there",
            app_tier,
            is_ok,
            Severity.WALL,
            by=by,
            fast=True,
        )


def _reached(rules: list[str]) -> Answer:
    if rules:
        return Answer("ok", "let in", rules[0])
    return Answer("unreachable", "no rule of its security groups lets that in", "no rule")


def between(state: State, attacker: Holder, victim: Holder) -> Iterator[Probe]:
    """From the machine of one tenant's database to the other's."""

    def knock(source: Holder) -> Callable[[], Answer]:
        def ask() -> Answer:
            groups = [each.id for each in checks.groups(state, source)]
            standing = checks.groups(state, victim)
            return _reached(network.reaching(standing, victim.port, source_groups=groups, address=network.ANYWHERE))

        return ask

    def app_tier() -> Answer:
        standing = checks.groups(state, attacker)
        peers = {rule.peer for each in standing for rule in each.ingress}
        return _reached(network.reaching(standing, attacker.port, source_groups=peers, address=network.ANYWHERE))

    yield Probe(
        "reach-from-anothers-database",
        Layer.NETWORK,
        f"connects to port {victim.port} of {victim.instance} from the machine of its own database {attacker.instance}",
        "unreachable",
        knock(attacker),
        is_one_of("unreachable"),
        "the app tier connects to its own database",
        app_tier,
        is_ok,
        Severity.WALL,
        fast=True,
    )


def placement(tenant: TenantOutputs, others: tuple[TenantOutputs, ...], platform: PlatformOutputs | None) -> Probe:
    """What a tier promises as a tenant's own is nobody else's."""

    def ask() -> Answer:
        found = misplaced(tenant, others, platform)
        return Answer("fault" if found else "none", "; ".join(found))

    return Probe(
        "own-parts",
        Layer.IAM,
        f"compares login, schema, key, bucket and role of {tenant.tenant_id} with those of {len(others)} other tenants",
        "none",
        ask,
        is_one_of("none"),
        "they are stated by its stack",
        lambda: Answer("ok", f"tier {tenant.tier}"),
        is_ok,
        Severity.BREACH,
        by=INSPECTOR,
        fast=True,
    )
