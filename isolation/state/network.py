"""Who reaches a database: the security groups of its instance, as EC2 has them. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable

from isolation.state.reader import GroupState, Rule

ANYWHERE = "198.51.100.7"  #: an address that is nobody's (RFC 5737): who gets in from it gets in from anywhere
ANYWHERE_IPV6 = "2001:db8::7"  #: likewise (RFC 3849)


def reaching(
    groups: Iterable[GroupState], port: int, *, source_groups: Collection[str] = (), address: str
) -> list[str]:
    """The rules that let in, on TCP ``port``, a machine that is in ``source_groups`` and has ``address``."""
    return [
        f"{group.id}: {rule}"
        for group in groups
        for rule in group.ingress
        if _speaks(rule, port) and (rule.peer in source_groups or _contains(rule.peer, address))
    ]


def _speaks(rule: Rule, port: int) -> bool:
    return rule.protocol == "-1" or (rule.protocol in ("tcp", "6") and rule.first <= port <= rule.last)


def _contains(peer: str, address: str) -> bool:
    try:
        network = ipaddress.ip_network(peer, strict=False)
    except ValueError:  # a group or a prefix list
        return False
    return ipaddress.ip_address(address) in network  # false of an address of the other version


def faults(groups: Collection[GroupState], port: int, app_group: str | None) -> list[str]:
    """What differs from one group that lets in the app tier on ``port`` and nothing else, and nothing out."""
    found = [] if len(groups) == 1 else [f"{len(groups)} security groups instead of one"]
    for group in groups:
        peers = [rule for rule in group.ingress if app_group is None or rule.peer == app_group]
        expected = [rule for rule in peers if (rule.protocol, rule.first, rule.last) == ("tcp", port, port)]
        expected = [rule for rule in expected if rule.peer.startswith("sg-") and rule.peer != group.id][:1]
        found += [f"{group.id} lets in {rule}" for rule in group.ingress if rule not in expected]
        found += [f"{group.id} lets out {rule}" for rule in group.egress]
        found += [] if expected else [f"{group.id} does not let in the app tier"]
    return found
